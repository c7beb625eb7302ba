package retry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/akv-ekm/ekm"
)

// A Call is the tries of one operation. An operation that sends several requests,
// such as one whose token is rejected and renewed, uses one Call for all of them:
// it then waits in the gate's queue once, and its tries share one Policy.
//
// A Call must not be used by two goroutines at once.
type Call struct {
	Gate   *Gate // nil: none
	Policy Policy
	// Repeatable says that trying twice does no harm, see [Policy.Do].
	Repeatable bool

	pass    pass
	tries   int
	failed  int           // tries that Attempts bounds
	refused int           // tries answered with 429 or 503
	took    time.Duration // the last try
	spent   time.Duration // of the budget
	err     error         // of the last try, and the same as ours
	last    *ekm.Error
}

// Do is [Call.Do] of a call that sends one request.
func (g *Gate) Do(ctx context.Context, p Policy, repeatable bool, try func(context.Context) error) error {
	return (&Call{Gate: g, Policy: p, Repeatable: repeatable}).Do(ctx, try)
}

// Tries returns how many tries the call has made so far.
func (c *Call) Tries() int { return c.tries }

// Do is [Policy.Do] with each try let through the gate; a nil gate lets all
// through. A call that has been let in before goes first of those that wait.
// A call that the host refuses with 429, or with 503 while the gate is
// shut, waits for the gate, not for a back-off of its own; its place in the queue
// is kept the first time, and then falls behind ever more others, up to 64. Only one
// that is refused while others are served, for the fourth time or more, rests for a
// while: eight times Base or less. If what a Retry-After asks for outlasts the
// deadline, Do returns at once.
//
// A wait for one's turn costs nothing of p's Budget, nor does a failure while the
// gate is shut count as one of p's Attempts. But a call ends, with the last
// failure, once tries have failed and the host has answered nobody for as long as
// that Budget; a try under way then goes on to its own end, so it should have one.
//
// The error, always of type [*ekm.Error] unless try's own is not, is try's last
// one; or, before any try was made, 1 (SCPErrFailure) with ctx's error where ctx
// ended in the queue. It is 4000 (ErrorCreateKeyVaultRetryManagerOutOfMemory),
// with try's last error as its cause if there is one, where the call would have
// to wait and Waiting others do already.
//
// An error of try's that is not an [*ekm.Error] ends Do at once and does not count
// as a try: nothing was sent. The call keeps its place for the next Do.
func (c *Call) Do(ctx context.Context, try func(context.Context) error) error {
	c.Policy = c.Policy.withDefaults()
	c.err, c.last = nil, nil
	for {
		if err := c.turn(ctx); err != nil {
			return err
		}
		held, over, err := c.once(ctx, try)
		if err == nil {
			return nil
		}
		e, ours := errors.AsType[*ekm.Error](err)
		if !ours {
			c.tries--
			return err
		}
		e.Attempts = c.tries
		if over || ctx.Err() != nil || !temporary(e, c.Repeatable) || !c.mayTry(e, held) {
			return err
		}
		c.err, c.last = err, e
		if err := c.backOff(ctx, held); err != nil {
			return err
		}
	}
}

// once makes one try and tells the gate what came of it, see Gate.leave.
func (c *Call) once(ctx context.Context, try func(context.Context) error) (held, over bool, err error) {
	c.tries++
	var seen outcome
	start := time.Now()
	if c.pass.came.IsZero() {
		c.pass.came = start
	}
	defer func() { // also if try panics
		end := time.Now()
		c.took = end.Sub(start)
		held, over = c.Gate.leave(end, &c.pass, seen, &c.Policy)
	}()
	if c.Policy.Try > 0 {
		bounded, cancel := context.WithTimeout(ctx, c.Policy.Try)
		defer cancel()
		err = try(bounded)
	} else {
		err = try(ctx)
	}
	seen = outcomeOf(ctx, err)
	return held, over, err
}

// mayTry counts a failure by what it is: of the call, or of a host that is shut
// to all.
func (c *Call) mayTry(e *ekm.Error, held bool) bool {
	switch {
	case notNow(e):
		c.refused++
		return c.Policy.Attempts > 1 && (held || c.spent < c.Policy.Budget)
	case held:
		return c.Policy.Attempts > 1
	}
	c.failed++
	return c.failed < c.Policy.Attempts
}

