// Package wire makes one bounded HTTP exchange: one request through one
// http.RoundTripper, one response read to its end within limits. Redirects are
// never followed, since a round tripper does not. [Client.Do] tries nothing twice but
// what net/http sends again by itself, and that only a few times; [Client.Send] and
// [Client.Retry] try again by the policy and through the gate of package retry.
//
// A failure of an exchange has exactly one code, decided in [codeOf]; an
// unwelcome status has one too, decided in [Client.Refusal]. These two switches
// are the whole 31xx range, with 3900 and 3001.
package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/retry"
)

// A Client makes exchanges. Its fields must not change after the first one; its
// methods may be called by many goroutines at once.
type Client struct {
	Transport http.RoundTripper // required
	Wrapped   http.RoundTripper // what requests go through on their way to Transport, see Wrap; nil: nothing
	Own       bool              // Transport is nobody else's, so that Close may close its connections
	Limits    Limits            // zero fields mean the defaults
	Timeouts  Timeouts          // as well
	Gate      *retry.Gate       // that Send lets each try through; nil: none
	UserAgent string
	Logger    *slog.Logger // nil: silent
	Success   slog.Level   // of the record of an operation that succeeds

	counted  counters
	inFlight atomic.Int64 // exchanges
	held     atomic.Int64 // bytes of response bodies being read
	closed   atomic.Bool

	mu    sync.Mutex
	looks [2]*time.Timer // for idle connections, once closed
}

// Limits bounds what an exchange may take. A field that is zero or less has the
// default given with it.
type Limits struct {
	InFlight    int64 // exchanges at the same moment: 65,536 (code 3100)
	HeaderValue int64 // bytes of one response header value: 16 KiB (3115)
	Header      int64 // bytes of all response header fields: 64 KiB (3116)
	Body        int64 // bytes of a response body: 1 MiB (3120, 3122)
	Held        int64 // bytes of all response bodies read at the same moment: 256 MiB (3121)
}

func (l Limits) withDefaults() Limits {
	def := func(n *int64, v int64) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&l.InFlight, 1<<16)
	def(&l.HeaderValue, 16<<10)
	def(&l.Header, 64<<10)
	def(&l.Body, 1<<20)
	def(&l.Held, 256<<20)
	return l
}

// A Request is what goes out, of one goroutine's exchanges one after the other.
// Header values are checked, not trusted: a pasted token with a line break ends up
// here.
type Request struct {
	Op            string // for errors, the log and [Operation]
	Party         ekm.Party
	Method        string
	URL           string
	Host          string      // the only host, as in an error, that URL may lead to; empty: any
	Authorization string      // header; empty: none
	Correlation   string      // x-ms-client-request-id; empty: none
	ContentType   string      // of Body
	Header        http.Header // further fields, or nil; canonical names
	Body          []byte      // nil: none
	Secret        []byte      // the part of Body that is secret by itself, in base64url, or nil
	Secrets       []string    // what else must not come back in an error, besides Authorization and Body
	Once          bool        // the transport must not send it again once it was written
	MaxReply      int64       // bytes of the response body, in place of Limits.Body; 0: that

	made *exchange // the last one, which knows the proxy
}

// A Response was read completely. The caller owns it.
type Response struct {
	Status   int
	Header   http.Header
	Body     []byte
	Attempts int        // exchanges that [Client.Send] made for it
	From     netip.Addr // the party's address; zero through a proxy, or if the round tripper does not tell
}

// Do makes one exchange. Any complete response is a success, whatever its
// status. A failure is of type [*ekm.Error]; if ctx ended or a timeout passed,
// errors.Is finds context.Canceled or context.DeadlineExceeded in it.
func (c *Client) Do(ctx context.Context, r *Request) (*Response, error) {
	x := &exchange{limits: c.Limits.withDefaults(), client: c, op: r.Op, once: r.Once}
	if r.MaxReply > 0 {
		x.limits.Body = r.MaxReply
	}
	r.made = x
	resp, err := c.do(ctx, r, x)
	if err != nil {
		err = x.fail(ctx, r, err)
	}
	c.counted.add(resp, err)
	e, _ := errors.AsType[*ekm.Error](err)
	count(ctx, e)
	return resp, err
}

func (c *Client) do(ctx context.Context, r *Request, x *exchange) (answer *Response, err error) {
	defer func() { // also if foreign code panics
		if answer == nil {
			x.failed()
		}
		c.over()
	}()
	if c.inFlight.Add(1) > x.limits.InFlight {
		return nil, errInFlight
	}
	timeouts := c.Timeouts.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, timeouts.Try)
	defer cancel()
	x.cancel = cancel
	req, err := x.request(ctx, c, r)
	if err != nil {
		return nil, err
	}
	// A round tripper without trace hooks may have sent the request or not, and
	// what is not known must count as sent; hooks begin with dialing.
	x.enter(ekm.PhaseWrite)
	x.asked = req
	resp, err := x.roundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	x.enter(ekm.PhaseHeader)
	if err := x.checkHeader(resp.Header); err != nil {
		return nil, err
	}
	x.enter(ekm.PhaseBody)
	body, err := x.inTime(timeouts.Body, cancel, func() ([]byte, error) { return x.readBody(resp) })
	if err != nil {
		return nil, because(ctx, err)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body, From: x.directly()}, nil
}

// roundTrip makes the round trip, and holds the round tripper to its contract.
func (x *exchange) roundTrip(req *http.Request) (*http.Response, error) {
	way := x.client.way()
	if way == nil {
		return nil, fmt.Errorf("%w: what was to wrap it returned none", errContract)
	}
	resp, err := way.RoundTrip(req)
	stopped := x.stopped()
	switch {
	case err != nil && resp != nil:
		if resp.Body != nil {
			_ = resp.Body.Close()
		}
		return nil, fmt.Errorf("%w: it returned a response and an error: %w", errContract, err)
	case err != nil && stopped != nil:
		return nil, stopped
	case err != nil:
		return nil, because(req.Context(), err)
	case resp == nil:
		return nil, fmt.Errorf("%w: it returned neither response nor error", errContract)
	case resp.Body == nil:
		return nil, fmt.Errorf("%w: it returned a response without a body", errContract)
	case resp.StatusCode < 0 || resp.StatusCode > 999:
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: it returned the status %d", errContract, resp.StatusCode)
	}
	return resp, nil
}
