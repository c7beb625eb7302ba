package wire_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/proxy"
	"github.com/akv-ekm/ekm/retry"
)

const password = "pr0xy-Passw0rd"

func via(scheme, address string) *http.Transport {
	u := &url.URL{Scheme: scheme, User: url.UserPassword("someone", password), Host: address}
	return wire.NewTransport(func(*url.URL) (*url.URL, error) { return u, nil }, wire.Timeouts{}, wire.Limits{})
}

// tunnel answers CONNECT with a status and, if it is 200, passes bytes on.
func tunnel(status int) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, pass, _ := (&http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}).BasicAuth()
		if pass != password {
			status = http.StatusProxyAuthRequired
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d said %s\r\n\r\n", status, password)
		if status != http.StatusOK {
			return
		}
		to, err := net.Dial("tcp", req.Host)
		if err != nil {
			return
		}
		relay(c, r, to)
	}
}

// relay passes on what r has of c, and the answers, until one end closes.
func relay(c net.Conn, r io.Reader, to net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(to, r); _ = to.Close() })
	_, _ = io.Copy(c, to)
	_ = c.Close()
	wg.Wait()
}

func TestProxy(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	target := nettest.ListenTLS(t, trusted().Config(t), nettest.Replying(answer, false))
	for _, c := range []struct {
		name, scheme string
		handle       func(net.Conn)
		status       int
		phase        ekm.Phase
	}{
		{"407", "http", tunnel(407), 407, ekm.PhaseProxy},
		{"403", "http", tunnel(403), 403, ekm.PhaseProxy},
		{"closed", "http", func(c net.Conn) { nettest.ReadRequest(c) }, 0, ekm.PhaseProxy},
		{"garbled", "http", nettest.Replying("what?\r\n\r\n", false), 0, ekm.PhaseProxy},
		{"no TLS", "https", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<14))
			_, _ = io.WriteString(c, "HTTP/1.1 400 No\r\n\r\n")
		}, 0, ekm.PhaseTLS},
		{"TLS 403", "https-ok", tunnel(403), 403, ekm.PhaseProxy},
		{"TLS garbled", "https-ok", nettest.Replying("what?\r\n\r\n", false), 0, ekm.PhaseProxy},
	} {
		t.Run(c.name, func(t *testing.T) {
			scheme, ok := strings.CutSuffix(c.scheme, "-ok")
			var address string
			if ok {
				address = nettest.ListenTLS(t, trusted().Config(t), c.handle)
			} else {
				address = nettest.Listen(t, c.handle)
			}
			_, err := do(t, newClient(t, via(scheme, address)), get(target))
			e := failed(t, err, want{ekm.ErrorHttpSendRequest, c.phase, ekm.Proxy, address}, password)
			assert.Equal(t, c.status, e.Status)
			assert.Equal(t, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, e.Addresses, "the proxy's")
		})
	}
	t.Run("refused", func(t *testing.T) {
		address := nettest.ClosedPort(t)
		_, err := do(t, newClient(t, via("http", address)), get(target))
		failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseDial, ekm.Proxy, address}, password)
		assert.ErrorIs(t, err, nettest.ConnRefused)
	})
	t.Run("works", func(t *testing.T) {
		resp := must(t, newClient(t, via("http", nettest.Listen(t, tunnel(200)))), get(target))
		assert.Equal(t, "ok", string(resp.Body))
		assert.False(t, resp.From.IsValid(), "the proxy's address is not the party's")
	})
	for _, scheme := range []string{"http", "socks5"} {
		t.Run("silent, "+scheme, func(t *testing.T) {
			address := nettest.Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
			u := &url.URL{Scheme: scheme, User: url.UserPassword("someone", password), Host: address}
			client := newClient(t, wire.NewTransport(func(*url.URL) (*url.URL, error) { return u, nil },
				wire.Timeouts{Dial: 300 * time.Millisecond, TLS: 100 * time.Millisecond}, wire.Limits{}))
			before := runtime.NumGoroutine()
			_, err := do(t, client, get(target))
			failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseProxy, ekm.Proxy, address}, password)
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "its own limit, not the whole try's")
			assert.True(t, nettest.Settles(func() bool { return runtime.NumGoroutine() <= before+1 }), "but for the listener's own")
		})
	}
	t.Run("https, which would speak h2", func(t *testing.T) {
		config := trusted().Config(t)
		config.NextProtos = []string{"h2", "http/1.1"}
		address := nettest.ListenTLS(t, config, tunnel(200))
		assert.Equal(t, "ok", string(must(t, newClient(t, via("https", address)), get(target)).Body))
	})
	t.Run("the target's TLS is not the proxy's", func(t *testing.T) {
		plain := nettest.Listen(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<14)) })
		_, err := do(t, newClient(t, via("http", nettest.Listen(t, tunnel(200)))), get(plain))
		failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseTLS, ekm.Vault, plain}, password)
	})
	t.Run("settings", func(t *testing.T) {
		s := proxy.New(proxy.Settings{URL: "ftp://someone:" + password + "@p.example"})
		_, err := do(t, newClient(t, wire.NewTransport(s.Proxy, wire.Timeouts{}, wire.Limits{})), get(target))
		failed(t, err, want{ekm.ErrorHttpOpenSession, ekm.PhasePrepare, ekm.Proxy, ""}, password)
	})
}

