package retry

import (
	"container/heap"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/akv-ekm/ekm"
)

// A Gate limits the tries of all callers of one host to what the host takes. Share one
// among them.
//
// While the host refuses nothing, a gate limits only how many tries are under way at
// once. A 429 by chance costs its call another try, and nobody else anything. When
// refusals come close together, the gate paces tries at a rate that it measures, in the
// order in which the calls came. It forgets the rate when no call has queued for it for
// half a minute. While the host refuses everything or cannot be reached, one try at a
// time asks whether it is back.
//
// The zero Gate is ready. It must not be copied, and its fields must not be changed,
// after the first use. Its methods may be called by many goroutines at once. It keeps no
// goroutine, and a timer only while calls wait.
type Gate struct {
	// InFlight is the number of tries that may be under way at once while the host's
	// limit is not known; 80 if it is zero or less. All of them are wasted when they
	// find the limit. A burst of n calls takes n/InFlight round trips. The number
	// grows, up to fourfold, to a 16th of the answers of about a second.
	InFlight int
	// Waiting is the number of calls that may wait at once, for their turn or after a
	// failure; 65,536 if it is zero or less.
	Waiting int

	mu       sync.Mutex
	queue    queue
	pace     pace
	last     uint64 // place given
	inFlight int
	resting  int         // calls in a back-off of their own
	timer    *time.Timer // runs while calls wait for the time to come; nil before the first
	refusal  *ekm.Error  // the last one, or failure
	heard    time.Time   // the last answer
	ends     time.Time   // about the first end of a waiter's budget, or before, if the host answers nobody
	stats    Stats
}

// Stats tell what a gate does at one moment, and what it has done so far.
type Stats struct {
	InFlight  int     // tries under way
	Waiting   int     // calls that wait for their turn or in a back-off
	Rate      float64 // tries per second that the host is believed to take; 0: not limited
	Shut      bool    // the host refuses everything or cannot be reached
	Tries     uint64  // so far
	Retries   uint64  // those that were not their call's first
	Throttled uint64  // those answered with 429
}

// Stats takes a snapshot. It is cheap.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.InFlight, s.Waiting, s.Rate, s.Shut = g.inFlight, len(g.queue)+g.resting, g.pace.limiter.rate, g.pace.breaker.shut
	return s
}

// A pass is what a call holds while the gate has let it in.
type pass struct {
	place  uint64    // in the queue, from 1: the lowest goes first; 0: none yet, or lost
	came   time.Time // when its first try began or it first had to wait
	tried  bool      // before, or by now
	epoch  uint32    // of the pace, when the try began
	probe  bool      // the one try that asks whether a shut host is back
	denied int       // 429s
}

// An outcome is what a try says about its host.
type outcome struct {
	kind kind
	err  *ekm.Error // if failed or throttled
}

type kind int

const (
	silent    kind = iota // nothing: the failure was local, or the caller's context ended
	answered              // it does its work; whatever it said of the request
	failed                // no answer, or that it does no work now
	throttled             // it does its work, at its own pace
	troubled              // 5xx otherwise: perhaps of this request alone
	unreached             // a proxy refused the tunnel: perhaps to this request alone
)

func outcomeOf(ctx context.Context, err error) outcome {
	e, ours := errors.AsType[*ekm.Error](err)
	switch {
	case err == nil:
		return outcome{kind: answered}
	case !ours, ctx.Err() != nil && e.Status == 0:
		return outcome{}
	case tunnelRefused(e):
		return outcome{kind: unreached}
	case e.Status == http.StatusTooManyRequests:
		return outcome{throttled, e}
	case e.Status == http.StatusServiceUnavailable, e.Status == 0 && temporary(e, true):
		return outcome{failed, e}
	case temporary(e, true):
		return outcome{kind: troubled}
	case e.Status != 0:
		return outcome{kind: answered}
	}
	return outcome{}
}

