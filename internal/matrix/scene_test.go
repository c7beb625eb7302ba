package matrix_test

import (
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/proxy"
	"github.com/akv-ekm/ekm/retry"

	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

func TestMain(m *testing.M) { os.Exit(nettest.Run(m)) }

// dataKey is what the scenarios wrap. No error may hold it, in any spelling.
const dataKey = "canary: data key, 32 bytes of it"

// A scene is where a scenario happens: a fake vault with the key "tde", and what
// must not be told of it.
type scene struct {
	*testing.T
	fake    *fakevault.Server
	secrets []string
	sent    ids
}

// ids are the correlation ids that were sent, by host.
type ids struct {
	mu  sync.Mutex
	all map[string][]string
}

func (i *ids) through(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		i.mu.Lock()
		if i.all == nil {
			i.all = make(map[string][]string)
		}
		i.all[r.URL.Host] = append(i.all[r.URL.Host], r.Header.Get("X-Ms-Client-Request-Id"))
		i.mu.Unlock()
		return next.RoundTrip(r)
	})
}

func (i *ids) has(host, id string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Contains(i.all[host], id)
}

func (i *ids) any() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.all) > 0
}

func newScene(t *testing.T) *scene {
	s := &scene{T: t, fake: fakevault.New(fakevault.Options{})}
	s.fake.AddKey("tde", rsaKey())
	t.Cleanup(s.fake.Close)
	s.secret(s.fake.ClientSecret(), dataKey, base64.RawURLEncoding.EncodeToString([]byte(dataKey)))
	s.secret("eyJhb", "eyJ0e") // what tokens and assertions begin with: {"alg" or {"typ"
	return s
}

// secret adds to what no error may hold.
func (s *scene) secret(values ...string) { s.secrets = append(s.secrets, values...) }

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	fake := fakevault.New(fakevault.Options{})
	defer fake.Close()
	fake.CreateKey("k", 2048)
	return fake.PrivateKey("k", "")
})

// client is a client of the fake vault; change, which may be nil, changes its options.
func (s *scene) client(change func(*akv.Options)) *akv.Client {
	s.Helper()
	opts := akv.Options{Transport: s.fake.Transport()}
	if change != nil {
		change(&opts)
	}
	opts.Transport = s.sent.through(opts.Transport)
	return s.clientOf(s.fake.VaultURL(), s.credential(), opts)
}

func (s *scene) clientOf(vault string, cred aad.Credential, opts akv.Options) *akv.Client {
	s.Helper()
	client, err := akv.NewClient(vault, cred, &opts)
	require.NoError(s, err)
	s.Cleanup(client.Close)
	return client
}

func (s *scene) credential() aad.Credential {
	s.Helper()
	cred, err := aad.NewClientSecret(s.fake.ClientID(), s.fake.ClientSecret())
	require.NoError(s, err)
	return cred
}

// The operations, of the key "tde", whose results no failure needs.

func (s *scene) get(change func(*akv.Options)) error {
	s.Helper()
	_, err := s.client(change).GetKey(s.Context(), "tde", "")
	return err
}

func (s *scene) backup(change func(*akv.Options)) error {
	s.Helper()
	_, err := s.client(change).BackupKey(s.Context(), "tde")
	return err
}

func (s *scene) wrap(change func(*akv.Options)) error {
	s.Helper()
	_, err := s.client(change).WrapKey(s.Context(), "tde", "", akv.RSAOAEP256, []byte(dataKey))
	return err
}

func (s *scene) unwrap(change func(*akv.Options)) error {
	s.Helper()
	_, err := s.client(change).UnwrapKey(s.Context(), "tde", "", akv.RSAOAEP256, make([]byte, 256))
	return err
}

// hang lets the vault never answer.
func (s *scene) hang() {
	s.fake.Script(fakevault.Fault{Host: s.fake.VaultHost(), Kind: fakevault.Hang, Times: -1})
}

// answers lets the vault answer an operation with text, every time.
func (s *scene) answers(op fakevault.Operation, status int, text string) {
	s.fake.Script(fakevault.Fault{Operation: op, Skip: s.probes(op), Times: -1, Status: status, Body: text})
}

// probes is 1 for operations of the vault, whose first request is the one without
// a token that only asks for the challenge.
func (s *scene) probes(op fakevault.Operation) int {
	if op == fakevault.OpToken {
		return 0
	}
	return 1
}

// A roundTripper answers by a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reply is a response with the body text; header are names and values in turn.
func reply(r *http.Request, status int, text string, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Request: r,
		Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
	}
}

// once turns retries off, for what takes real time.
func once(o *akv.Options) { o.Retry = retry.Policy{Attempts: 1} }

// impatient gives up soon, for what never comes in real time.
func impatient(o *akv.Options) {
	once(o)
	o.Timeouts.Try = 400 * time.Millisecond
}

var trusted = sync.OnceValue(nettest.NewAuthority)

// facing gets a key from a vault at address, on a real connection that trusts the
// authority of these tests; change changes the options.
func (s *scene) facing(address string, change func(*akv.Options)) error {
	s.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted().Pool}}
	s.Cleanup(transport.CloseIdleConnections)
	return s.from(address, akv.Options{Transport: transport}, change)
}

// fromOwn is facing with the library's own transport, which trusts the system's
// authorities.
func (s *scene) fromOwn(vault string, change func(*akv.Options)) error {
	s.Helper()
	return s.from(vault, akv.Options{Proxy: proxy.New(proxy.Settings{Mode: proxy.None})}, change)
}

func (s *scene) from(vault string, opts akv.Options, change func(*akv.Options)) error {
	s.Helper()
	once(&opts)
	if change != nil {
		change(&opts)
	}
	_, err := s.clientOf("https://"+vault, s.credential(), opts).GetKey(s.Context(), "tde", "")
	return err
}

// replies gets a key from a vault that sends text, byte for byte, to the request
// without a token; hang keeps the connection then.
func (s *scene) replies(text string, hang bool) error {
	s.Helper()
	change := once
	if hang {
		change = impatient
	}
	return s.facing(nettest.ListenTLS(s, trusted().Config(s), nettest.Replying(text, hang)), change)
}