func serve(t *testing.T, h2 bool, h http.HandlerFunc, wrap ...func(net.Listener) net.Listener) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	for _, f := range wrap {
		s.Listener = f(s.Listener)
	}
	s.EnableHTTP2 = h2
	s.TLS = trusted().Config(t)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestHTTP2(t *testing.T) {
	s := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPut:
			nettest.Settle()
			panic(http.ErrAbortHandler)
		case http.MethodPatch:
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, r.Proto)
	})
	address, client := s.Listener.Addr().String(), newClient(t, nil)
	r := get(address)
	assert.Equal(t, "HTTP/2.0", string(must(t, client, r).Body))
	r.Method = http.MethodPut
	_, err := do(t, client, r)
	failed(t, err, want{ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, ekm.Vault, address})
	r.Method = http.MethodPatch
	_, err = do(t, client, r)
	failed(t, err, want{ekm.ErrorHttpReadData, ekm.PhaseBody, ekm.Vault, address})
}

func TestHTTP2GoAway(t *testing.T) {
	config := trusted().Config(t)
	config.NextProtos = []string{"h2"}
	address := nettest.ListenTLS(t, config, func(c net.Conn) {
		_, _ = c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) // SETTINGS
		r := bufio.NewReader(c)
		_, _ = r.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		for h := make([]byte, 9); h[3] != 1; { // up to HEADERS, which end the request
			if _, err := io.ReadFull(r, h); err != nil {
				return
			}
			_, _ = r.Discard(int(h[0])<<16 | int(h[1])<<8 | int(h[2]))
		}
		nettest.Settle()
		_, _ = c.Write([]byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2}) // GOAWAY, INTERNAL_ERROR
	})
	r := get(address)
	r.Method = http.MethodPost
	_, err := do(t, newClient(t, nil), r)
	failed(t, err, want{ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, ekm.Vault, address})
}

func TestConnectionIsReused(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		var conns atomic.Int32
		s := serve(t, h2, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
		tr := wire.NewTransport(nil, wire.Timeouts{}, wire.Limits{})
		direct := tr.DialTLSContext
		tr.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conns.Add(1)
			return direct(ctx, network, address)
		}
		client, r := newClient(t, tr), get(s.Listener.Addr().String())
		r.Method, r.Body = http.MethodPost, []byte(`{"value":"x"}`)
		for range 10 {
			assert.Equal(t, r.Body, must(t, client, r).Body)
		}
		assert.EqualValues(t, 1, conns.Load())
	}
}

func TestManyAtOnce(t *testing.T) {
	s := serve(t, true, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	client := newClient(t, nil)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			r := get(s.Listener.Addr().String())
			r.Method, r.Body = http.MethodPost, fmt.Append(nil, "body ", i)
			resp, err := client.Do(t.Context(), r)
			if assert.NoError(t, err) {
				assert.Equal(t, r.Body, resp.Body)
			}
		})
	}
	wg.Wait()
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var hits atomic.Int32
	s := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	client, r := newClient(t, nil), get(s.Listener.Addr().String())
	resp := must(t, client, r)
	assert.EqualValues(t, 1, hits.Load())
	assert.Equal(t, ekm.ErrorUnknown, client.Refusal(r, resp).Code)
}

func TestRefusal(t *testing.T) {
	client, r := new(wire.Client), get("v.example:443")
	r.Secrets = []string{"hunter22 secret"}
	for status, code := range map[int]ekm.Code{
		401: 3108, 403: 3113, 404: 3112, 409: 3110, 400: 3110, 418: 3110, 429: 3109,
		500: 3111, 503: 3111, 301: 3001, 101: 3001, 100: 3001, 204: 3001, 600: 3001,
	} {
		e := client.Refusal(r, &wire.Response{Status: status, Header: http.Header{
			"X-Ms-Request-Id":      {"id " + token + " hunter22\x00secret\x1b " + strings.Repeat("i", 200)},
			"X-Ms-Keyvault-Region": {"westeurope"},
			"Retry-After":          {"7"},
		}})
		assert.Equal(t, code, e.Code, "%d", status)
		assert.Equal(t, status, e.Status)
		assert.Equal(t, "v.example", e.Host)
		assert.Equal(t, "westeurope", e.Region)
		assert.Equal(t, 7*time.Second, e.RetryAfter)
		assert.LessOrEqual(t, len(e.RequestID), 100)
		hides(t, e, token, "hunter22 secret")
	}
}

func TestSend(t *testing.T) {
	var tries int
	client := &wire.Client{Transport: tripper(func(*http.Request) (*http.Response, error) {
		if tries++; tries < 3 {
			return reply(500, "", 0), nil
		}
		return reply(200, "ok", 2), nil
	})}
	r, p := get("v.example"), retry.Policy{Base: time.Microsecond, Attempts: 3}
	judge := func(resp *wire.Response) error {
		if resp.Status != 200 {
			return client.Refusal(r, resp)
		}
		return nil
	}
	resp, err := client.Send(t.Context(), client.Call(p, true), r, judge)
	require.NoError(t, err)
	assert.Equal(t, "ok", string(resp.Body))
	tries, p.Attempts = 0, 2
	resp, err = client.Send(t.Context(), client.Call(p, true), r, judge)
	assert.Nil(t, resp)
	assert.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	client := &wire.Client{
		Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Transport: tripper(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "read", Err: fmt.Errorf("no: %s", token)}
		}),
	}
	policy := retry.Policy{Base: time.Millisecond, Attempts: 2}
	_, err := client.Send(t.Context(), client.Call(policy, true), get("v.example"), func(*wire.Response) error { return nil })
	require.Error(t, err)
	assert.Contains(t, out.String(), "code=3106")
	assert.NotContains(t, out.String(), token)
}

func TestTransportDefaults(t *testing.T) {
	tr := wire.NewTransport(nil, wire.Timeouts{}, wire.Limits{})
	assert.EqualValues(t, tls.VersionTLS12, tr.TLSClientConfig.MinVersion)
	assert.Nil(t, tr.Proxy)
}
