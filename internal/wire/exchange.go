package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akv-ekm/ekm"
)

// An exchange knows how far one request has got. Hooks of the transport report
// to it, from other goroutines and possibly after the exchange is over.
type exchange struct {
	client *Client
	limits Limits
	host   string
	step   atomic.Int32 // index into phases
	proxy  atomic.Value // string: address of the proxy in use, without user and password
	hooks  httptrace.ClientTrace
	late   atomic.Bool // the body's time is over

	mu    sync.Mutex
	conn  netip.Addr   // the other end of the connection in use
	tried []netip.Addr // the ends of those that were dialed for this exchange
	over  bool         // it has failed
	stop  []func()     // what to do then
	raw   []net.Conn   // to the proxy, with a deadline until the tunnel stands
}

// tunnelling notes a connection on which a proxy is asked for something, by
// net/http and without a limit of its own.
func (x *exchange) tunnelling(c net.Conn, limit time.Duration) {
	_ = c.SetDeadline(time.Now().Add(limit))
	x.mu.Lock()
	defer x.mu.Unlock()
	x.raw = append(x.raw, c)
}

// tunnelled lifts the deadlines again.
func (x *exchange) tunnelled() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.raw {
		_ = c.SetDeadline(time.Time{})
	}
	x.raw = nil
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

type exchangeKey struct{}

// phases in the order in which an exchange passes them. Once the exchange has its
// connection no step goes back: a hook may come late, and so may the connection
// that was dialed before another became free. A retry inside the transport starts
// again at dial.
var phases = [...]ekm.Phase{
	ekm.PhasePrepare, ekm.PhaseResolve, ekm.PhaseDial, ekm.PhaseProxy, ekm.PhaseTLS,
	ekm.PhaseWrite, ekm.PhaseStatus, ekm.PhaseHeader, ekm.PhaseBody,
}

func (x *exchange) enter(p ekm.Phase) {
	next := int32(slices.Index(phases[:], p))
	for {
		now := x.step.Load()
		if next < now && now >= connected || x.step.CompareAndSwap(now, next) {
			return
		}
	}
}

// connected is the index of PhaseWrite, the first one with a connection.
const connected = 5

func (x *exchange) dialing() { x.step.Store(int32(slices.Index(phases[:], ekm.PhaseDial))) }

func (x *exchange) phase() ekm.Phase { return phases[x.step.Load()] }

// trace learns the phase from the transport. Only these five hooks: the net
// package's own cost more than they tell, see dial.
func (x *exchange) trace() *httptrace.ClientTrace {
	x.hooks = httptrace.ClientTrace{
		GetConn:              func(string) { x.dialing() },
		TLSHandshakeStart:    func() { x.enter(ekm.PhaseTLS) },
		GotConn:              func(i httptrace.GotConnInfo) { x.connectedTo(i.Conn) },
		WroteRequest:         func(i httptrace.WroteRequestInfo) { x.wrote(i.Err) },
		GotFirstResponseByte: func() { x.enter(ekm.PhaseHeader) },
	}
	return &x.hooks
}

func (x *exchange) connectedTo(c net.Conn) {
	x.enter(ekm.PhaseWrite)
	if c == nil {
		return // a round tripper of its own kind
	}
	if x.proxyHost() != "" {
		_ = c.SetDeadline(time.Time{}) // it may be another exchange's, see tunnelling
	}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.conn = a.AddrPort().Addr().Unmap()
	}
}

// dialed notes an address, "192.0.2.1:443", that a connection is tried to.
func (x *exchange) dialed(address string) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.tried) < 8 && !slices.Contains(x.tried, a.Addr()) {
		x.tried = append(x.tried, a.Addr())
	}
}

// directly is the address of the party itself, if there is a connection to it.
func (x *exchange) directly() netip.Addr {
	if x.proxyHost() != "" {
		return netip.Addr{}
	}
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
	return slices.Clone(x.tried)
}

func (x *exchange) wrote(err error) {
	if err == nil {
		x.enter(ekm.PhaseStatus)
	}
}

