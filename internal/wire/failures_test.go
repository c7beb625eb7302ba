package wire_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/internal/wire"
)

func TestRefusedPort(t *testing.T) {
	address := nettest.ClosedPort(t)
	_, err := do(t, newClient(t, nil), get(address))
	e := failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseDial, ekm.Vault, address})
	assert.ErrorIs(t, err, nettest.ConnRefused)
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, e.Addresses, "tried")
	assert.ErrorIs(t, err, ekm.ErrorHttpSendRequest)
}

// What was begun for an exchange that gave up ends with it, not with the timeouts
// of dialing: nothing is left behind in the background.
func TestNothingGoesOn(t *testing.T) {
	silent := nettest.Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for name, address := range map[string]string{
		"handshake": silent,
		"dial":      "192.0.2.1:443", // TEST-NET-1: nobody answers, or there is no route at all
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			client := newClient(t, nil)
			client.Timeouts.Try = 150 * time.Millisecond
			_, err := do(t, client, get(address))
			require.Error(t, err)
			assert.True(t, nettest.Settles(func() bool { return runtime.NumGoroutine() <= before+1 }), "but for the listener's own")
		})
	}
}

// Which address answered tells on which side of a private endpoint it is.
func TestAddressOfAnAnswer(t *testing.T) {
	address := nettest.ListenTLS(t, trusted().Config(t), nettest.Replying("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", false))
	client := newClient(t, nil)
	r := get(address)
	e := client.Refusal(r, must(t, client, r))
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, e.Addresses)
	assert.Contains(t, e.Error(), address+" at 127.0.0.1 (private)")
}

