package network

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/proxy"
	"github.com/akv-ekm/ekm/retry"
)

var authority = nettest.NewAuthority()

// TestMain makes the authority of these tests one that the system trusts, as the
// library's own transport takes no other.
func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "proxies")
	if err != nil {
		panic(err)
	}
	file := filepath.Join(folder, "root.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate()})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		panic(err)
	}
	_ = os.Setenv("SSL_CERT_FILE", file)
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// A world is a fake vault and its login endpoint at one address of this machine
// that is not loopback, which no proxy is used for.
type world struct {
	*fakevault.Server
	address string
	arrived atomic.Int32 // connections
	open    atomic.Int32 // of them
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Server: fakevault.New(fakevault.Options{})}
	t.Cleanup(w.Close)
	w.CreateKey("tde", 2048)
	ip := ownAddress(t)
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.Host = w.VaultHost()
		if strings.Contains(r.URL.Path, "/oauth2/") {
			r.Host = w.AuthorityHost()
		}
		w.ServeHTTP(rw, r)
	}))
	_ = s.Listener.Close()
	s.Listener = l
	s.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.ParseIP(ip)}
	})}}
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			w.arrived.Add(1)
			w.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			w.open.Add(-1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	w.address = l.Addr().String()
	return w
}

// ownAddress is an address of this machine that is not loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	require.FailNow(t, "this machine has no address but loopback")
	return ""
}

func (w *world) port() string {
	_, port, _ := net.SplitHostPort(w.address)
	return port
}

// get gets a key through the proxy at address.
func (w *world) get(t *testing.T, address string) error {
	t.Helper()
	cred, err := aad.NewClientSecret(w.ClientID(), w.ClientSecret())
	require.NoError(t, err)
	client, err := akv.NewClient("https://"+w.address, cred, &akv.Options{
		Proxy:     proxy.New(proxy.Settings{URL: address}),
		Authority: "https://" + w.address + "/" + w.Tenant(), Resource: w.Resource(),
		IDHost: w.VaultHost(),
		Retry:  retry.Policy{Attempts: 1},
	})
	require.NoError(t, err)
	defer client.Close()
	_, err = client.GetKey(t.Context(), "tde", "")
	return err
}

func TestProxies(t *testing.T) {
	for _, p := range []struct {
		name, scheme string
		start        func(t *testing.T, secured bool, port string) daemon
		none, wrong  int // status without a password, and with a wrong one; SOCKS has no such number
	}{
		{"tinyproxy", "http", tinyproxy, 407, 401}, // 401 is no proxy's to give, but it is what comes
		{"squid", "http", squid, 407, 407},
		{"microsocks", "socks5", microsocks, 0, 0},
	} {
		t.Run(p.name, func(t *testing.T) {
			w := newWorld(t)
			through := func(d daemon, who *url.Userinfo) error {
				return w.get(t, (&url.URL{Scheme: p.scheme, User: who, Host: d.address}).String())
			}
			t.Run("open", func(t *testing.T) {
				d := p.start(t, false, w.port())
				require.NoError(t, through(d, nil))
				d.stop()
				e := failure(t, through(d, nil), d, 0)
				assert.ErrorIs(t, e, syscall.ECONNREFUSED)
				assert.Equal(t, ekm.PhaseDial, e.Phase)
			})
			t.Run("with a password", func(t *testing.T) {
				d := p.start(t, true, w.port())
				require.NoError(t, through(d, url.UserPassword(user, password)))
				arrived := w.arrived.Load()
				e := failure(t, through(d, nil), d, p.none)
				assert.Equal(t, ekm.PhaseProxy, e.Phase)
				e = failure(t, through(d, url.UserPassword(user, "wrong"+password)), d, p.wrong)
				assert.Equal(t, ekm.PhaseProxy, e.Phase)
				assert.Equal(t, arrived, w.arrived.Load(), "nothing has passed")
			})
		})
	}
}

// A proxy that does not let through to the vault's port answers 403.
func TestForbidden(t *testing.T) {
	for name, start := range map[string]func(*testing.T, bool, string) daemon{"tinyproxy": tinyproxy, "squid": squid} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := start(t, false, "1")
			e := failure(t, w.get(t, "http://"+d.address), d, http.StatusForbidden)
			assert.Equal(t, ekm.PhaseProxy, e.Phase)
			assert.Zero(t, w.arrived.Load())
		})
	}
}

// failure requires the proxy's failure, which names the proxy and no password.
func failure(t *testing.T, err error, d daemon, status int) *ekm.Error {
	t.Helper()
	var e *ekm.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, ekm.ErrorHttpSendRequest, e.Code)
	assert.Equal(t, ekm.Proxy, e.Party)
	assert.Equal(t, d.address, e.Host)
	assert.Equal(t, status, e.Status)
	assert.NotContains(t, fmt.Sprintf("%v %+v", e, e), "canary")
	return e
}
