package aad_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/proxy"
	"github.com/akv-ekm/ekm/retry"
)

// direct makes Tokens with a transport of their own.
func direct(t *testing.T) *aad.Tokens {
	t.Helper()
	cred, err := aad.NewClientSecret("id", "s3cret~value")
	require.NoError(t, err)
	return aad.NewTokens(cred, &aad.Options{Proxy: proxy.New(proxy.Settings{Mode: proxy.None})})
}

func demandAt(s *nettest.Server, resource string) challenge.Challenge {
	return challenge.Challenge{Authority: s.URL + "/contoso", Tenant: "contoso", Resource: resource, Scope: resource + "/.default"}
}

func TestCloseEndsConnections(t *testing.T) {
	for protocol, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(protocol+"/a refresh under way", func(t *testing.T) {
			refreshing := make(chan string, 1)
			var requests atomic.Int32
			s := nettest.Serve(t, trusted().Config(t), h2, func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) > 1 {
					_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the client leave
					refreshing <- r.Proto
					<-r.Context().Done()
					panic(http.ErrAbortHandler)
				}
				_, _ = io.WriteString(w, `{"token_type":"Bearer","expires_in":3600,"refresh_in":0.001,"access_token":"first"}`)
			})
			tokens := direct(t)
			for range 2 {
				token, err := tokens.Get(t.Context(), demandAt(s, "https://vault.azure.net"))
				require.NoError(t, err)
				assert.Equal(t, "first", token.Reveal())
				time.Sleep(5 * time.Millisecond) // then it is due
			}
			assert.Equal(t, protocol, <-refreshing)
			tokens.Close()
			require.True(t, s.Left(), "%d connections", s.Open.Load())
		})
		t.Run(protocol+"/a call under way, and one later", func(t *testing.T) {
			asked, answer := make(chan struct{}), make(chan struct{})
			s := nettest.Serve(t, trusted().Config(t), h2, func(w http.ResponseWriter, _ *http.Request) {
				asked <- struct{}{}
				<-answer
				_, _ = io.WriteString(w, goodReply)
			})
			tokens := direct(t)
			over := make(chan error)
			for _, resource := range []string{"https://vault.azure.net", "https://managedhsm.azure.net"} {
				go func() {
					_, err := tokens.Get(t.Context(), demandAt(s, resource))
					over <- err
				}()
				<-asked
				tokens.Close()
				answer <- struct{}{}
				assert.NoError(t, <-over)
				require.True(t, s.Left(), "%d connections", s.Open.Load())
			}
			assert.EqualValues(t, 2, s.Opened.Load())
		})
	}
	t.Run("but not the caller's", func(t *testing.T) {
		s := nettest.Serve(t, trusted().Config(t), false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodReply) })
		given := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted().Pool}}
		defer given.CloseIdleConnections()
		tokens := newTokens(t, given, aad.Options{})
		for _, resource := range []string{"https://vault.azure.net", "https://managedhsm.azure.net"} {
			_, err := tokens.Get(t.Context(), demandAt(s, resource))
			require.NoError(t, err)
			tokens.Close()
		}
		assert.EqualValues(t, 1, s.Opened.Load())
	})
}

func TestCloseEndsConnectionsToThePlatform(t *testing.T) {
	given := new(http.Transport)
	defer given.CloseIdleConnections()
	for name, c := range map[string]struct {
		transport http.RoundTripper
		opened    int32
	}{
		"our own":                {nil, 2},
		"a copy of the caller's": {given, 2},
		"but not the caller's":   {roundTrip(given.RoundTrip), 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := nettest.Serve(t, nil, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodReply) })
			platformEnvironment(t, map[string]string{"IDENTITY_ENDPOINT": s.URL, "IDENTITY_HEADER": "the-header"})
			tokens := aad.NewTokens(managedIdentity(t, nil), &aad.Options{Transport: c.transport})
			for _, resource := range []string{"https://vault.azure.net", "https://managedhsm.azure.net"} {
				_, err := tokens.Get(t.Context(), challenge.Challenge{Resource: resource})
				require.NoError(t, err)
				tokens.Close()
				if c.opened > 1 {
					require.True(t, s.Left(), "%d connections", s.Open.Load())
				}
			}
			assert.Equal(t, c.opened, s.Opened.Load())
		})
	}
}