// enter lets a call in at once, filling in its pass, or puts it into the queue
// and returns it as one that waits.
func (g *Gate) enter(p *pass, budget time.Duration) (*waiter, *ekm.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.place == 0 {
		g.last++
		if p.place = g.last; p.tried {
			p.place += behind // those who have not been tried go first, lest the host be judged by one request
		}
	}
	if len(g.queue) == 0 && g.inFlight < g.window() && !g.pace.doubtful() {
		if g.pace.unlimited() { // without a look at the clock, most of the time
			if g.inFlight == 0 {
				g.pace.idle(time.Now())
			}
			g.begin(p)
			return nil, nil
		}
		if now := time.Now(); g.pace.due(now) <= 0 {
			g.begin(p)
			g.pace.begin(now, 0)
			return nil, nil
		}
	}
	now := time.Now()
	if p.came.IsZero() {
		p.came = now
	}
	w := &waiter{pass: *p, since: now, budget: budget, ready: make(chan struct{})}
	full := g.full()
	g.queue.add(w)
	g.ends = earlier(g.ends, g.end(p, budget))
	g.pump(now)
	if full != nil && w.index >= 0 {
		heap.Remove(&g.queue, w.index)
		return nil, full
	}
	return w, nil
}

func (g *Gate) begin(p *pass) {
	g.inFlight++
	g.stats.Tries++
	if p.tried {
		g.stats.Retries++
	}
	p.tried = true
	p.epoch, p.probe = g.pace.breaker.epoch, g.pace.breaker.shut
}

// leave records what came of a try that ended at a time. held says that the call, if
// it failed, waits for its turn and needs no back-off of its own: the gate knows when
// another try has a chance. That is so while it is shut, and after a 429 without a
// Retry-After, if that says more about the host than about the call. A call whose try
// failed otherwise loses its place.
//
// over says that a call that is not held has seen the host answer nobody for as long as
// its budget. One that is held learns so in the queue.
func (g *Gate) leave(ended time.Time, p *pass, o outcome, policy *Policy) (held, over bool) {
	if g == nil {
		return false, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	if o.kind == answered || o.kind == troubled && !p.probe {
		g.heard = ended
	}
	if o.kind == answered && g.pace.unlimited() && len(g.queue) == 0 {
		g.pace.plain()
		return false, false
	}
	now := time.Now()
	stubborn := o.kind == throttled && p.denied >= often && !p.probe
	g.learn(now, p, o, stubborn)
	if o.kind != answered && o.kind != throttled && o.kind != silent {
		p.place = 0
	}
	if o.err != nil && g.pace.doubtful() {
		g.pace.breaker.asked(now, min(o.err.RetryAfter, policy.Cap))
		copied := *o.err
		g.refusal = &copied
	}
	g.pump(now)
	held = o.err != nil && !stubborn && (g.pace.breaker.shut || o.kind == throttled && o.err.RetryAfter == 0)
	return held, o.err != nil && !held && !now.Before(g.end(p, policy.Budget))
}

// learn tells the pace what came of a try; g.mu is held.
func (g *Gate) learn(now time.Time, p *pass, o outcome, stubborn bool) {
	switch o.kind {
	case silent:
		g.pace.silent(*p)
	case answered:
		g.pace.answer(now, *p)
	case failed:
		g.pace.fail(now, *p)
	case throttled:
		g.stats.Throttled++
		if !stubborn {
			g.pace.throttle(now, *p, o.err.RetryAfter > 0)
			g.setBack(p)
		}
	case troubled:
		g.pace.trouble(now, *p)
	case unreached:
		g.pace.miss(now, *p)
	}
}

// left returns the time until a call will have seen the host answer nobody for as long
// as its budget.
func (g *Gate) left(p *pass, budget time.Duration) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Until(g.end(p, budget))
}

// full is the budget of calls that wait.
func (g *Gate) full() *ekm.Error {
	limit := g.Waiting
	if limit <= 0 {
		limit = 1 << 16
	}
	if len(g.queue)+g.resting < limit {
		return nil
	}
	return &ekm.Error{
		Code: ekm.ErrorCreateKeyVaultRetryManagerOutOfMemory, Party: ekm.Local, Phase: ekm.PhasePrepare, Err: errWaiting,
	}
}

// window is how many tries may be under way.
func (g *Gate) window() int {
	n := g.InFlight
	if n <= 0 {
		n = 80
	}
	return max(n, min(g.pace.brisk.answers/16, 4*n))
}

var errWaiting = errors.New("too many calls are already waiting for this host")

// join counts a call that waits in a back-off of its own, until it parts.
func (g *Gate) join() *ekm.Error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.full(); err != nil {
		return err
	}
	g.resting++
	return nil
}

func (g *Gate) part() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resting--
}