func TestHandshakeFailures(t *testing.T) {
	good := trusted().Config(t)
	stranger := &tls.Config{Certificates: []tls.Certificate{nettest.NewAuthority().Issue(t, nil)}}
	expired := &tls.Config{Certificates: []tls.Certificate{trusted().Issue(t, func(c *x509.Certificate) {
		c.NotAfter = time.Now().Add(-time.Hour)
	})}}
	misnamed := &tls.Config{Certificates: []tls.Certificate{trusted().Issue(t, func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames = nil, []string{"elsewhere.example"}
	})}}
	old := good.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	serve := func(config *tls.Config) func(*testing.T) string {
		return func(t *testing.T) string { return nettest.ListenTLS(t, config, nettest.Replying("", false)) }
	}
	raw := func(handle func(net.Conn)) func(*testing.T) string {
		return func(t *testing.T) string { return nettest.Listen(t, handle) }
	}
	for _, c := range []struct {
		name  string
		serve func(*testing.T) string
		cause func(*testing.T, error)
	}{
		{"reset", raw(nettest.Reset), func(t *testing.T, err error) { assert.ErrorIs(t, err, nettest.ConnReset) }},
		{"closed", raw(func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<14)) }), nil},
		{"plain HTTP", raw(func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<14))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}), func(t *testing.T, err error) {
			_, ok := errors.AsType[tls.RecordHeaderError](err)
			assert.True(t, ok)
		}},
		{"unknown authority", serve(stranger), func(t *testing.T, err error) {
			_, ok := errors.AsType[x509.UnknownAuthorityError](err)
			assert.True(t, ok)
		}},
		{"expired", serve(expired), func(t *testing.T, err error) {
			invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
			assert.True(t, ok)
			assert.Equal(t, x509.Expired, invalid.Reason)
		}},
		{"wrong name", serve(misnamed), func(t *testing.T, err error) {
			_, ok := errors.AsType[x509.HostnameError](err)
			assert.True(t, ok)
		}},
		{"old version", serve(old), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := c.serve(t)
			_, err := do(t, newClient(t, nil), get(address))
			failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseTLS, ekm.Vault, address})
			if c.cause != nil {
				c.cause(t, err)
			}
		})
	}
	t.Run("hang", func(t *testing.T) {
		address := nettest.Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		client := newClient(t, nil)
		client.Timeouts.Try = 150 * time.Millisecond
		_, err := do(t, client, get(address))
		failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseTLS, ekm.Vault, address})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name  string
		rcode int
		want  want
	}{
		{"does not exist", nettest.NoSuchName, want{ekm.ErrorAKVDoesNotExist, ekm.PhaseResolve, ekm.Vault, "nowhere.invalid"}},
		// A private zone without its record, perhaps; Go's resolver says the same of both.
		{"has no address", nettest.Known, want{ekm.ErrorAKVDoesNotExist, ekm.PhaseResolve, ekm.Vault, "nowhere.invalid"}},
		{"server failure", nettest.ServerFailure, want{ekm.ErrorHttpSendRequest, ekm.PhaseResolve, ekm.Vault, "nowhere.invalid"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := wire.NewTransport(nil, wire.Timeouts{}, wire.Limits{})
			tr.DialTLSContext = nil // which would dial for itself
			tr.DialContext = (&net.Dialer{Resolver: nettest.Resolver(c.rcode)}).DialContext
			_, err := do(t, newClient(t, tr), get("nowhere.invalid:443"))
			failed(t, err, c.want)
			dns, ok := errors.AsType[*net.DNSError](err)
			require.True(t, ok)
			assert.Equal(t, c.rcode != nettest.ServerFailure, dns.IsNotFound)
		})
	}
	t.Run("no answer", func(t *testing.T) {
		tr := wire.NewTransport(nil, wire.Timeouts{}, wire.Limits{})
		tr.DialTLSContext = nil // which would dial for itself
		tr.DialContext = (&net.Dialer{Resolver: nettest.Unheard()}).DialContext
		client := newClient(t, tr)
		client.Timeouts.Try = 20 * time.Millisecond
		_, err := do(t, client, get("nowhere.invalid"))
		e, _ := errors.AsType[*ekm.Error](err)
		require.NotNil(t, e)
		assert.Equal(t, ekm.ErrorHttpSendRequest, e.Code)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// A name with several addresses is told with all of them, whichever was tried when
// the time was up.
func TestAddressesOfAName(t *testing.T) {
	known := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = nettest.Resolver(nettest.Known, known...)
	_, port, _ := net.SplitHostPort(nettest.ClosedPort(t))
	_, err := do(t, newClient(t, nil), get("vault.example:"+port))
	var e *ekm.Error
	require.ErrorAs(t, err, &e)
	assert.ElementsMatch(t, known, e.Addresses)
}

func TestReplies(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	long := strings.Repeat("v", 17<<10)
	many := strings.Repeat("X-A: "+strings.Repeat("v", 10<<10)+"\r\n", 7)
	for _, c := range []struct {
		name, reply string
		hang        bool
		code        ekm.Code
		phase       ekm.Phase
	}{
		{"closed", "", false, 3107, ekm.PhaseStatus},
		{"silent", "", true, 3107, ekm.PhaseStatus},
		{"no status line", "220 mail ready\r\n\r\n", false, 3107, ekm.PhaseHeader},
		{"status line with the token", "Bearer " + token + "\x1b[2J\r\n\r\n", false, 3107, ekm.PhaseHeader},
		{"status no number", "HTTP/1.1 abc no\r\n\r\n", false, 3107, ekm.PhaseHeader},
		{"header line", ok + "no colon " + token + "\r\n\r\n", false, 3114, ekm.PhaseHeader},
		{"header cut", ok + "X-A: b\r\nX-", false, 3114, ekm.PhaseHeader},
		{"header stops", ok + "X-A: b\r\nX-", true, 3114, ekm.PhaseHeader},
		{"header value", ok + "X-A: " + long + "\r\n\r\n", false, 3115, ekm.PhaseHeader},
		{"header", ok + many + "\r\n", false, 3116, ekm.PhaseHeader},
		{"header, the transport's limit", ok + strings.Repeat(many, 5) + "\r\n", false, 3116, ekm.PhaseHeader},
		{"length no number", ok + "Content-Length: ten\r\n\r\n", false, 3118, ekm.PhaseHeader},
		{"length negative", ok + "Content-Length: -10\r\n\r\n", false, 3118, ekm.PhaseHeader},
		{"two lengths", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", false, 3118, ekm.PhaseHeader},
		{"cut", ok + "Content-Length: 10\r\n\r\nabc", false, 3119, ekm.PhaseBody},
		{"stops", ok + "Content-Length: 10\r\n\r\nabc", true, 3119, ekm.PhaseBody},
		{"chunking", ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", false, 3119, ekm.PhaseBody},
		{"chunk cut", ok + "Transfer-Encoding: chunked\r\n\r\na\r\nabc", false, 3119, ekm.PhaseBody},
		{"declared", ok + "Content-Length: 99999999\r\n\r\n", true, 3120, ekm.PhaseBody},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := nettest.ListenTLS(t, trusted().Config(t), nettest.Replying(c.reply, c.hang))
			client := newClient(t, nil)
			if c.hang && c.code != 3120 {
				client.Timeouts.Try = 400 * time.Millisecond
			}
			_, err := do(t, client, get(address))
			failed(t, err, want{c.code, c.phase, ekm.Vault, address})
			if client.Timeouts.Try < time.Second {
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			}
		})
	}
}

// What the transport reads before we see it is bounded too, and by the same limit.
func TestHeaderFlood(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		s := serve(t, h2, func(w http.ResponseWriter, _ *http.Request) {
			for i := range 300 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("v", 1<<10))
			}
		})
		address := s.Listener.Addr().String()
		_, err := do(t, newClient(t, nil), get(address))
		e := failed(t, err, want{ekm.ErrorHttpQueryHeaderOutOfMemoryReallocBuffer, ekm.PhaseHeader, ekm.Vault, address})
		assert.NotErrorIs(t, e, context.DeadlineExceeded)

		// Raised, it holds for the transport as well.
		limits := wire.Limits{Header: 1 << 20}
		client := newClient(t, wire.NewTransport(nil, wire.Timeouts{}, limits))
		client.Limits = limits
		must(t, client, get(address))
	}
}

