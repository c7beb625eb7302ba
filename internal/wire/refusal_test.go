package wire_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/retry"
)

// patient tries three times where it tries at all, without long waits.
var patient = retry.Policy{Attempts: 3, Base: time.Microsecond}

// send is Send of a request that any response answers.
func send(t *testing.T, c *wire.Client, r *wire.Request, repeatable bool) (*wire.Response, error) {
	t.Helper()
	r.Once = !repeatable
	return c.Send(t.Context(), c.Call(patient, repeatable), r, func(*wire.Response) error { return nil })
}

func post(address string) *wire.Request {
	r := get(address)
	r.Method, r.Body = http.MethodPost, []byte(`{"value":"x"}`)
	return r
}

// counted counts connections.
func counted(n *atomic.Int32, handle func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		n.Add(1)
		handle(c)
	}
}

// handshaking makes the handshake and answers each request with 200.
func handshaking(config *tls.Config) func(net.Conn) {
	return func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() == nil {
			nettest.Replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false)(s)
			_ = s.CloseWrite()
		}
	}
}

// A refusal is one of the server's, or of ours, that the next try would meet again.
type refusal struct {
	name   string
	handle func(net.Conn)
	says   string // the alert, or what crypto/tls says in its place
}

func refusals(t *testing.T) []refusal {
	with := func(edit func(*tls.Config)) func(net.Conn) {
		config := trusted().Config(t)
		edit(config)
		return handshaking(config)
	}
	issued := func(a *nettest.Authority, edit func(*x509.Certificate)) func(net.Conn) {
		return handshaking(&tls.Config{Certificates: []tls.Certificate{a.Issue(t, edit)}})
	}
	return []refusal{
		{"TLS 1.1", with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), "protocol version not supported"},
		// The server has a certificate for ECDSA, and a cipher suite for RSA alone.
		{"no common cipher suite", with(func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		}), "handshake failure"},
		{"no certificate for the name", with(func(c *tls.Config) {
			c.Certificates = nil
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.EOF }
		}), "internal error"},
		{"client certificate, TLS 1.2", with(func(c *tls.Config) {
			c.MaxVersion, c.ClientAuth = tls.VersionTLS12, tls.RequireAnyClientCert
		}), "handshake failure"},
		// The alert comes when the client has already sent its request.
		{"client certificate, TLS 1.3", with(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), "certificate required"},
		{"client certificate, TLS 1.3, HTTP/2", with(func(c *tls.Config) {
			c.ClientAuth, c.NextProtos = tls.RequireAnyClientCert, []string{"h2"}
		}), "certificate required"},
		{"no common protocol", with(func(c *tls.Config) { c.NextProtos = []string{"imap"} }), "no application protocol"},
		{"authority not trusted", issued(nettest.NewAuthority(), nil), "x509: certificate signed by unknown authority"},
		{"expired certificate", issued(trusted(), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }), "expired"},
		{"another name", issued(trusted(), func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"elsewhere.example"} }), "x509:"},
		{"plain HTTP", answering("HTTP/1.1 400 Bad Request\r\n\r\n"), "does not look like a TLS handshake"},
		{"a mail server", answering("220 mail ready\r\n"), "does not look like a TLS handshake"},
		{"SSL 2", answering("\x80\x2e\x01\x00\x02\x00"), "SSLv2"},
		{"a message out of turn", answering("\x16\x03\x03\x00\x04\x14\x00\x00\x00"), "unexpected handshake message"},
	}
}

// answering answers the first message of a handshake with text.
func answering(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<14))
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, c)
	}
}

// alerting answers it with a fatal alert, in clear.
func alerting(alert byte) func(net.Conn) {
	return answering(string([]byte{21, 3, 3, 0, 2, 2, alert}))
}

func TestRefusalsByTLSAreFinal(t *testing.T) {
	rows := refusals(t)
	for alert := range 122 {
		if alert != 0 { // close_notify is the end of a connection
			rows = append(rows, refusal{fmt.Sprintf("alert %d", alert), alerting(byte(alert)), tls.AlertError(alert).Error()})
		}
	}
	for _, c := range rows {
		for _, r := range []func(string) *wire.Request{get, post} {
			var conns atomic.Int32
			address := nettest.Listen(t, counted(&conns, c.handle))
			client := newClient(t, nil)
			client.Gate = new(retry.Gate)
			t.Run(c.name+" "+r("").Method, func(t *testing.T) {
				_, err := send(t, client, r(address), true)
				e := failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseTLS, ekm.Vault, address})
				assert.EqualValues(t, 1, conns.Load())
				assert.Equal(t, 1, e.Attempts)
				assert.ErrorContains(t, err, c.says)
				assert.False(t, client.Gate.Stats().Shut)
			})
		}
	}
}

