//go:debug x509usefallbackroots=1

package akv_test

import (
	"crypto/rsa"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/internal/nettest"
)

var trusted = sync.OnceValue(nettest.NewAuthority)

func TestMain(m *testing.M) {
	x509.SetFallbackRoots(trusted().Pool) // what the library's own transport trusts without Options.RootCAs
	os.Exit(nettest.Run(m))
}

// keyed is a fake vault with one key, "tde"; making RSA keys is what costs time
// in these tests.
func keyed(t testing.TB, opts fakevault.Options) *fakevault.Server {
	t.Helper()
	fake := fakevault.New(opts)
	fake.AddKey("tde", testKey())
	t.Cleanup(fake.Close)
	return fake
}

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	fake := fakevault.New(fakevault.Options{})
	defer fake.Close()
	fake.CreateKey("k", 2048)
	return fake.PrivateKey("k", "")
})

func secretOf(t testing.TB, fake *fakevault.Server) aad.Credential {
	t.Helper()
	cred, err := aad.NewClientSecret(fake.ClientID(), fake.ClientSecret())
	require.NoError(t, err)
	return cred
}

// clientOf is a client of fake's vault through fake's own transport.
func clientOf(t testing.TB, fake *fakevault.Server, opts akv.Options) *akv.Client {
	t.Helper()
	if opts.Transport == nil {
		opts.Transport = fake.Transport()
	}
	client, err := akv.NewClient(fake.VaultURL(), secretOf(t, fake), &opts)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// A counter counts and keeps the requests that pass it.
type counter struct {
	next http.RoundTripper
	n    atomic.Int64
	mu   sync.Mutex
	seen []seen
}

type seen struct {
	method, url, authorization, body string
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	s := seen{method: r.Method, url: r.URL.String(), authorization: r.Header.Get("Authorization")}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		s.body = string(body)
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(strings.NewReader(s.body))
	}
	c.mu.Lock()
	c.seen = append(c.seen, s)
	c.mu.Unlock()
	return c.next.RoundTrip(r)
}

// roundTripper answers by a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func reply(r *http.Request, status int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)), Request: r,
	}
}

const usualChallenge = `Bearer authorization="https://login.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47", resource="https://vault.azure.net"`

// scripted is a vault that demands a token and gives one, and whose answer to
// what comes with a token is answer's.
func scripted(answer func(*http.Request) *http.Response) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		switch {
		case strings.HasPrefix(r.URL.Host, "login."):
			return reply(r, 200, `{"token_type":"Bearer","expires_in":3599,"access_token":"t0ken-value"}`), nil
		case r.Header.Get("Authorization") == "":
			return reply(r, 401, "", "WWW-Authenticate", usualChallenge), nil
		}
		return answer(r), nil
	})
}

func scriptedClient(t testing.TB, opts akv.Options, answer func(*http.Request) *http.Response) *akv.Client {
	t.Helper()
	cred, err := aad.NewClientSecret("id", "s3cret~value")
	require.NoError(t, err)
	opts.Transport = scripted(answer)
	client, err := akv.NewClient("contoso", cred, &opts)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}
