package akv_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/proxy"
	"github.com/akv-ekm/ekm/retry"
)

// With a private CA our own transport keeps its proxy, its limits and what it tells.
func TestRootCAs(t *testing.T) {
	const host = "vault.contoso.example"
	private := nettest.NewAuthority()
	signed := private.Issue(t, func(c *x509.Certificate) { c.DNSNames = []string{host} })
	slow := newDelay()
	defer slow.end() // before the server is closed
	s := serving(t, &tls.Config{Certificates: []tls.Certificate{signed}}, true, slow.wait)
	var proxied atomic.Int64
	tunnel := nettest.Serve(t, nil, false, func(w http.ResponseWriter, r *http.Request) {
		proxied.Add(1)
		assert.Equal(t, "CONNECT "+host+":443", r.Method+" "+r.Host)
		forward(t, w, s.Addr())
	})
	ctx := t.Context()
	opts := akv.Options{
		Proxy: proxy.New(proxy.Settings{URL: tunnel.URL}), Retry: retry.Policy{Attempts: 1},
		Timeouts: akv.Timeouts{FirstByte: 100 * time.Millisecond},
	}

	_, err := optionsOfBoth(t, host, opts).GetKey(ctx, "tde", "")
	assert.ErrorIs(t, err, ekm.ErrorHttpSendRequest, "the system does not know the CA")
	_, ok := errors.AsType[x509.UnknownAuthorityError](err)
	assert.True(t, ok, err)

	opts.RootCAs = private.Pool
	proxied.Store(0)
	client := optionsOfBoth(t, host, opts)
	_, err = client.GetKey(ctx, "tde", "")
	require.NoError(t, err, "the vault's certificate and the authority's")
	assert.EqualValues(t, 2, proxied.Load(), "a tunnel for each")
	slow.begin()
	_, err = client.GetKey(ctx, "tde", "")
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok)
	assert.Equal(t, []any{ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus}, []any{e.Code, e.Phase}, "the first byte is awaited for so long: %v", err)

	client, err = akv.NewClient("contoso", mustSecret(t), &akv.Options{RootCAs: private.Pool, Transport: http.DefaultTransport})
	assert.Nil(t, client)
	assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument)
	assert.ErrorContains(t, err, "Options.RootCAs")
}

// A delay holds answers back from its beginning to its end.
type delay struct {
	on   atomic.Bool
	over chan struct{}
	end  func()
}

func newDelay() *delay {
	d := &delay{over: make(chan struct{})}
	d.end = sync.OnceFunc(func() { d.on.Store(false); close(d.over) })
	return d
}

func (d *delay) begin() { d.on.Store(true) }

func (d *delay) wait(string) {
	if d.on.Load() {
		<-d.over
	}
}

func mustSecret(t *testing.T) aad.Credential {
	t.Helper()
	cred, err := aad.NewClientSecret("id", "s3cret~value")
	require.NoError(t, err)
	return cred
}

// forward is a proxy's part in a tunnel.
func forward(t *testing.T, w http.ResponseWriter, address string) {
	out, err := net.Dial("tcp", address)
	if !assert.NoError(t, err) {
		return
	}
	in, _, err := http.NewResponseController(w).Hijack()
	if !assert.NoError(t, err) {
		return
	}
	defer func() { _, _ = in.Close(), out.Close() }()
	_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
	_, _ = io.Copy(in, out)
}

// A tracer is what tracing puts around a transport: it sends a copy of the request,
// whose context holds more, and closes no connections.
type tracer struct {
	next http.RoundTripper
	mu   sync.Mutex
	seen []string
}

func (tr *tracer) RoundTrip(r *http.Request) (*http.Response, error) {
	tr.mu.Lock()
	tr.seen = append(tr.seen, akv.Operation(r.Context()))
	tr.mu.Unlock()
	return tr.next.RoundTrip(r.Clone(context.WithValue(r.Context(), strangeKey{}, "span")))
}

