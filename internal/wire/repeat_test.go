package wire_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/http"
	"sync"
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

// streams is a server's limit of streams at the same moment, as a setting.
func streams(limit uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0, 3}, limit) }

// net/http sends a request again by itself where it was refused unread. It does so
// a few times, each counted, and the exchange fails.
func TestRepeatsAreBounded(t *testing.T) {
	for _, c := range []struct {
		name   string
		refuse func(c *tls.Conn, stream uint32) bool
		sent   int // requests
		conns  int
	}{
		{"GOAWAY that names no stream", func(c *tls.Conn, _ uint32) bool {
			_, _ = c.Write(goAway(0, noError))
			return false
		}, 3, 3},
		{"GOAWAY, and the connection stays", func(c *tls.Conn, _ uint32) bool {
			_, _ = c.Write(goAway(0, noError))
			return true
		}, 3, 3},
		{"REFUSED_STREAM", func(c *tls.Conn, s uint32) bool { _, _ = c.Write(reset(s, refusedStream)); return true }, 3, 1},
		{"PROTOCOL_ERROR", func(c *tls.Conn, s uint32) bool { _, _ = c.Write(reset(s, protocolError)); return true }, 3, 3},
	} {
		for _, foreign := range []bool{false, true} {
			for _, r := range []func(string) *wire.Request{get, post} {
				var sent, conns atomic.Int32
				address := nettest.Listen(t, counted(&conns, speakingH2(t, nil, func(conn *tls.Conn, s uint32) bool {
					sent.Add(1)
					return c.refuse(conn, s)
				})))
				name := c.name + " " + r("").Method
				transport := wire.NewTransport(nil, wire.Timeouts{}, wire.Limits{})
				if foreign {
					name += ", foreign transport"
					transport = &http.Transport{TLSClientConfig: new(tls.Config), ForceAttemptHTTP2: true}
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					client := newClient(t, transport)
					_, err := do(t, client, r(address))
					failed(t, err, want{ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, ekm.Vault, address})
					assert.ErrorContains(t, err, "again and again")
					assert.NotErrorIs(t, err, context.Canceled, "nobody cancelled it")
					assert.EqualValues(t, c.sent, sent.Load())
					if !foreign {
						assert.EqualValues(t, c.conns, conns.Load())
					}
					assert.LessOrEqual(t, conns.Load(), int32(c.conns+1), "one is dialed while the exchange ends")
					assert.EqualValues(t, c.sent-1, client.Stats().Repeats)
				})
			}
		}
	}
}

// It is a failure of the network like any other: what goes away comes back.
func TestRepeatedFailuresAreTriedAgain(t *testing.T) {
	var sent atomic.Int32
	address := nettest.Listen(t, speakingH2(t, nil, func(c *tls.Conn, s uint32) bool {
		if sent.Add(1) > 4 {
			_, _ = c.Write(answered(s))
			return true
		}
		_, _ = c.Write(goAway(0, noError))
		return false
	}))
	client := newClient(t, nil)
	client.Gate = new(retry.Gate)
	resp, err := send(t, client, post(address), true)
	require.NoError(t, err)
	assert.Equal(t, 2, resp.Attempts)
	assert.EqualValues(t, 2, client.Gate.Stats().Tries)
	assert.EqualValues(t, 3, client.Stats().Repeats, "two of the first try, one of the second")
}

// A server that takes no streams at all is not dialed for ever.
func TestServerThatTakesNoStreams(t *testing.T) {
	var conns atomic.Int32
	address := nettest.Listen(t, counted(&conns, speakingH2(t, streams(0), func(*tls.Conn, uint32) bool { return true })))
	client := newClient(t, nil)
	client.Timeouts.Try = time.Second
	_, err := do(t, client, get(address))
	require.Error(t, err)
	assert.LessOrEqual(t, conns.Load(), int32(7))
}

// What must not be repeated net/http does not repeat either, once it was written:
// after PROTOCOL_ERROR the server may have acted. A body makes no difference.
func TestNotRepeatable(t *testing.T) {
	bare := func(address string) *wire.Request { r := post(address); r.Body = nil; return r }
	for name, refuse := range map[string]func(uint32) []byte{
		"PROTOCOL_ERROR": func(s uint32) []byte { return reset(s, protocolError) },
		"REFUSED_STREAM": func(s uint32) []byte { return reset(s, refusedStream) },
		"GOAWAY":         func(uint32) []byte { return goAway(0, noError) },
	} {
		for _, r := range []func(string) *wire.Request{post, bare} {
			t.Run(name, func(t *testing.T) {
				var sent atomic.Int32
				address := nettest.Listen(t, speakingH2(t, nil, func(c *tls.Conn, s uint32) bool {
					sent.Add(1)
					_, _ = c.Write(refuse(s))
					return true
				}))
				_, err := send(t, newClient(t, nil), r(address), false)
				failed(t, err, want{ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, ekm.Vault, address})
				assert.ErrorContains(t, err, "must not be repeated")
				assert.EqualValues(t, 1, sent.Load())
			})
		}
	}
}

// A mortal is a connection that dies unnoticed: its end shows in the next write, of
// which the first bytes are lost or none is taken.
type mortal struct {
	net.Conn
	dead, takes *atomic.Bool
}

func (m *mortal) Write(p []byte) (int, error) {
	if !m.dead.Load() {
		return m.Conn.Write(p)
	}
	_ = m.Close()
	if m.takes.Load() {
		return len(p), nil
	}
	return 0, nettest.ConnReset
}

// Connections that died while idle cost a request no try, however many they are. One
// that must not be repeated is sent again only if nothing of it was written.
func TestIdleConnectionsThatDied(t *testing.T) {
	const many = 20
	for _, c := range []struct {
		name       string
		request    func(string) *wire.Request
		repeatable bool
		takes      bool
	}{
		{"GET, lost", get, true, true},
		{"GET, not taken", get, true, false},
		{"POST, not taken", post, true, false},
		{"POST that must not be repeated, not taken", post, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var takes atomic.Bool
			takes.Store(c.takes)
			arrived, release := make(chan struct{}, many+1), make(chan struct{})
			s := nettest.Serve(t, nil, false, func(http.ResponseWriter, *http.Request) {
				arrived <- struct{}{}
				<-release
			})
			var mu sync.Mutex
			var made []*mortal
			client := newClient(t, &http.Transport{
				TLSClientConfig: new(tls.Config), MaxIdleConnsPerHost: many,
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, address)
					m := &mortal{conn, new(atomic.Bool), &takes}
					mu.Lock()
					defer mu.Unlock()
					made = append(made, m)
					return m, err
				},
			})
			r := c.request(s.Addr())
			r.URL, r.Party = s.URL, ekm.ManagedIdentity // which is asked without TLS
			var wg sync.WaitGroup
			for range many {
				wg.Go(func() {
					own := *r // a Request is one goroutine's
					_, err := client.Do(t.Context(), &own)
					assert.NoError(t, err)
				})
			}
			for range many {
				<-arrived
			}
			close(release)
			wg.Wait()
			nettest.Settle() // until all are idle
			for _, m := range made {
				m.dead.Store(true)
			}
			resp, err := send(t, client, r, c.repeatable)
			require.NoError(t, err)
			assert.Equal(t, 1, resp.Attempts)
			assert.Greater(t, client.Stats().Repeats, uint64(many/2), "a few may not have become idle in time")
		})
	}
}
