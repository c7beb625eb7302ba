package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/internal/wire"
)

const token = "opaque-Token+of/the=caller"

func TestMain(m *testing.M) {
	net.DefaultResolver = nettest.Unheard()
	os.Exit(nettest.Run(m))
}

var trusted = sync.OnceValue(nettest.NewAuthority)

func newClient(t *testing.T, tr *http.Transport) *wire.Client {
	if tr == nil {
		tr = wire.NewTransport(nil, wire.Timeouts{}, wire.Limits{})
	}
	tr.TLSClientConfig.RootCAs = trusted().Pool
	t.Cleanup(tr.CloseIdleConnections)
	return &wire.Client{Transport: tr, Timeouts: wire.Timeouts{Try: 10 * time.Second}, UserAgent: "test"}
}

func get(address string) *wire.Request {
	return &wire.Request{
		Op: "getKey", Party: ekm.Vault, Method: http.MethodGet, URL: "https://" + address + "/keys/k",
		Authorization: "Bearer " + token, Correlation: "correlation-1",
	}
}

type want struct {
	code  ekm.Code
	phase ekm.Phase
	party ekm.Party
	host  string
}

// failed checks everything that each failure must have.
func failed(t *testing.T, err error, w want, secrets ...string) *ekm.Error {
	t.Helper()
	require.Error(t, err)
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok, "%T", err)
	if w.party == "" {
		w.party = ekm.Vault
	}
	assert.Equal(t, w, want{e.Code, e.Phase, e.Party, e.Host}, "%v", err)
	assert.Equal(t, "getKey", e.Op)
	assert.Equal(t, "correlation-1", e.CorrelationID)
	assert.False(t, e.Time.IsZero())
	hides(t, e, append(secrets, token)...)
	return e
}

func hides(t *testing.T, e *ekm.Error, secrets ...string) {
	t.Helper()
	j, err := json.Marshal(e)
	require.NoError(t, err)
	for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e), string(j), e.LogValue().String()} {
		for _, s := range secrets {
			assert.NotContains(t, text, s)
		}
	}
	assert.False(t, strings.ContainsAny(e.Error(), "\r\n\x00\x1b"))
}

// A tripper is a round tripper without trace hooks.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func do(t *testing.T, c *wire.Client, r *wire.Request) (*wire.Response, error) {
	t.Helper()
	resp, err := c.Do(t.Context(), r)
	if err != nil {
		assert.Nil(t, resp)
	}
	return resp, err
}

func must(t *testing.T, c *wire.Client, r *wire.Request) *wire.Response {
	t.Helper()
	resp, err := c.Do(context.WithoutCancel(t.Context()), r)
	require.NoError(t, err)
	return resp
}
