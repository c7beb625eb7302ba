package wire

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/akv-ekm/ekm"
)

// A link is a connection that our dialer made; proxied, if to a proxy.
type link struct {
	net.Conn
	proxied bool
}

// linkOf is the link below c, which may speak TLS, once or twice; or nil.
func linkOf(c net.Conn) *link {
	for {
		switch upper := c.(type) {
		case *link:
			return upper
		case interface{ NetConn() net.Conn }:
			c = upper.NetConn()
		default:
			return nil
		}
	}
}

// onFailure has stop called when the exchange fails, at once if it has already.
func (x *exchange) onFailure(stop func()) {
	x.mu.Lock()
	over := x.over
	x.stop = append(x.stop, stop)
	x.mu.Unlock()
	if over {
		stop()
	}
}

func (x *exchange) failed() {
	x.mu.Lock()
	x.over = true
	stop := x.stop
	x.mu.Unlock()
	for _, f := range stop {
		f()
	}
}

func (x *exchange) connectedTo(c net.Conn) {
	x.enter(ekm.PhaseWrite)
	if c == nil {
		return // a round tripper of its own kind
	}
	l := linkOf(c)
	if l != nil && l.proxied {
		_ = c.SetDeadline(time.Time{}) // the tunnel stands, whoever dialed it
		return
	}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok && (l != nil || x.client.direct()) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.conn = a.AddrPort().Addr().Unmap()
	}
}

// direct reports that connections which our dialer did not make lead to the party
// itself.
func (c *Client) direct() bool {
	t, ok := c.transport().(*http.Transport)
	return ok && t.Proxy == nil
}

// resolved notes an address of the host that is being dialed.
func (x *exchange) resolved(ip net.IP) {
	a, ok := netip.AddrFromSlice(ip)
	if a = a.Unmap(); !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.found) < 8 && !slices.Contains(x.found, a) {
		x.found = append(x.found, a)
	}
}

// directly is the address of the party itself, if there is a connection to it.
func (x *exchange) directly() netip.Addr {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.conn
}

// addresses are those that an error of this exchange should tell.
func (x *exchange) addresses(p ekm.Party) []netip.Addr {
	if p == ekm.Local || p != ekm.Proxy && x.proxyHost() != "" {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn.IsValid() {
		return []netip.Addr{x.conn}
	}
	return slices.Clone(x.found)
}
