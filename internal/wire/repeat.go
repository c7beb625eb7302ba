package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"sync"
)

// net/http sends a request again by itself, on another connection or the same one,
// where the server cannot have acted upon it or the request is a GET: the idle
// connection was closed meanwhile, or an HTTP/2 server refuses the stream or goes
// away. It does so without a limit and without a pause where each server that it
// reaches goes away at once, and an exchange then lasts until its time is over. It
// also does so after RST_STREAM with PROTOCOL_ERROR, when the server may have acted.
//
// Here it gets to do so a few times, all of which are counted. A request that must
// not be repeated it never sends again over HTTP/2.

// maxSendings is how often a request may be sent in one exchange. A server that is
// going away costs one more than usual, and two of them in a row are rare.
// Connections that had been idle do not count: those are as many as there are.
const maxSendings = 3

var (
	errRepeated = errors.New("the server has refused the request again and again, each time so that it was to be sent once more; gave up")
	errTwice    = errors.New("the transport was about to send once more what must not be repeated")
)

// sendings count how often the transport has sent the request of one exchange.
type sendings struct {
	mu      sync.Mutex
	asked   int // for a connection, since it last got one
	got     int // connections
	idle    int // of those but the last, ones of HTTP/1 that had been idle
	last    httptrace.GotConnInfo
	headers bool // the request's have been written on the last one
	stopped error
}

func (s *sendings) note(f func(*sendings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// asking takes note that the transport looks for a connection. It looks twice for
// one of HTTP/2 that exists, and again and again if a server takes no streams.
func (x *exchange) asking() {
	x.sent.note(func(s *sendings) {
		if s.asked++; s.asked > 2*maxSendings || s.count() >= maxSendings {
			x.halt(errRepeated)
		}
		x.checkTwice()
	})
}

// sending takes note that the transport has a connection to send the request on.
func (x *exchange) sending(i httptrace.GotConnInfo) {
	x.sent.note(func(s *sendings) {
		before := s.count()
		if before >= maxSendings {
			x.halt(errRepeated)
		}
		x.checkTwice()
		if s.stopped != nil {
			return
		}
		if s.got++; s.got > 1 {
			x.client.counted.repeats.Add(1)
		}
		s.idle = s.got - 1 - before
		s.asked, s.last, s.headers = 0, i, false
	})
}

// count is how often the request was sent, but for connections of HTTP/1 that had
// been idle. What was sent on the last one is over.
func (s *sendings) count() int {
	n := s.got - s.idle
	if s.got > 0 && s.last.Reused && !isHTTP2(s.last.Conn) {
		n--
	}
	return n
}

// checkTwice stops an exchange whose request may have been acted upon. Over HTTP/1
// net/http repeats a POST only if it has not written any of it.
func (x *exchange) checkTwice() {
	s := &x.sent
	if x.once && s.headers && isHTTP2(s.last.Conn) {
		x.halt(errTwice)
	}
}

// halt ends the exchange with an error; x.sent.mu is held.
func (x *exchange) halt(err error) {
	if x.sent.stopped == nil {
		x.sent.stopped = err
		x.cancel()
	}
}

func (x *exchange) stopped() (err error) {
	x.sent.note(func(s *sendings) { err = s.stopped })
	return err
}

func (x *exchange) wroteHeaders() { x.sent.note(func(s *sendings) { s.headers = true }) }

func isHTTP2(c net.Conn) bool {
	secured, ok := c.(*tls.Conn)
	return ok && secured.ConnectionState().NegotiatedProtocol == "h2"
}