func TestWrap(t *testing.T) {
	slow := newDelay()
	defer slow.end() // before the server is closed
	s := both(t, true, slow.wait)
	tr, wrapped := &tracer{}, 0
	client := optionsOfBoth(t, s.Addr(), akv.Options{
		Retry: retry.Policy{Attempts: 1}, Timeouts: akv.Timeouts{FirstByte: 100 * time.Millisecond},
		Wrap: func(next http.RoundTripper) http.RoundTripper {
			wrapped++
			if wrapped == 1 {
				tr.next = next
				return tr
			}
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				tr.mu.Lock()
				tr.seen = append(tr.seen, akv.Operation(r.Context()))
				tr.mu.Unlock()
				return next.RoundTrip(r)
			})
		},
	})
	assert.Equal(t, 3, wrapped, "for the vault, the authority and the platform")
	_, err := client.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	_, err = client.BackupKey(t.Context(), "tde")
	assert.ErrorIs(t, err, ekm.ErrorBackupKeyExtractValue, "there is none")
	assert.Equal(t, []string{"getKey", "acquireToken", "getKey", "backupKey"}, tr.seen)
	assert.Empty(t, akv.Operation(t.Context()))

	slow.begin()
	_, err = client.GetKey(t.Context(), "tde", "")
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok)
	assert.Equal(t, ekm.PhaseStatus, e.Phase, "our transport tells through the wrapper: %v", err)
	assert.Len(t, e.Addresses, 1)
	slow.end()

	client.Close()
	assert.True(t, s.Left(), "%d connections", s.Open.Load())
}

func TestWrapOfAGivenTransport(t *testing.T) {
	const vault, authority, platform = 1, 2, 3 // the calls in their order
	nothing := func(http.RoundTripper) http.RoundTripper { return nil }
	for name, c := range map[string]struct {
		wrap func(http.RoundTripper) http.RoundTripper
		want error
	}{
		"none":                       {nil, nil},
		"itself":                     {func(next http.RoundTripper) http.RoundTripper { return next }, nil},
		"nothing":                    {nothing, ekm.SCPErrInvalidArgument},
		"nothing for the vault":      {inCall(vault, nothing), ekm.SCPErrInvalidArgument},
		"nothing for the authority":  {inCall(authority, nothing), ekm.SCPErrInvalidArgument},
		"nothing for the platform":   {inCall(platform, nothing), ekm.SCPErrInvalidArgument},
		"a nil pointer of some type": {inCall(authority, func(http.RoundTripper) http.RoundTripper { return (*tracer)(nil) }), ekm.SCPErrInvalidArgument},
		"a nil function":             {inCall(platform, func(http.RoundTripper) http.RoundTripper { return roundTripper(nil) }), ekm.SCPErrInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := akv.NewClient("contoso", mustSecret(t), &akv.Options{Transport: newWorld(), Wrap: c.wrap})
			require.ErrorIs(t, err, c.want)
			if c.want != nil {
				assert.ErrorContains(t, err, "Options.Wrap")
				assert.Nil(t, client)
				return
			}
			_, err = client.GetKey(t.Context(), "tde", "")
			assert.NoError(t, err)
		})
	}
}

// inCall is a Wrap of which the nth call is wrap's, while the others change nothing.
func inCall(nth int, wrap func(http.RoundTripper) http.RoundTripper) func(http.RoundTripper) http.RoundTripper {
	n := 0
	return func(next http.RoundTripper) http.RoundTripper {
		if n++; n == nth {
			return wrap(next)
		}
		return next
	}
}

// What a wrapper holds is no way to the connections' secrets, for one that prints it.
func TestWrapHidesTheTransport(t *testing.T) {
	_, err := akv.NewClient("contoso", mustSecret(t), &akv.Options{Wrap: func(next http.RoundTripper) http.RoundTripper {
		_, open := next.(*http.Transport)
		assert.False(t, open)
		return next
	}})
	require.NoError(t, err)
}