func TestGrowingReplyIsRefusedEarly(t *testing.T) {
	var sent atomic.Int64
	address := nettest.ListenTLS(t, trusted().Config(t), func(c net.Conn) {
		if !nettest.ReadRequest(c) {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		chunk := "10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n"
		for sent.Load() < 300<<20 {
			n, err := io.WriteString(c, chunk)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	_, err := do(t, newClient(t, nil), get(address))
	failed(t, err, want{ekm.ErrorHttpGetResponseOutOfMemoryAppendResponse, ekm.PhaseBody, ekm.Vault, address})
	assert.Less(t, sent.Load(), int64(32<<20), "what the sockets hold, besides the limit")
}

func TestHeldBudget(t *testing.T) {
	address := nettest.ListenTLS(t, trusted().Config(t), nettest.Replying("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+strings.Repeat("x", 5000), false))
	client := newClient(t, nil)
	client.Limits.Held = 1000
	_, err := do(t, client, get(address))
	failed(t, err, want{ekm.ErrorHttpGetResponseOutOfMemoryGetResultString, ekm.PhaseBody, ekm.Vault, address})

	client.Transport = tripper(func(*http.Request) (*http.Response, error) { return reply(200, strings.Repeat("x", 900), -1), nil })
	for range 3 { // given back each time
		must(t, client, get(address))
	}
}

func TestInFlight(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	client := &wire.Client{Limits: wire.Limits{InFlight: 1}, Transport: tripper(func(*http.Request) (*http.Response, error) {
		entered <- struct{}{}
		<-release
		return reply(200, "ok", 2), nil
	})}
	done := make(chan error)
	go func() {
		_, err := client.Do(t.Context(), get("v.example"))
		done <- err
	}()
	<-entered
	_, err := do(t, client, get("v.example"))
	failed(t, err, want{ekm.ErrorHttpCreateHttpClientOutOfMemory, ekm.PhasePrepare, ekm.Local, ""})
	close(release)
	require.NoError(t, <-done)
	go func() { <-entered }()
	must(t, client, get("v.example"))
}

func TestUnusableRequests(t *testing.T) {
	client := &wire.Client{Transport: tripper(func(*http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, io.EOF
	})}
	for _, c := range []struct {
		name string
		edit func(*wire.Request)
		code ekm.Code
		host string
	}{
		{"escape", func(r *wire.Request) { r.URL = "https://v.example/%zz" }, 3104, ""},
		{"scheme", func(r *wire.Request) { r.URL = "ftp://v.example/" }, 3104, ""},
		{"no scheme", func(r *wire.Request) { r.URL = "v.example/keys" }, 3104, ""},
		{"method", func(r *wire.Request) { r.Method = "GET /x" }, 3104, ""},
		{"no method", func(r *wire.Request) { r.Method = "" }, 3104, ""},
		{"no host", func(r *wire.Request) { r.URL = "https:///keys" }, 3102, ""},
		{"blank in host", func(r *wire.Request) { r.URL = "https://v example/keys" }, 3102, ""},
		{"illegal host", func(r *wire.Request) { r.URL = "https://v$.example/keys" }, 3102, "v$.example"},
		{"port no number", func(r *wire.Request) { r.URL = "https://v.example:x/keys" }, 3102, ""},
		{"port too large", func(r *wire.Request) { r.URL = "https://v.example:70000/" }, 3102, "v.example:70000"},
		{"port empty", func(r *wire.Request) { r.URL = "https://v.example:/" }, 3102, "v.example:"},
		{"password", func(r *wire.Request) { r.URL = "https://u:hunter22@v.example/" }, 3102, "v.example"},
		{"token in two lines", func(r *wire.Request) { r.Authorization = "Bearer " + token[:9] + "\n" + token[9:] }, 3105, "v.example"},
		{"correlation", func(r *wire.Request) { r.Header = http.Header{"X-A": {"a\rb"}} }, 3105, "v.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := get("v.example")
			c.edit(r)
			_, err := do(t, client, r)
			failed(t, err, want{c.code, ekm.PhasePrepare, ekm.Local, c.host}, token[:9], token[9:], "hunter22")
		})
	}
}

func reply(status int, body string, length int64) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: length, Body: io.NopCloser(strings.NewReader(body))}
}

// What is not known to be unsent counts as sent: a call that must not be repeated
// then is not.
func TestRoundTrippersWithoutHooks(t *testing.T) {
	for _, c := range []struct {
		name  string
		resp  *http.Response
		err   error
		code  ekm.Code
		phase ekm.Phase
	}{
		{"EOF", nil, io.EOF, 3107, ekm.PhaseWrite},
		{"unexpected EOF", nil, io.ErrUnexpectedEOF, 3107, ekm.PhaseWrite},
		{"cancelled", nil, context.Canceled, 3106, ekm.PhaseWrite},
		{"no network", nil, &net.OpError{Op: "dial", Err: nettest.NetUnreachable}, 3103, ekm.PhaseWrite},
		{"network down", nil, nettest.NetDown, 3103, ekm.PhaseWrite},
		{"no route", nil, nettest.HostUnreachable, 3103, ekm.PhaseWrite},
		{"short", reply(200, "abc", 10), nil, 3119, ekm.PhaseBody},
		{"negative", reply(200, "abc", -5), nil, 3118, ekm.PhaseBody},
		{"huge", reply(200, "abc", 1<<62), nil, 3120, ekm.PhaseBody},
		{"more than said", reply(200, strings.Repeat("x", 2<<20), 10), nil, 3122, ekm.PhaseBody},
		{"secret", nil, errors.New("could not send Bearer " + token + "\r\n"), 3106, ekm.PhaseWrite},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := &wire.Client{Transport: tripper(func(*http.Request) (*http.Response, error) { return c.resp, c.err })}
			_, err := do(t, client, get("v.example:443"))
			failed(t, err, want{c.code, c.phase, ekm.Vault, "v.example"})
			if c.err != nil {
				assert.ErrorIs(t, err, c.err)
			}
		})
	}
	t.Run("a timeout told in its own words", func(t *testing.T) {
		client := &wire.Client{Timeouts: wire.Timeouts{Try: time.Millisecond}, Transport: tripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, errors.New("gave up")
		})}
		_, err := do(t, client, get("v.example"))
		failed(t, err, want{ekm.ErrorHttpSendRequest, ekm.PhaseWrite, ekm.Vault, "v.example"})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// A connection that was dialed for an exchange, which then got another one, must
// not move the exchange back to its handshake.
func TestLateHandshake(t *testing.T) {
	config := trusted().Config(t)
	first, answer := make(chan struct{}), make(chan struct{})
	second, hello, drop := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var conns atomic.Int32
	address := nettest.Listen(t, func(c net.Conn) {
		if conns.Add(1) > 1 {
			_, _ = c.Read(make([]byte, 1)) // the late handshake has begun
			close(hello)
			return
		}
		s := tls.Server(c, config)
		if !nettest.ReadRequest(s) {
			return
		}
		close(first)
		<-answer
		_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		if nettest.ReadRequest(s) {
			close(second)
			<-drop
		}
	})
	tr := wire.NewTransport(nil, wire.Timeouts{}, wire.Limits{})
	direct, dialing, release := tr.DialContext, make(chan struct{}), make(chan struct{})
	var dials atomic.Int32
	tr.DialTLSContext = nil // which would dial for itself
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials.Add(1) > 1 {
			close(dialing)
			<-release
		}
		return direct(context.WithoutCancel(ctx), network, addr)
	}
	client := newClient(t, tr)
	post := get(address)
	post.Method = http.MethodPost
	errs := make(chan error, 2)
	exchange := func() {
		_, err := client.Do(t.Context(), post)
		errs <- err
	}
	go exchange()
	<-first
	go exchange()
	<-dialing
	close(answer)
	require.NoError(t, <-errs)
	<-second
	close(release)
	<-hello
	close(drop)
	failed(t, <-errs, want{ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, ekm.Vault, address})
}
