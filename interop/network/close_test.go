package network

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/proxy"
)

// After Close nothing is left: no goroutine, no connection. Calls after it work,
// and leave nothing either.
func TestCloseLeavesNothing(t *testing.T) {
	w := newWorld(t)
	before := runtime.NumGoroutine()
	cred, err := aad.NewClientSecret(w.ClientID(), w.ClientSecret())
	require.NoError(t, err)
	client, err := akv.NewClient("https://"+w.address, cred, &akv.Options{
		Proxy:     proxy.New(proxy.Settings{Mode: proxy.None}),
		Authority: "https://" + w.address + "/" + w.Tenant(), Resource: w.Resource(),
		IDHost: w.VaultHost(),
	})
	require.NoError(t, err)
	burst := func() {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := client.GetKey(t.Context(), "tde", "")
				assert.NoError(t, err)
			})
		}
		wg.Wait()
	}
	gone := func() bool { return runtime.NumGoroutine() <= before && w.open.Load() == 0 }

	burst()
	require.False(t, gone(), "connections are kept for the next call")
	client.Close()
	if !assert.True(t, nettest.Settles(gone)) {
		stacks := make([]byte, 1<<16)
		t.Logf("%d goroutines more than before, %d connections\n%s", runtime.NumGoroutine()-before, w.open.Load(), stacks[:runtime.Stack(stacks, true)])
	}

	burst()
	client.Close()
	assert.True(t, nettest.Settles(gone))
}
