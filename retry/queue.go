package retry

import (
	"cmp"
	"container/heap"
	"math"
	"time"

	"github.com/akv-ekm/ekm"
)

// A waiter is a call in the queue of its gate.
type waiter struct {
	pass
	index   int // in the queue; -1: no longer there
	since   time.Time
	budget  time.Duration
	ready   chan struct{} // closed once it was let in or refused
	refusal *ekm.Error    // why it was refused
}

const (
	behind = 1000 // later calls that go before one whose try failed
	often  = 3    // 429s to one call, after which the next one tells more of it than of the host
)

// setBack takes note of a 429. The first costs a call nothing: it would have been
// served. If it is refused again and again, ever more of those that wait go first,
// so that one which the host will not have does not keep out those that it would.
// But they are not more than 64, nor any that comes later: a call that weighs more
// than others needs many tries, and must not starve.
func (g *Gate) setBack(p *pass) {
	if p.denied++; p.denied == 1 {
		return
	}
	var first []*waiter
	for range min(1<<min(p.denied-2, 6), len(g.queue)) {
		first = append(first, g.queue.next())
	}
	for _, w := range first {
		p.place = max(p.place, w.place+1)
		g.queue.add(w)
	}
	g.last = max(g.last, p.place)
}

// pump lets in whose turn has come and sees to it that it is called again when
// the next one's turn comes by time alone; g.mu is held.
func (g *Gate) pump(now time.Time) {
	if g.pace.doubtful() && !now.Before(g.ends) {
		g.giveUp(now)
	}
	for len(g.queue) > 0 && g.inFlight < g.window() {
		if wait := g.pace.due(now); wait > 0 {
			if g.pace.doubtful() {
				wait = min(wait, g.ends.Sub(now))
			}
			g.wake(wait)
			return
		}
		w := g.queue.next()
		g.begin(&w.pass)
		g.pace.begin(now, now.Sub(w.since))
		close(w.ready)
	}
	switch {
	case g.pace.doubtful() && len(g.queue) > 0: // so many tries hang that there is no room for another
		g.wake(g.ends.Sub(now))
	case g.timer != nil:
		g.timer.Stop()
	}
}

// wake calls pump after a time. There is a timer only while calls wait.
func (g *Gate) wake(wait time.Duration) {
	if g.timer != nil {
		g.timer.Reset(wait)
		return
	}
	g.timer = time.AfterFunc(wait, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.pump(time.Now())
	})
}

// withdraw takes a call off the queue, or gives back the turn that it got at the
// same moment.
func (g *Gate) withdraw(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	switch {
	case w.index >= 0:
		heap.Remove(&g.queue, w.index)
	case w.refusal == nil:
		g.inFlight-- // Stats count it as a try that told nothing
		g.pace.silent(w.pass)
	}
	g.pump(now)
}

// end is when a call will have seen the host answer nobody for as long as it
// cares to wait.
func (g *Gate) end(p *pass, budget time.Duration) time.Time {
	if p.came.Before(g.heard) {
		return g.heard.Add(budget)
	}
	return p.came.Add(budget)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// giveUp refuses those whose end has come, and finds the first of the others';
// g.mu is held.
func (g *Gate) giveUp(now time.Time) {
	kept := g.queue[:0]
	g.ends = now.Add(math.MaxInt64)
	for _, w := range g.queue {
		if end := g.end(&w.pass, w.budget); now.Before(end) {
			g.ends = earlier(g.ends, end)
			kept = append(kept, w)
			continue
		}
		w.index, w.refusal = -1, g.refusal
		close(w.ready)
	}
	// Where each has its own end, the queue is not gone through for each.
	if soonest := now.Add(100 * time.Millisecond); g.ends.Before(soonest) {
		g.ends = soonest
	}
	if len(kept) == len(g.queue) {
		return
	}
	clear(g.queue[len(kept):])
	g.queue = kept
	for i, w := range kept {
		w.index = i
	}
	heap.Init(&g.queue)
}

// A queue is a heap of waiters: who leaves early costs O(log n) like who is next.
type queue []*waiter

func (q *queue) add(w *waiter) { heap.Push(q, w) }
func (q *queue) next() *waiter { return heap.Pop(q).(*waiter) }
func (q queue) Len() int       { return len(q) }
func (q *queue) Push(x any)    { w := x.(*waiter); w.index = len(*q); *q = append(*q, w) }
func (q queue) Swap(i, j int)  { q[i], q[j] = q[j], q[i]; q[i].index, q[j].index = i, j }

func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	return cmp.Or(cmp.Compare(a.place, b.place), a.since.Compare(b.since)) < 0
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	w.index = -1
	return w
}