// TLS to an https proxy, and to the vault through any proxy, is no different.
func TestRefusalsByTLSBehindProxies(t *testing.T) {
	for _, c := range refusals(t) {
		t.Run("of the proxy, "+c.name, func(t *testing.T) {
			if c.name == "client certificate, TLS 1.3, HTTP/2" {
				t.Skip("a proxy is spoken to in HTTP/1.1")
			}
			var conns atomic.Int32
			address := nettest.Listen(t, counted(&conns, c.handle))
			_, err := send(t, newClient(t, via("https", address)), get("v.example"), true)
			if c.name == "no common protocol" { // none is asked for
				require.Error(t, err)
				return
			}
			failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseTLS, ekm.Proxy, address}, password)
			assert.ErrorContains(t, err, c.says)
			assert.EqualValues(t, 1, conns.Load())
		})
		for _, proxy := range proxies(t, 0) {
			t.Run("by "+proxy.Scheme+", "+c.name, func(t *testing.T) {
				var conns atomic.Int32
				address := nettest.Listen(t, counted(&conns, c.handle))
				_, err := send(t, through(t, proxy, wire.Timeouts{}), get(address), true)
				failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseTLS, ekm.Vault, address}, password)
				assert.ErrorContains(t, err, c.says)
				assert.EqualValues(t, 1, conns.Load())
			})
		}
	}
}

// A transport of the caller's tells as much as net/http does.
func TestRefusalsByTLSOfForeignTransports(t *testing.T) {
	for _, c := range refusals(t) {
		if c.name == "no common protocol" || c.name == "client certificate, TLS 1.3, HTTP/2" {
			continue // it asks for no protocol
		}
		var conns atomic.Int32
		address := nettest.Listen(t, counted(&conns, c.handle))
		client := newClient(t, &http.Transport{TLSClientConfig: new(tls.Config)})
		_, err := send(t, client, get(address), true)
		failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseTLS, ekm.Vault, address})
		assert.ErrorContains(t, err, c.says, c.name)
		assert.EqualValues(t, 1, conns.Load(), c.name)
	}
	t.Run("without hooks", func(t *testing.T) {
		tries := 0
		client := &wire.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
			tries++
			return nil, &url.Error{Op: "Get", URL: "/", Err: &net.OpError{Op: "remote error", Err: tls.AlertError(40)}}
		})}
		_, err := send(t, client, get("v.example"), true)
		failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseTLS, ekm.Vault, "v.example"})
		assert.Equal(t, 1, tries)
	})
}

// What ends a connection without a word of TLS is the network's doing, and tried
// again. So is an alert on a connection that was good before.
func TestBrokenHandshakesAreTriedAgain(t *testing.T) {
	config := trusted().Config(t)
	good := handshaking(config)
	for name, bad := range map[string]func(net.Conn){
		"closed at once":         func(net.Conn) {},
		"closed":                 func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<14)) },
		"reset":                  nettest.Reset,
		"close_notify":           func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<14)); _, _ = c.Write([]byte{21, 3, 3, 0, 2, 1, 0}) },
		"half a record":          func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<14)); _, _ = c.Write([]byte{22, 3, 3, 0, 99, 2}) },
		"half a record, reset":   func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 3, 0, 99, 2}); nettest.Reset(c) },
		"closed when it is made": func(c net.Conn) { _ = tls.Server(c, config).Handshake() },
	} {
		for _, r := range []func(string) *wire.Request{get, post} {
			t.Run(name+" "+r("").Method, func(t *testing.T) {
				var conns atomic.Int32
				address := nettest.Listen(t, func(c net.Conn) {
					if conns.Add(1) < 3 {
						bad(c)
					} else {
						good(c)
					}
				})
				resp, err := send(t, newClient(t, nil), r(address), true)
				require.NoError(t, err)
				assert.Equal(t, 200, resp.Status)
				assert.Equal(t, 3, resp.Attempts)
			})
		}
	}
	t.Run("an alert on a connection in use", func(t *testing.T) {
		var conns atomic.Int32
		address := nettest.Listen(t, func(c net.Conn) {
			conns.Add(1)
			g := &garbler{Conn: c}
			s := tls.Server(g, config)
			for s.Handshake() == nil && nettest.ReadRequest(s) {
				_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				g.on.Store(conns.Load() == 1)
			}
		})
		client := newClient(t, nil)
		must(t, client, post(address))
		_, err := client.Do(t.Context(), post(address))
		e := failed(t, err, want{ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, ekm.Vault, address})
		assert.ErrorContains(t, e, "remote error: tls: bad record MAC")
		require.EqualValues(t, 1, conns.Load())

		conns.Store(0)
		client.Transport.(*http.Transport).CloseIdleConnections()
		must(t, client, post(address))
		_, err = send(t, client, post(address), true)
		require.NoError(t, err)
		assert.EqualValues(t, 2, conns.Load())
	})
}

// A garbler spoils what is read, once it is on, as a bad line would.
type garbler struct {
	net.Conn
	on atomic.Bool
}

func (g *garbler) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 && g.on.Load() {
		p[n-1] ^= 1
	}
	return n, err
}
