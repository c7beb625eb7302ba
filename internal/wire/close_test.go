package wire_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/internal/wire"
)

// slow is a server that sends the beginning of each answer, and the rest when told to.
type slow struct {
	*nettest.Server
	begun, rest chan struct{}
}

func slowly(t *testing.T, h2 bool) *slow {
	s := &slow{begun: make(chan struct{}, 100), rest: make(chan struct{}, 100)}
	s.Server = nettest.Serve(t, trusted().Config(t), h2, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
		_ = http.NewResponseController(w).Flush()
		s.begun <- struct{}{}
		select {
		case <-s.rest:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	})
	return s
}

// start begins a call and returns when its answer has begun.
func (s *slow) start(ctx context.Context, c *wire.Client) <-chan error {
	over := make(chan error, 1)
	go func() {
		_, err := c.Do(ctx, get(s.Addr()))
		over <- err
	}()
	<-s.begun
	return over
}

func TestClose(t *testing.T) {
	for protocol, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		for name, use := range map[string]func(*testing.T, *wire.Client, *slow){
			"idle": func(t *testing.T, c *wire.Client, s *slow) {
				s.rest <- struct{}{}
				require.NoError(t, <-s.start(t.Context(), c))
				c.Close()
			},
			"calls under way": func(t *testing.T, c *wire.Client, s *slow) {
				first, second := s.start(t.Context(), c), s.start(t.Context(), c)
				c.Close()
				s.rest <- struct{}{}
				s.rest <- struct{}{}
				assert.NoError(t, <-first, "not disturbed")
				assert.NoError(t, <-second)
			},
			"a call that is cancelled then": func(t *testing.T, c *wire.Client, s *slow) {
				ctx, cancel := context.WithCancel(t.Context())
				over := s.start(ctx, c)
				c.Close()
				cancel()
				assert.ErrorIs(t, <-over, context.Canceled)
			},
			"a call that was cancelled": func(t *testing.T, c *wire.Client, s *slow) {
				ctx, cancel := context.WithCancel(t.Context())
				over := s.start(ctx, c)
				cancel()
				assert.ErrorIs(t, <-over, context.Canceled)
				c.Close()
			},
			"calls after it": func(t *testing.T, c *wire.Client, s *slow) {
				c.Close()
				first, second := s.start(t.Context(), c), s.start(t.Context(), c)
				s.rest <- struct{}{}
				s.rest <- struct{}{}
				assert.NoError(t, <-first)
				assert.NoError(t, <-second)
			},
			"more than may be at once": func(t *testing.T, c *wire.Client, s *slow) {
				c.Limits.InFlight = 1
				over := s.start(t.Context(), c)
				c.Close()
				_, err := c.Do(t.Context(), get(s.Addr()))
				assert.ErrorContains(t, err, "too many")
				s.rest <- struct{}{}
				assert.NoError(t, <-over)
			},
		} {
			t.Run(protocol+"/"+name, func(t *testing.T) {
				s := slowly(t, h2)
				client := newClient(t, nil)
				client.Own = true
				use(t, client, s)
				assert.True(t, s.Left(), "%d connections", s.Open.Load())
				assert.NotZero(t, s.Opened.Load())
			})
		}
	}
}

// A connection may come that was dialed for an exchange which got another one, long
// after the first look for idle ones.
func TestCloseWhileDialing(t *testing.T) {
	s := nettest.Serve(t, trusted().Config(t), true, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	tr := wire.NewTransport(nil, wire.Timeouts{}, wire.Limits{})
	direct, dials := tr.DialTLSContext, new(atomic.Int32)
	both, second, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	tr.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			<-both
			return direct(ctx, network, address)
		}
		close(both)
		conn, err := direct(ctx, network, address)
		close(second)
		<-release
		return conn, err
	}
	client := newClient(t, tr)
	client.Own, client.Timeouts.Dial, client.Timeouts.TLS = true, 250*time.Millisecond, 150*time.Millisecond
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			_, err := client.Do(t.Context(), get(s.Addr()))
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	<-second
	client.Close()
	time.AfterFunc(200*time.Millisecond, func() { close(release) })
	assert.True(t, s.Left(), "%d connections", s.Open.Load())
	assert.EqualValues(t, 2, s.Opened.Load())
}

// What the caller gave is the caller's to close.
func TestCloseLeavesAnothersConnections(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		s := nettest.Serve(t, trusted().Config(t), h2, func(http.ResponseWriter, *http.Request) {})
		client := newClient(t, nil)
		must(t, client, get(s.Addr()))
		client.Close()
		must(t, client, get(s.Addr()))
		assert.EqualValues(t, 1, s.Opened.Load())
	}
	(&wire.Client{Own: true, Transport: tripper(nil)}).Close() // which has none
}

// An idler notes when it is to close idle connections.
type idler struct {
	tripper
	begun  time.Time
	mu     sync.Mutex
	closed []time.Duration
}

func (i *idler) CloseIdleConnections() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = append(i.closed, time.Since(i.begun))
}

// No look for idle connections is taken while there is a call, but once it is over.
func TestCloseLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := &idler{begun: time.Now(), tripper: func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(200, "", 0), nil
		}}
		client := &wire.Client{Own: true, Transport: idle}
		must(t, client, get("v.example"))
		assert.Empty(t, idle.closed, "it is not closed")
		client.Close()
		time.Sleep(50 * time.Millisecond)
		must(t, client, get("v.example"))
		time.Sleep(time.Hour)
		idle.mu.Lock()
		defer idle.mu.Unlock()
		assert.Equal(t, []time.Duration{1000e6, 2050e6, 2150e6, 42050e6}, idle.closed)
	})
}
