// Package retry decides whether and when a failed exchange is tried again, and
// how fast calls may be sent to a service that limits their rate.
//
// A [Policy] is plain data; its zero value is good. It tries again what may succeed
// unchanged, and only that.
//
// Tried again are
//   - connections that could not be made, and those that ended, were reset or took
//     too long: in the handshake of TLS, in the request, in the response's header or
//     in its body;
//   - a name server that fails or does not answer;
//   - responses with 408, 429, 500, 502, 503 and 504;
//   - a proxy's answers 502, 503 and 504 to CONNECT.
//
// Final, after one try, are
//   - every other status, a redirect included, and every other answer to CONNECT;
//   - a name that does not exist, be it the host's or the proxy's;
//   - a refusal by TLS: an alert of either side, such as no common version or cipher
//     suite, a client certificate that the server demands, a name that it does not
//     have; a certificate that is not trusted, has expired or is another host's; a
//     server that does not speak TLS. So is every alert of a server, internal_error
//     too, that comes before the first response on a new connection: TLS 1.3 refuses
//     a client only then. Later ones break off a connection like any other failure;
//   - a response whose header is malformed, as opposed to cut short;
//   - a limit of ours, with the party [ekm.Local]: a response over its size, a request
//     that cannot be sent, a round tripper that breaks its contract;
//   - whatever is not an [*ekm.Error].
//
// A [Gate] is shared by all calls to one host. It learns from the answers what
// the host allows, and lets calls in one after the other where that is less than
// what is wanted.
package retry

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/tlserr"
)

// A Policy bounds the tries of one call. A field that is zero has the default
// given with it. A Policy may be used by many goroutines at once.
type Policy struct {
	// Attempts is the largest number of tries, the first included, that may fail
	// otherwise than by 429 or 503: 5. A host that says "not now" has not failed,
	// so Budget and the context alone bound such tries, and at a [Gate] those that
	// find no connection while it is shut. One turns all retries off. It bounds the
	// failed tries of one request; the Attempts of an [ekm.Error] counts all exchanges
	// of the operation, the vault's challenge and the token request among them.
	Attempts int
	// Base is the wait after the first failure, before jitter; it doubles with
	// each further one: 500 ms.
	Base time.Duration
	// Cap is the longest wait between two tries, and the most that a server's
	// Retry-After is obeyed: 60 s.
	Cap time.Duration
	// Budget is the longest time that a call spends on all its waits together:
	// 2 minutes. At a [Gate], neither waits for one's turn nor those after 429
	// cost anything; there it also is how long the host may answer nobody.
	Budget time.Duration
	// Try is the longest time for one try: 0 is no limit but ctx's, and whatever
	// makes the try may have one of its own. The shorter counts.
	Try time.Duration
}

func (p Policy) withDefaults() Policy {
	if p.Attempts <= 0 {
		p.Attempts = 5
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&p.Base, 500*time.Millisecond)
	def(&p.Cap, time.Minute)
	def(&p.Budget, 2*time.Minute)
	return p
}

// Do calls try until it succeeds, fails for good, or the policy or ctx gives no
// further try; it returns the last error with its Attempts filled in. It does
// not begin a wait that would outlast ctx's deadline: the service's own error is
// worth more than a later context error. But a back-off after 429 or 503 for which
// the service asked no time is cut to leave some for one more try, if half of Base
// remains. If ctx ends during a wait, errors.Is finds ctx's error and the
// service's.
//
// repeatable says that trying twice does no harm. If it is false, only those
// failures are tried again after which the service cannot have acted.
//
// try must return an error of its own each time, not one that others see too.
func (p Policy) Do(ctx context.Context, repeatable bool, try func(context.Context) error) error {
	return (*Gate)(nil).Do(ctx, p, repeatable, try)
}

// wait is the time after the nth failure: exponential, with jitter over its upper
// half so that callers who failed together do not come back together. What the
// server asked for is a floor under it, up to the cap.
func (p Policy) wait(n int, asked time.Duration) time.Duration {
	d := p.Cap
	if shift := n - 1; shift < 32 && p.Base<<shift > 0 && p.Base<<shift < p.Cap {
		d = p.Base << shift
	}
	jittered := d/2 + rand.N(d/2+1)
	return max(jittered, min(asked, p.Cap))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// notNow reports an answer of the host that says nothing against the request.
func notNow(e *ekm.Error) bool {
	return !tunnelRefused(e) && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable)
}

// tunnelRefused reports an answer to CONNECT: a proxy's, with nothing sent to the host.
func tunnelRefused(e *ekm.Error) bool { return e.Party == ekm.Proxy && e.Status != 0 }

// temporary reports whether the same request may succeed a moment later. The
// package's comment has the list.
func temporary(e *ekm.Error, repeatable bool) bool {
	if tunnelRefused(e) {
		return e.Status == 502 || e.Status == 503 || e.Status == 504
	}
	switch e.Status {
	case 0:
		return e.Party != ekm.Local && !refusedByTLS(e) && !noSuchName(e) && brokenOff(e, repeatable)
	case http.StatusTooManyRequests:
		return true // refused before it was looked at
	case 408, 500, 502, 503, 504:
		return repeatable
	}
	return false
}

// brokenOff reports a failure of the network, at a point where it may be tried again.
func brokenOff(e *ekm.Error, repeatable bool) bool {
	switch e.Code {
	case ekm.ErrorHttpAttemptConnect, ekm.ErrorHttpSendRequest:
		return repeatable || e.Phase != ekm.PhaseWrite
	case ekm.ErrorHttpGetResponseCode, ekm.ErrorHttpReadData:
		return repeatable
	case ekm.ErrorHttpQueryHeader:
		return repeatable && cutShort(e)
	}
	return false
}

// cutShort reports that a connection ended, or that the time for it did, as opposed
// to what was read from it making no sense.
func cutShort(err error) bool {
	_, network := errors.AsType[net.Error](err) // reset, for one, or too late
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// noSuchName reports that a name does not exist, be it the host's or the proxy's.
func noSuchName(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

// refusedByTLS reports a refusal by TLS. An alert in a later phase is none, but the end
// of a connection that was good before.
func refusedByTLS(e *ekm.Error) bool {
	return (e.Phase == ekm.PhaseTLS || e.Phase == "") && tlserr.Refused(e)
}

// Temporary reports whether the request that failed with err may succeed unchanged
// a moment later, if trying it twice does no harm. Errors that hold no [*ekm.Error]
// are not temporary.
func Temporary(err error) bool {
	e, ok := errors.AsType[*ekm.Error](err)
	return ok && temporary(e, true)
}
