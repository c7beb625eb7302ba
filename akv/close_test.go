package akv_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/proxy"
)

// both is a vault and its authority on one real address; before is called with
// what it is about to answer.
func both(t *testing.T, h2 bool, before func(answer string)) *nettest.Server {
	return serving(t, trusted().Config(t), h2, before)
}

func serving(t *testing.T, config *tls.Config, h2 bool, before func(answer string)) *nettest.Server {
	return nettest.Serve(t, config, h2, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, h2, r.ProtoMajor == 2)
		switch {
		case strings.HasSuffix(r.URL.Path, "/token"):
			before("token")
			_, _ = io.WriteString(w, `{"token_type":"Bearer","expires_in":3599,"access_token":"t0ken"}`)
		case r.Header.Get("Authorization") == "":
			before("challenge")
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization="https://%s/contoso", resource="https://vault.azure.net"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			before("key")
			_, _ = fmt.Fprintf(w, `{"key":{"kid":"https://%s/keys/tde/1","kty":"EC","crv":"P-256",`+
				`"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}`, r.Host)
		}
	})
}

func clientOfBoth(t *testing.T, s *nettest.Server, transport http.RoundTripper) *akv.Client {
	t.Helper()
	return optionsOfBoth(t, s.Addr(), akv.Options{Transport: transport})
}

func optionsOfBoth(t *testing.T, host string, opts akv.Options) *akv.Client {
	t.Helper()
	cred, err := aad.NewClientSecret("id", "s3cret~value")
	require.NoError(t, err)
	client := sharing(t, host, cred, opts)
	t.Cleanup(client.Close)
	return client
}

// sharing returns a client of cred that nobody closes.
func sharing(t *testing.T, host string, cred aad.Credential, opts akv.Options) *akv.Client {
	t.Helper()
	if opts.Proxy == nil {
		opts.Proxy = proxy.New(proxy.Settings{Mode: proxy.None})
	}
	opts.Trust = challenge.Policy{Authorities: []string{host}, Resources: []string{"https://vault.azure.net"}}
	client, err := akv.NewClient(host, cred, &opts)
	require.NoError(t, err)
	return client
}

// A call that is under way when the client is closed goes on, one that comes later
// is made; neither leaves a connection to the vault or the authority.
func TestCloseDuringACall(t *testing.T) {
	for protocol, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		for _, awaited := range []string{"challenge", "token", "key"} {
			t.Run(protocol+"/"+awaited, func(t *testing.T) {
				asked, closed := make(chan struct{}), make(chan struct{})
				var held atomic.Bool
				s := both(t, h2, func(answer string) {
					if answer == awaited && !held.Swap(true) {
						close(asked)
						<-closed
					}
				})
				client := clientOfBoth(t, s, nil)
				over := make(chan error)
				go func() {
					_, err := client.GetKey(t.Context(), "tde", "")
					over <- err
				}()
				<-asked
				client.Close()
				close(closed)
				assert.NoError(t, <-over)
				require.True(t, s.Left(), "%d connections", s.Open.Load())

				before := s.Opened.Load()
				_, err := client.GetKey(t.Context(), "tde", "")
				assert.NoError(t, err)
				require.True(t, s.Left(), "%d connections", s.Open.Load())
				assert.Equal(t, before+1, s.Opened.Load())
			})
		}
	}
}

func TestCloseLeavesTheCallersConnections(t *testing.T) {
	s := both(t, true, func(string) {})
	given := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted().Pool}, ForceAttemptHTTP2: true}
	defer given.CloseIdleConnections()
	client := clientOfBoth(t, s, given)
	for range 2 {
		_, err := client.GetKey(t.Context(), "tde", "")
		assert.NoError(t, err)
		client.Close()
	}
	assert.EqualValues(t, 1, s.Opened.Load())
}

// A hundred clients that nobody closed have connections for as long as they are
// kept, and none once they are garbage. Those that were closed have none at once.
func TestClientsThatNobodyClosed(t *testing.T) {
	const clients = 100
	for protocol, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		for _, closed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, closed %v", protocol, closed), func(t *testing.T) {
				s := both(t, h2, func(string) {})
				cred, err := aad.NewClientSecret("id", "s3cret~value")
				require.NoError(t, err)
				before := runtime.NumGoroutine()
				// The runtime may keep a stopped timer, and all that it leads to, to its end.
				const brief = 2 * time.Second
				opts := akv.Options{Timeouts: akv.Timeouts{Dial: brief, TLS: brief, FirstByte: brief, Body: brief, Try: brief}}
				kept := make([]*akv.Client, clients)
				for i := range kept {
					kept[i] = sharing(t, s.Addr(), cred, opts)
					_, err := kept[i].GetKey(t.Context(), "tde", "")
					require.NoError(t, err)
				}
				runtime.GC()
				require.GreaterOrEqual(t, s.Open.Load(), int32(clients))
				if closed {
					for _, c := range kept {
						c.Close()
					}
				} else {
					runtime.KeepAlive(kept)
					kept = nil
				}
				assert.True(t, nettest.Settles(func() bool {
					if !closed {
						runtime.GC()
					}
					return s.Open.Load() == 0 && runtime.NumGoroutine() <= before
				}), "%d connections, %d goroutines more", s.Open.Load(), runtime.NumGoroutine()-before)
			})
		}
	}
}
