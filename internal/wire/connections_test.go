package wire_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/internal/wire"
)

// Over HTTP/1.1 a burst needs a connection for each call; they are kept for the
// next one, as many as a gate lets in at once.
func TestBurstsShareConnections(t *testing.T) {
	const burst = 128
	var all sync.WaitGroup // the requests of a burst; each is answered once all are there
	s := nettest.Serve(t, nil, false, func(http.ResponseWriter, *http.Request) {
		all.Done()
		all.Wait()
	})
	client, r := newClient(t, nil), get(s.Addr())
	r.URL, r.Party = s.URL, ekm.ManagedIdentity // which is asked without TLS, to be quick
	for range 2 {
		all.Add(burst)
		var calls sync.WaitGroup
		for range burst {
			calls.Go(func() {
				_, err := client.Do(t.Context(), r)
				assert.NoError(t, err)
			})
		}
		calls.Wait()
		assert.EqualValues(t, burst, s.Opened.Load())
	}
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

// A tunnel has a time to come about. Once it stands it is a connection as any, and
// serves a call that comes after that time.
func TestTunnelOutlivesItsLimit(t *testing.T) {
	limits := wire.Timeouts{Dial: 200 * time.Millisecond, TLS: 400 * time.Millisecond}
	later := make(map[string]func(*testing.T))
	for protocol, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		s := nettest.Serve(t, trusted().Config(t), h2, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
		for i, proxy := range []string{
			"http://" + nettest.Listen(t, tunnel(200)),
			"https://" + nettest.ListenTLS(t, trusted().Config(t), tunnel(200)),
			"socks5://" + nettest.Listen(t, socks),
		} {
			u, err := url.Parse(proxy)
			require.NoError(t, err)
			u.User = url.UserPassword("someone", password)
			client := newClient(t, wire.NewTransport(func(*url.URL) (*url.URL, error) { return u, nil }, limits, wire.Limits{}))
			require.Equal(t, protocol, string(must(t, client, get(s.Addr())).Body))
			require.EqualValues(t, i+1, s.Opened.Load())
			later[protocol+" by "+u.Scheme] = func(t *testing.T) {
				assert.Equal(t, protocol, string(must(t, client, get(s.Addr())).Body))
				assert.EqualValues(t, 3, s.Opened.Load(), "over the same connection")
			}
		}
	}
	time.Sleep(limits.Dial + limits.TLS + 100*time.Millisecond)
	for name, again := range later {
		t.Run(name, again)
	}
}