// asking counts what comes to a proxy, which answers as the platform would.
func asking(t *testing.T) (*url.URL, *atomic.Int64) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, goodReply)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	return u, &asked
}

// The settings of proxies do not apply to loopback, so the platform is elsewhere
// here, where nobody is: that its name is looked up tells that no proxy is asked.
func TestManagedIdentityGoesPastTheProxy(t *testing.T) {
	const address = "http://platform.example/msi/token"
	between, asked := asking(t)
	for name, settings := range map[string]proxy.Settings{"explicit": {URL: between.String()}, "environment": {Mode: proxy.Environment}} {
		t.Run(name, func(t *testing.T) {
			platformEnvironment(t, map[string]string{"IDENTITY_ENDPOINT": address, "IDENTITY_HEADER": "the-header"})
			for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
				t.Setenv(name, between.String())
			}
			for _, name := range []string{"NO_PROXY", "no_proxy", "REQUEST_METHOD"} {
				t.Setenv(name, "")
			}
			selector := proxy.New(settings)
			chosen, err := selector.Proxy(&url.URL{Scheme: "http", Host: "platform.example"})
			require.NoError(t, err)
			require.Equal(t, between, chosen, "any other request to there would be proxied")
			tokens := aad.NewTokens(managedIdentity(t, nil), &aad.Options{
				Proxy: selector, Retry: retry.Policy{Attempts: 1}, Timeouts: aad.WireTimeouts{Dial: 100 * time.Millisecond},
			})
			defer tokens.Close()
			_, err = tokens.Get(t.Context(), demand())
			e := failureOf(t, err, ekm.ErrorHttpSendRequest)
			assert.Equal(t, []any{ekm.ManagedIdentity, ekm.PhaseResolve, "platform.example"}, []any{e.Party, e.Phase, e.Host})
			assert.Zero(t, asked.Load())
		})
	}
}

// A copy of the caller's transport is used without its proxy; a round tripper of
// another kind decides for itself.
func TestManagedIdentityGoesPastTheCallersProxy(t *testing.T) {
	between, asked := asking(t)
	s := nettest.Serve(t, nil, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodReply) })
	platformEnvironment(t, map[string]string{"IDENTITY_ENDPOINT": s.URL, "IDENTITY_HEADER": "the-header"})
	given := &http.Transport{Proxy: http.ProxyURL(between)}
	defer given.CloseIdleConnections()

	_, err := tokensOf(t, managedIdentity(t, nil), given).Get(t.Context(), demand())
	require.NoError(t, err)
	assert.EqualValues(t, 1, s.Opened.Load())
	assert.Zero(t, asked.Load())
	assert.NotNil(t, given.Proxy, "it is the caller's")

	_, err = tokensOf(t, managedIdentity(t, nil), roundTrip(given.RoundTrip)).Get(t.Context(), demand())
	require.NoError(t, err)
	assert.EqualValues(t, 1, s.Opened.Load())
	assert.EqualValues(t, 1, asked.Load())
}

func TestPlatformIsDialedForTwoSecondsAtMost(t *testing.T) {
	platformEnvironment(t, map[string]string{"IDENTITY_ENDPOINT": "http://platform.example/msi/token", "IDENTITY_HEADER": "the-header"})
	for limit, want := range map[time.Duration]time.Duration{
		0: 2 * time.Second, -1: 2 * time.Second, 3 * time.Second: 2 * time.Second, 500 * time.Millisecond: 500 * time.Millisecond,
	} {
		synctest.Test(t, func(t *testing.T) {
			tokens := aad.NewTokens(managedIdentity(t, nil), &aad.Options{
				Retry: retry.Policy{Attempts: 1}, Timeouts: aad.WireTimeouts{Dial: limit},
			})
			begun := time.Now()
			_, err := tokens.Get(t.Context(), demand())
			failureOf(t, err, ekm.ErrorHttpSendRequest)
			assert.Equal(t, want, time.Since(begun), "asked for %v", limit)
		})
	}
}
