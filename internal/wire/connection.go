package wire

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/tlserr"
)

// A link is a connection that our dialer made; proxied, if to a proxy. It remembers
// how it ended, which net/http does not always tell.
type link struct {
	net.Conn
	proxied bool

	mu     sync.Mutex
	ended  error  // of the first read that failed, before Close
	broken bool   // a write has failed
	closed bool   // by us
	rest   []byte // what had arrived by then
}

// Read reads what had arrived before the connection was closed, too.
func (l *link) Read(p []byte) (int, error) {
	if n := l.left(p); n > 0 {
		return n, nil
	}
	n, err := l.Conn.Read(p)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.closed && l.ended == nil {
			l.ended = err
		}
	}
	return n, err
}

func (l *link) left(p []byte) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n
}

func (l *link) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.broken = true
	}
	return n, err
}

// Close keeps what had arrived on a connection that the other side broke. It may
// say why, and net/http looks for it only if it was reading at that moment.
func (l *link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && l.broken {
		_ = l.SetReadDeadline(time.Now().Add(time.Millisecond)) // what there is, is there
		rest := make([]byte, 4<<10)
		n, _ := io.ReadFull(l.Conn, rest)
		l.rest = rest[:n]
	}
	l.closed = true
	return l.Conn.Close()
}

// lastWords is the error that a connection ended with, or nil if that is not known.
// It must not be used any more.
func lastWords(c net.Conn) error {
	l := linkOf(c)
	if _, secured := c.(*tls.Conn); !secured {
		if l == nil {
			return nil
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.ended
	}
	// A tls.Conn keeps its error. Whether it has one is found out by reading, which
	// the deadline ends at once if not.
	_ = c.SetReadDeadline(time.Unix(1, 0))
	_, err := c.Read(make([]byte, 1))
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// over reports that nothing more will be read from the connection but what is known.
// It closes one that is dead, or that a write has shown to be.
func (l *link) over(dead bool) bool {
	l.mu.Lock()
	closed, broken := l.closed, l.broken
	l.mu.Unlock()
	if !closed && (broken || dead) {
		_ = l.Close()
		return true
	}
	return closed
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

// refusedByTLS is the error of a refusal by TLS, if that is why an exchange failed
// in a phase. TLS 1.3 refuses a client, above all one without the certificate that it
// demands, only when the client takes the connection for made; the request is then
// cut off, or the connection ends, and what was said is found on it. A connection
// that was in use before was not refused.
func (x *exchange) refusedByTLS(err error, phase ekm.Phase) error {
	if phase == ekm.PhaseHeader || phase == ekm.PhaseBody {
		return nil
	}
	x.mu.Lock()
	used, fresh := x.used, x.fresh
	x.mu.Unlock()
	if used != nil && fresh == nil {
		return nil
	}
	if tlserr.Refused(err) {
		return err
	}
	// net/http may fail the exchange before it closes a connection that has ended.
	dead := strings.Contains(err.Error(), "client conn could not be established")
	if l := linkOf(fresh); l == nil || !l.over(dead) {
		return nil
	}
	if said := lastWords(fresh); tlserr.Refused(said) {
		return &causes{err, said}
	}
	return nil
}

// cutOff reports that err, of a header of HTTP/1, is about a part of a line behind
// which the connection ended. net/http takes that for a whole line: it has no colon,
// or it ends with CR, which a whole one never does.
func (x *exchange) cutOff(err error) bool {
	malformed, ok := errors.AsType[textproto.ProtocolError](err)
	if !ok {
		return false
	}
	text := string(malformed)
	quoted, short := strings.CutPrefix(text, "malformed MIME header: missing colon: ")
	line, _ := strconv.Unquote(quoted)
	if !(short && validName(line)) && !strings.HasSuffix(text, `\r"`) {
		return false
	}
	x.mu.Lock()
	used := x.used
	x.mu.Unlock()
	return used != nil && lastWords(used) != nil
}

// validName reports that s consists of what a field's name does: RFC 9110, 5.6.2.
func validName(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return true
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

func (x *exchange) connectedTo(i httptrace.GotConnInfo) {
	x.enter(ekm.PhaseWrite)
	c := i.Conn
	if c == nil {
		return // a round tripper of its own kind
	}
	x.uses(c, i.Reused)
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

// uses takes note of the connection that the request goes over.
func (x *exchange) uses(c net.Conn, reused bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.used, x.fresh = c, c; reused {
		x.fresh = nil
	}
}

// made takes note of a connection that was dialed for this exchange, which net/http
// does not tell if it fails at once.
func (x *exchange) made(c net.Conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.used == nil {
		x.fresh = c
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
