package wire

import (
	"runtime"
	"time"
)

// CloseWhenDropped closes the idle connections of Transport when the client is garbage
// collected, if Transport is the client's own. Connections hold no reference to the
// client; an exchange does, but it ends with its request. The runtime may keep the
// stopped timer of an exchange, and with it the client, until the timer would have fired.
//
// The cleanup uses no timer or channel of the client, as it runs outside the
// testing/synctest bubble that the client may belong to.
func (c *Client) CloseWhenDropped() {
	if t, ok := c.transport().(idler); ok && c.Own {
		runtime.AddCleanup(c, func(t idler) { go closeQuietly(t) }, t) // closing may take seconds
	}
}

// An idler is a round tripper that keeps connections.
type idler interface{ CloseIdleConnections() }

// closeQuietly is for where no caller could recover from a panic in the Close of a
// connection that the caller's own dialer made.
func closeQuietly(t idler) {
	defer func() { _ = recover() }()
	t.CloseIdleConnections()
}

// Close closes the connections, if Transport is the client's own, once no exchange
// is under way. Exchanges after Close work, and leave no connection either.
func (c *Client) Close() {
	if !c.Own {
		return
	}
	c.closed.Store(true)
	if c.inFlight.Load() == 0 {
		c.tidy()
	}
}

// over is the end of an exchange, its body's included.
func (c *Client) over() {
	if c.inFlight.Add(-1) == 0 && c.closed.Load() {
		c.tidy()
	}
}

// tidy looks for idle connections more than once, as net/http lets some become so
// when their exchange is over: an HTTP/2 stream that was cancelled ends a moment
// later, and a connection may still be dialed that nobody waits for any more,
// through a proxy for as long as the last look is away.
func (c *Client) tidy() {
	c.closeIdle()
	t := c.Timeouts.withDefaults()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, later := range [...]time.Duration{100 * time.Millisecond, 2 * (t.Dial + t.TLS)} {
		if c.looks[i] == nil {
			c.looks[i] = time.AfterFunc(later, c.lookAgain)
		} else {
			c.looks[i].Reset(later)
		}
	}
}

// closeIdle does nothing while there are exchanges: net/http takes a connection for
// idle that it has just made for one. The last of them will look again.
func (c *Client) closeIdle() {
	if t, ok := c.transport().(idler); ok && c.inFlight.Load() == 0 {
		t.CloseIdleConnections()
	}
}

// lookAgain is closeIdle by the clock.
func (c *Client) lookAgain() {
	if t, ok := c.transport().(idler); ok && c.inFlight.Load() == 0 {
		closeQuietly(t)
	}
}
