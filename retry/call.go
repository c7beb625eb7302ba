package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/akv-ekm/ekm"
)

// A call is one Do under way.
type call struct {
	Policy
	gate    *Gate // nil: none
	pass    pass
	tries   int
	failed  int           // tries that Attempts bounds
	refused int           // tries answered with 429 or 503
	spent   time.Duration // of the budget
	err     error         // of the last try, and the same as ours
	last    *ekm.Error
}

// Do is [Policy.Do] with each try let through the gate; a nil gate lets all
// through. A call that the host refuses with 429, or with 503 while the gate is
// shut, keeps its place in the queue: it waits for the gate, not for a back-off
// of its own, and not for longer because it has a deadline that might be too
// early. If what a Retry-After asks for outlasts the deadline, it returns at once.
//
// A wait for one's turn does not count against p's Budget beyond what the
// back-off would have been. But a call ends, with the last refusal, once the host
// has refused everybody's tries for as long as that Budget.
//
// The error, always of type [*ekm.Error] unless try's own is not, is try's last
// one; or, before any try was made, 1 (SCPErrFailure) with ctx's error where ctx
// ended in the queue. It is 4000 (ErrorCreateKeyVaultRetryManagerOutOfMemory),
// with try's last error as its cause if there is one, where the call would have
// to wait and Waiting others do already.
func (g *Gate) Do(ctx context.Context, p Policy, repeatable bool, try func(context.Context) error) error {
	c := call{Policy: p.withDefaults(), gate: g}
	for {
		if err := c.turn(ctx); err != nil {
			return err
		}
		held, err := c.once(ctx, try)
		if err == nil {
			return nil
		}
		e, ours := errors.AsType[*ekm.Error](err)
		if !ours {
			return err
		}
		e.Attempts = c.tries
		if ctx.Err() != nil || !temporary(e, repeatable) || !c.mayTry(e) {
			return err
		}
		c.err, c.last = err, e
		if err := c.backOff(ctx, held); err != nil {
			return err
		}
	}
}

// once makes one try and tells the gate what came of it. held says that the gate
// will keep the call back until the host is likely to take it.
func (c *call) once(ctx context.Context, try func(context.Context) error) (held bool, err error) {
	c.tries++
	var seen outcome
	defer func() { held = c.gate.leave(c.pass, seen, c.Cap) }() // also if try panics
	if c.Try > 0 {
		bounded, cancel := context.WithTimeout(ctx, c.Try)
		defer cancel()
		err = try(bounded)
	} else {
		err = try(ctx)
	}
	seen = outcomeOf(ctx, err)
	return held, err
}

func (c *call) mayTry(e *ekm.Error) bool {
	if notNow(e.Status) {
		c.refused++
		return c.Attempts > 1 && c.spent < c.Budget
	}
	c.failed++
	return c.failed < c.Attempts
}

// backOff waits before the next try, unless the gate will see to that.
func (c *call) backOff(ctx context.Context, held bool) error {
	wait := c.wait(c.failed+c.refused, c.last.RetryAfter)
	if held {
		wait = min(c.last.RetryAfter, c.Cap)
	} else if c.spent += wait; c.spent > c.Budget {
		return c.err
	}
	if deadline, ok := ctx.Deadline(); ok && wait > 0 && time.Until(deadline) < wait {
		return c.err
	}
	if held {
		return nil
	}
	if err := c.gate.join(); err != nil {
		return c.overrun(err)
	}
	defer c.gate.part()
	if cause := sleep(ctx, wait); cause != nil {
		return c.left(cause)
	}
	return nil
}

// turn waits until the gate lets the call in.
func (c *call) turn(ctx context.Context) error {
	if c.gate == nil {
		return nil
	}
	w, err := c.gate.enter(&c.pass, c.refused, c.Budget)
	if err != nil {
		return c.overrun(err)
	}
	if w == nil {
		return nil
	}
	start := time.Now()
	select {
	case <-w.ready:
	case <-ctx.Done():
		c.gate.withdraw(w)
		return c.left(ctx.Err())
	}
	if c.pass = w.pass; w.refusal != nil {
		return c.givenUp(w.refusal)
	}
	if c.refused > 0 {
		c.spent += min(time.Since(start), c.wait(c.failed+c.refused, 0))
	}
	return nil
}

// left is the end of a call whose context ended while it waited.
func (c *call) left(cause error) error {
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
func (c *call) overrun(e *ekm.Error) error {
	e.Attempts, e.Time = c.tries, time.Now()
	if c.err != nil {
		e.Err = fmt.Errorf("%w: %w", e.Err, c.err)
	}
	return e
}

// givenUp is the end of a call for which the host has been shut too long. It had
// no answer of its own if it was not tried, so it tells of another's.
func (c *call) givenUp(refusal *ekm.Error) error {
	if c.err != nil {
		return c.err
	}
	return &ekm.Error{
		Code: refusal.Code, Party: refusal.Party, Phase: refusal.Phase, Host: refusal.Host, Status: refusal.Status,
		ServiceCode: refusal.ServiceCode, InnerCode: refusal.InnerCode, AADSTS: refusal.AADSTS, Message: refusal.Message,
		Region: refusal.Region, RetryAfter: refusal.RetryAfter, Time: time.Now(),
		Err: fmt.Errorf("not tried: for %v the host has refused all other calls", c.Budget),
	}
}