// backOff waits before the next try, unless the gate will see to that.
func (c *Call) backOff(ctx context.Context, held bool) error {
	wait := min(c.last.RetryAfter, c.Policy.Cap)
	throttled := c.Gate != nil && c.last.Status == http.StatusTooManyRequests
	if !held {
		n := c.failed + c.refused
		if throttled { // while others are served: it is heavier than they, perhaps, and needs many tries
			n = min(n, 4)
		}
		if wait = c.Policy.wait(n, wait); throttled && c.last.RetryAfter == 0 {
			wait = min(wait, max(0, c.Gate.left(&c.pass, c.Policy.Budget)))
		}
	}
	if deadline, ok := ctx.Deadline(); ok && wait > 0 {
		switch cut := c.fit(wait, time.Until(deadline)); {
		case cut > 0:
			wait = cut
		case !throttled || c.last.RetryAfter > 0: // else it waits to the end, as one in the queue does
			return c.err
		}
	}
	if held {
		return nil
	}
	if !throttled {
		if c.spent += wait; c.spent > c.Policy.Budget {
			return c.err
		}
	}
	if err := c.Gate.join(); err != nil {
		return c.overrun(err)
	}
	defer c.Gate.part()
	if cause := sleep(ctx, wait); cause != nil {
		return c.left(cause)
	}
	return nil
}

// fit is a wait cut to the time left to a deadline, 0 if that cannot be: what the
// host asks for is not cut, and there must be time for a try after the wait.
func (c *Call) fit(wait, left time.Duration) time.Duration {
	if notNow(c.last) && c.last.RetryAfter == 0 {
		if cut := left - max(2*c.took, left/4); cut < wait {
			wait = cut
			if wait < c.Policy.Base/2 {
				return 0 // no back-off is so short
			}
		}
		return wait
	}
	if wait > left {
		return 0
	}
	return wait
}

// turn waits until the gate lets the call in.
func (c *Call) turn(ctx context.Context) error {
	if c.Gate == nil {
		return nil
	}
	w, err := c.Gate.enter(&c.pass, c.Policy.Budget)
	if err != nil {
		return c.overrun(err)
	}
	if w == nil {
		return nil
	}
	select {
	case <-w.ready:
	case <-ctx.Done():
		c.Gate.withdraw(w)
		return c.left(ctx.Err())
	}
	if c.pass = w.pass; w.refusal != nil {
		return c.givenUp(w.refusal)
	}
	return nil
}

// left is the end of a call whose context ended while it waited.
func (c *Call) left(cause error) error {
	if c.last != nil {
		c.last.Err = errors.Join(c.last.Err, cause)
		return c.err
	}
	return &ekm.Error{
		Code: ekm.SCPErrFailure, Party: ekm.Local, Phase: ekm.PhasePrepare, Time: time.Now(),
		Err: fmt.Errorf("waiting behind other calls to the same host: %w", cause),
	}
}

// overrun is the end of a call that may not join those who wait.
func (c *Call) overrun(e *ekm.Error) error {
	e.Attempts, e.Time = c.tries, time.Now()
	if c.err != nil {
		e.Err = fmt.Errorf("%w: %w", e.Err, c.err)
	}
	return e
}

// givenUp is the end of a call for which the host has been shut too long. It had
// no answer of its own if it was not tried, so it tells of another's.
func (c *Call) givenUp(refusal *ekm.Error) error {
	if c.err != nil {
		return c.err
	}
	return &ekm.Error{
		Code: refusal.Code, Party: refusal.Party, Phase: refusal.Phase, Host: refusal.Host, Status: refusal.Status,
		ServiceCode: refusal.ServiceCode, InnerCode: refusal.InnerCode, AADSTS: refusal.AADSTS, Message: refusal.Message,
		Region: refusal.Region, RetryAfter: refusal.RetryAfter, Time: time.Now(),
		Err: fmt.Errorf("not tried: for %v the host has answered nobody", c.Policy.Budget),
	}
}
