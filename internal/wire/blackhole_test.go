package wire_test

import (
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/retry"
)

// A deafListener's first connection stops reading when told to, and stays open:
// what a firewall does that forgets a connection.
type deafListener struct {
	net.Listener
	accepted atomic.Int32
	deaf     chan struct{} // closed: the first connection reads no more
}

type deafConn struct {
	net.Conn
	deaf, closed chan struct{}
	once         sync.Once
}

func (l *deafListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || l.accepted.Add(1) > 1 {
		return c, err
	}
	return &deafConn{Conn: c, deaf: l.deaf, closed: make(chan struct{})}, nil
}

func (c *deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.deaf:
		<-c.closed
		return 0, io.EOF
	default:
		return n, err
	}
}

func (c *deafConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A connection that nobody answers on any more is found by pings long before the
// try's own timeout, and the call goes on over a new one.
func TestBlackHole(t *testing.T) {
	var deaf *deafListener
	s := serve(t, true, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }, func(l net.Listener) net.Listener {
		deaf = &deafListener{Listener: l, deaf: make(chan struct{})}
		return deaf
	})
	tr := wire.NewTransport(nil, wire.Timeouts{}, wire.Limits{})
	// Much less than the defaults.
	require.Equal(t, 15*time.Second, tr.HTTP2.SendPingTimeout)
	require.Equal(t, 5*time.Second, tr.HTTP2.PingTimeout)
	tr.HTTP2.SendPingTimeout, tr.HTTP2.PingTimeout = 150*time.Millisecond, 100*time.Millisecond
	client := newClient(t, tr)
	address := s.Listener.Addr().String()
	require.Equal(t, "HTTP/2.0", string(must(t, client, get(address)).Body))

	close(deaf.deaf)
	begun := time.Now()
	resp, err := client.Send(t.Context(), client.Call(retry.Policy{Base: time.Millisecond}, true), get(address), func(*wire.Response) error { return nil })
	require.NoError(t, err)
	assert.Equal(t, "HTTP/2.0", string(resp.Body))
	assert.EqualValues(t, 2, deaf.accepted.Load())
	assert.Less(t, time.Since(begun), client.Timeouts.Try/2, "not the try's timeout")
}