// The failures that wire itself finds; codeOf gives each its code.
var (
	errInFlight    = errors.New("too many exchanges at the same moment")
	errAddress     = errors.New("the address is not a URL that a request can be sent to")
	errHost        = errors.New("the address has no usable host, or leads to a host that it may not")
	errHeaderValue = errors.New("a request header holds an illegal character, perhaps a line break")
	errNoResponse  = errors.New("the round tripper returned no response")
	errFieldSize   = errors.New("a response header value is over its limit")
	errHeaderSize  = errors.New("the response header is over its limit")
	errLength      = errors.New("the declared length is not usable")
	errDeclared    = errors.New("the declared length of the response is over its limit")
	errHeld        = errors.New("the responses being read are over their common limit")
	errGrown       = errors.New("the response has grown over its limit")
)

// causes joins an error with the context error behind it, in one line.
type causes struct{ err, cause error }

func (c *causes) Error() string   { return c.err.Error() + ": " + c.cause.Error() }
func (c *causes) Unwrap() []error { return []error{c.err, c.cause} }

// because adds the end of ctx to an error that came of it and does not say so.
func because(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return &causes{err, cause}
	}
	return err
}

// checkHeader holds the header against its limits. The transport has a limit of
// its own, above ours, for what it reads before we see it.
func (x *exchange) checkHeader(h http.Header) error {
	var total int64
	for name, values := range h {
		for _, v := range values {
			if int64(len(v)) > x.limits.HeaderValue {
				return fmt.Errorf("%w: %d bytes, limit %d", errFieldSize, len(v), x.limits.HeaderValue)
			}
			total += int64(len(name) + len(v) + 4)
		}
	}
	if total > x.limits.Header {
		return fmt.Errorf("%w: %d bytes, limit %d", errHeaderSize, total, x.limits.Header)
	}
	return nil
}

// readBody reads the body to its end. Memory is taken as bytes arrive, never on
// the word of a Content-Length alone.
func (x *exchange) readBody(resp *http.Response) ([]byte, error) {
	limit := x.limits.Body
	declared := resp.ContentLength
	switch {
	case declared < -1:
		return nil, fmt.Errorf("%w: %d", errLength, declared)
	case declared > limit:
		return nil, fmt.Errorf("%w: %d bytes, limit %d", errDeclared, declared, limit)
	}
	r := &heldReader{r: resp.Body, x: x, left: limit + 1}
	defer r.release()
	var buf bytes.Buffer
	if declared > 0 {
		buf.Grow(int(min(declared, 4<<10)) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(r)
	switch {
	case err != nil:
		return nil, err
	case n > limit:
		return nil, fmt.Errorf("%w: more than %d bytes", errGrown, limit)
	case n < declared:
		return nil, io.ErrUnexpectedEOF // a round tripper that does not count for itself
	}
	return buf.Bytes(), nil
}

// A heldReader reads up to a limit, and charges what it reads to the client's
// common budget.
type heldReader struct {
	r    io.Reader
	x    *exchange
	n    int64
	left int64
}

func (h *heldReader) Read(p []byte) (int, error) {
	if h.left <= 0 {
		return 0, io.EOF
	}
	n, err := h.r.Read(p[:min(int64(len(p)), h.left)])
	h.n += int64(n)
	h.left -= int64(n)
	if h.x.client.held.Add(int64(n)) > h.x.limits.Held {
		return n, fmt.Errorf("%w of %d bytes", errHeld, h.x.limits.Held)
	}
	return n, err
}

func (h *heldReader) release() { h.x.client.held.Add(-h.n) }

func newBody(b []byte) io.Reader { return bytes.NewReader(b) }

func validMethod(m string) bool {
	return m != "" && strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// badHost reports that an address does not parse because of its host or port.
func badHost(err error) bool {
	if err == nil {
		return false
	}
	_, illegal := errors.AsType[url.InvalidHostError](err)
	return illegal || strings.Contains(err.Error(), "invalid port ")
}

// validHost accepts what DNS and RFC 3986 call a host, with an optional port.
func validHost(u *url.URL) bool {
	name := u.Hostname()
	if name == "" || len(name) > 253 || u.User != nil || strings.HasSuffix(u.Host, ":") {
		return false
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	for _, c := range []byte(name) {
		ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == ':'
		if !ok {
			return false
		}
	}
	return true
}

// validHeader checks field values: RFC 9110, 5.5, without obs-text.
func validHeader(h http.Header) bool {
	for _, values := range h {
		for _, v := range values {
			for _, c := range []byte(v) {
				if c < ' ' && c != '\t' || c >= 0x7f {
					return false
				}
			}
		}
	}
	return true
}

// of is the exchange that ctx belongs to, or nil.
func of(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}
