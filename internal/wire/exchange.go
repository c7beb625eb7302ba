package wire

import (
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
	"sync"
	"sync/atomic"

	"github.com/akv-ekm/ekm"
)

// An exchange knows how far one request has got. Hooks of the transport report
// to it, from other goroutines and possibly after the exchange is over.
type exchange struct {
	client *Client
	op     string
	limits Limits
	host   string
	step   atomic.Int32 // index into phases
	proxy  atomic.Value // string: address of the proxy in use, without user and password
	hooks  httptrace.ClientTrace
	late   atomic.Bool // the body's time is over
	once   bool        // the transport may not send the request a second time
	cancel context.CancelFunc
	sent   sendings
	asked  *http.Request

	mu    sync.Mutex
	conn  netip.Addr             // the other end of the connection in use
	used  net.Conn               // that connection itself
	fresh net.Conn               // the last one that was made for this exchange
	found []netip.Addr           // what the name resolved to where a connection was dialed for this exchange
	over  bool                   // it has failed
	stop  []func()               // what to do then
	users []func() *url.Userinfo // of the proxies chosen, out of sight of fmt
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

func (x *exchange) dialing() {
	x.step.Store(int32(slices.Index(phases[:], ekm.PhaseDial)))
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conn = netip.Addr{}
}

func (x *exchange) phase() ekm.Phase { return phases[x.step.Load()] }

// trace learns the phase from the transport. Only these five hooks, and a sixth for
// the rare request that must not be repeated: the net package's own cost more than
// they tell, see dial.
func (x *exchange) trace() *httptrace.ClientTrace {
	x.hooks = httptrace.ClientTrace{
		GetConn:              func(string) { x.dialing(); x.asking() },
		TLSHandshakeStart:    func() { x.enter(ekm.PhaseTLS) },
		GotConn:              func(i httptrace.GotConnInfo) { x.connectedTo(i); x.sending(i) },
		WroteRequest:         func(i httptrace.WroteRequestInfo) { x.wrote(i.Err) },
		GotFirstResponseByte: func() { x.enter(ekm.PhaseHeader) },
	}
	if x.once {
		x.hooks.WroteHeaders = x.wroteHeaders
	}
	return &x.hooks
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
	errContract    = errors.New("the round tripper breaks its contract")
	errCut         = fmt.Errorf("the connection ended within the header: %w", io.ErrUnexpectedEOF)
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

// Operation is the name of the operation whose exchange ctx belongs to, as the context
// of a request does; "" if there is none.
func Operation(ctx context.Context) string {
	if x := of(ctx); x != nil {
		return x.op
	}
	return ""
}

// of is the exchange that ctx belongs to, or nil.
func of(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}
