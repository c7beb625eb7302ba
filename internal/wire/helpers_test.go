package wire_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/wire"
)

const token = "opaque-Token+of/the=caller"

// TestMain fails the run if goroutines of the tests outlive them.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for end := time.Now().Add(3 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // which leaves a signal handler
	if n := runtime.NumGoroutine(); code == 0 && n > before && !fuzzing {
		stacks := make([]byte, 1<<16)
		fmt.Printf("%d goroutines left behind\n%s\n", n-before, stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

// An authority signs the certificates of one test binary.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

var newAuthority = func() *authority {
	a := &authority{key: newKey(), pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		panic(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

var trusted = sync.OnceValue(newAuthority)

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func (a *authority) issue(t *testing.T, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	if edit != nil {
		edit(template)
	}
	key := newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// listen serves each connection on loopback with handle, and closes all at the end.
func listen(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

func serverConfig(t *testing.T) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{trusted().issue(t, nil)}}
}

// listenTLS is listen with the handshake made.
func listenTLS(t *testing.T, config *tls.Config, handle func(net.Conn)) string {
	t.Helper()
	return listen(t, func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() == nil {
			handle(s)
			_ = s.CloseWrite()
		}
	})
}

// replying reads one request and sends text in reply; hang keeps the connection.
func replying(text string, hang bool) func(net.Conn) {
	return func(c net.Conn) {
		if !readRequest(c) {
			return
		}
		if text == "" {
			settle()
		}
		_, _ = io.WriteString(c, text)
		if hang {
			_, _ = io.Copy(io.Discard, c)
		}
	}
}

// settle lets the client's transport report that it has written the request.
func settle() { time.Sleep(10 * time.Millisecond) }

func readRequest(c net.Conn) bool {
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		_, err = io.Copy(io.Discard, req.Body)
	}
	return err == nil
}

func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func newClient(t *testing.T, tr *http.Transport) *wire.Client {
	if tr == nil {
		tr = wire.NewTransport(nil)
	}
	tr.TLSClientConfig.RootCAs = trusted().pool
	t.Cleanup(tr.CloseIdleConnections)
	return &wire.Client{Transport: tr, Timeout: 10 * time.Second, UserAgent: "test"}
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
