package wire_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/retry"
)

// Over HTTP/1.1 a burst needs a connection for each call; they are kept for the
// next one, as many as a gate lets in at once.
func TestBurstsShareConnections(t *testing.T) {
	const burst = 128
	arrived, answer := make(chan struct{}, burst), make(chan struct{})
	s := nettest.Serve(t, nil, false, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-answer:
		case <-r.Context().Done():
		}
	})
	client, r := newClient(t, nil), get(s.Addr())
	r.URL, r.Party = s.URL, ekm.ManagedIdentity // which is asked without TLS, to be quick
	for range 2 {
		var calls sync.WaitGroup
		for range burst {
			own := *r // a request is of one goroutine
			calls.Go(func() {
				_, err := client.Do(t.Context(), &own)
				assert.NoError(t, err)
			})
		}
		for range burst {
			select {
			case <-arrived:
			case <-time.After(10 * time.Second):
				t.Fatal("a call did not arrive")
			}
		}
		for range burst {
			answer <- struct{}{}
		}
		calls.Wait()
	}
	// A connection is free a moment after its call is over, so that a few may be new.
	assert.Less(t, s.Opened.Load(), int32(burst*5/4))
}

// socks is a SOCKS 5 proxy for those who bring nothing: RFC 1928.
func socks(c net.Conn) {
	hello := make([]byte, 2)
	if _, err := io.ReadFull(c, hello); err != nil {
		return
	}
	_, _ = io.ReadFull(c, make([]byte, hello[1])) // methods
	_, _ = c.Write([]byte{5, 0})
	request := make([]byte, 4+net.IPv4len+2)
	if _, err := io.ReadFull(c, request); err != nil {
		return
	}
	to, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: request[4:8], Port: int(request[8])<<8 | int(request[9])})
	if err == nil {
		_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		relay(c, c, to)
	}
}

// proxies are one of each kind, in front of any target.
func proxies(t *testing.T, delay time.Duration) []*url.URL {
	later := func(serve func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			time.Sleep(delay)
			serve(c)
		}
	}
	user := url.UserPassword("someone", password)
	return []*url.URL{
		{Scheme: "http", User: user, Host: nettest.Listen(t, later(tunnel(200)))},
		{Scheme: "https", User: user, Host: nettest.ListenTLS(t, trusted().Config(t), later(tunnel(200)))},
		{Scheme: "socks5", User: user, Host: nettest.Listen(t, later(socks))},
	}
}

func through(t *testing.T, proxy *url.URL, limits wire.Timeouts) *wire.Client {
	return newClient(t, wire.NewTransport(func(*url.URL) (*url.URL, error) { return proxy, nil }, limits, wire.Limits{}))
}

// protocols are HTTP/1.1 and HTTP/2: whether it is the latter.
var protocols = map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true}

// A tunnel has a time to come about. Once it stands it is a connection as any, and
// serves a call that comes after that time.
func TestTunnelOutlivesItsLimit(t *testing.T) {
	limits := wire.Timeouts{Dial: 200 * time.Millisecond, TLS: 400 * time.Millisecond}
	later := make(map[string]func(*testing.T))
	for protocol, h2 := range protocols {
		s := nettest.Serve(t, trusted().Config(t), h2, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
		for i, proxy := range proxies(t, 0) {
			client := through(t, proxy, limits)
			require.Equal(t, protocol, string(must(t, client, get(s.Addr())).Body))
			require.EqualValues(t, i+1, s.Opened.Load())
			later[protocol+" by "+proxy.Scheme] = func(t *testing.T) {
				resp := must(t, client, get(s.Addr()))
				assert.Equal(t, protocol, string(resp.Body))
				assert.EqualValues(t, 3, s.Opened.Load(), "over the same connection")
				assert.False(t, resp.From.IsValid(), "the proxy's address is not the party's")
			}
		}
	}
	time.Sleep(limits.Dial + limits.TLS + 100*time.Millisecond)
	for name, again := range later {
		t.Run(name, again)
	}
}

// Nor does it end the call of another that takes over the connection.
func TestTunnelDialedForAnother(t *testing.T) {
	limits := wire.Timeouts{Dial: 500 * time.Millisecond, TLS: 500 * time.Millisecond}
	for protocol, h2 := range protocols {
		s := nettest.Serve(t, trusted().Config(t), h2, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(1200 * time.Millisecond) // longer than a tunnel's time
			_, _ = io.WriteString(w, "served")
		})
		for _, proxy := range proxies(t, 100*time.Millisecond) {
			t.Run(protocol+" by "+proxy.Scheme, func(t *testing.T) {
				t.Parallel()
				client := through(t, proxy, limits)
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				_, err := client.Do(ctx, get(s.Addr()))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, "served", string(must(t, client, get(s.Addr())).Body))
			})
		}
	}
}

// Timeouts as long as can be are none.
func TestLongestTimeouts(t *testing.T) {
	const m = math.MaxInt64
	limits := wire.Timeouts{Dial: m, TLS: m, FirstByte: m, Body: m, Try: m}
	s := nettest.Serve(t, trusted().Config(t), true, func(w http.ResponseWriter, r *http.Request) {})
	for _, proxy := range append(proxies(t, 0), nil) {
		client := through(t, proxy, limits)
		client.Timeouts = limits
		assert.Equal(t, http.StatusOK, must(t, client, get(s.Addr())).Status)
	}
}

// Of a caller's transport with a proxy it is not known where connections lead.
func TestAddressesOfForeignTransports(t *testing.T) {
	s := nettest.Serve(t, trusted().Config(t), false, func(w http.ResponseWriter, r *http.Request) {})
	for _, proxy := range proxies(t, 0) {
		client := newClient(t, &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: new(tls.Config)})
		assert.False(t, must(t, client, get(s.Addr())).From.IsValid())
	}
	client := newClient(t, &http.Transport{TLSClientConfig: new(tls.Config)})
	assert.Equal(t, "127.0.0.1", must(t, client, get(s.Addr())).From.String())
}

// Each try but the last is told of, once the next one is made.
func TestLogOfTries(t *testing.T) {
	var log bytes.Buffer
	client := newClient(t, nil)
	client.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	policy := retry.Policy{Base: time.Millisecond, Attempts: 3}
	_, err := client.Send(t.Context(), client.Call(policy, true), get(nettest.ClosedPort(t)), func(*wire.Response) error { return nil })
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok)
	assert.Equal(t, 3, e.Attempts)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 2)
	for i, line := range lines {
		var r struct {
			Level, Msg, Operation, Host, Phase, Symbol, Cause string
			Try, Code, Attempts                               int
			Wait                                              float64
		}
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		assert.Equal(t, []any{"DEBUG", "operation tried again", i + 1, 3106, "ErrorHttpSendRequest", "dial", 0},
			[]any{r.Level, r.Msg, r.Try, r.Code, r.Symbol, r.Phase, r.Attempts})
		assert.NotEmpty(t, r.Host+r.Operation)
		assert.Contains(t, r.Cause, "refused")
		assert.InDelta(t, 0.0015, r.Wait, 1)
		assert.GreaterOrEqual(t, r.Wait, 0.0005)
	}
}
