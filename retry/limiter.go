package retry

import (
	"math"
	"time"
)

// The figures of the law were chosen by the simulation in the tests;
// docs/throttling.md has what they reach.
const (
	searchRate = 20.0             // tries per second with which the search for a rate begins
	slowRate   = 20.0             // a rate below which each 429 shuts the gate
	lowest     = 0.1              // the lowest rate
	highest    = 100_000.0        // a rate above which there is no limit
	keep       = 0.98             // part of the measured rate to begin with
	term       = 10 * time.Second // in which the rate rises above the measured one: a documented window of the vault
	prior      = 10.0             // answers that the last rate counts for in a measurement
	enough     = 40               // tries that tell the share of answers
	fine       = 0.93             // share of answers that shows that the rate is not what is refused
	slack      = 20 * time.Millisecond
	forget     = 30 * time.Second // without a cut and without a queue, after which there is no limit: three of the vault's windows

	sustain = 0.97 // part of the sustained rate below which no cut goes,
	near    = 0.90 // unless the measured rate is as near to that,
	floor   = 0.05 // part of the peak below which no cut goes
)

// A limiter has the rate of tries and changes it. There is no rate until the gate opens
// for the first time after refusals.
type limiter struct {
	rate     float64   // tries per second; 0: not limited
	base     float64   // the measured rate that it rises from; 0: none yet, the search is on
	next     time.Time // time of the next try
	cutAt    time.Time // time of the last cut
	cuts     int       // since the search
	pressing float64   // seconds for which calls have queued since the last cut
	pressed  time.Time // the last try whose call had queued
	doubling float64   // seconds in which the search doubles the rate
	rival    rival
	block    block
}

// due returns the time until the next try.
func (l *limiter) due(now time.Time) time.Duration {
	if l.rate > 0 && now.Sub(l.cutAt) > forget && now.Sub(l.pressed) > forget {
		l.unlimit()
	}
	if l.rate == 0 {
		return 0
	}
	return l.next.Sub(now)
}

// begin records a try whose call has waited for its turn.
func (l *limiter) begin(now time.Time, waited time.Duration, m *meter) {
	if l.rate == 0 {
		return
	}
	if rate, ok := l.rival.over(now, m); ok {
		l.restore(now, rate, m)
	}
	if waited > 0 && now.Sub(l.next) <= slack { // the rate binds, and not InFlight, and so it may rise
		l.rise(now, min(now.Sub(l.pressed), waited).Seconds(), m)
		l.pressed = now
	}
	m.roll(now)
	if late := now.Add(-slack); l.next.Before(late) {
		l.next = late
	}
	l.next = l.next.Add(l.interval())
}

// tried records what became of a try that was not a probe.
func (l *limiter) tried(now time.Time, refused bool, m *meter) {
	if l.rate == 0 {
		return
	}
	if rate, ok := l.rival.tried(now, refused, l.rate, m); ok {
		l.restore(now, rate, m)
	}
}

// opened records that the gate opens. limited says that it was shut by refusals.
func (l *limiter) opened(now time.Time, limited bool, m *meter) {
	if limited {
		m.roll(now)
		l.lower(now, m)
	}
	l.pressed, l.next = now, now.Add(l.interval())
}

func (l *limiter) lower(now time.Time, m *meter) {
	p := &m.period
	switch {
	case l.rate > 0:
		l.cut(now, m)
	case p.tries() >= enough && p.share(now) >= fine:
		return // these few say nothing about a limit
	default:
		l.search(now, m)
	}
	l.cutAt = now
	m.restart(now)
}

// search begins after the first refusals. What went before was faster than the
// host can bear for long; so the rate begins low, and doubles until the next
// refusals. Where the host has been shut for longer than a bucket is, it counts in
// windows, and what it took on the whole is a better beginning. To double slowly
// from there leaves something for other clients, of which a fast one has few.
func (l *limiter) search(now time.Time, m *meter) {
	p := &m.period
	m.forget(now)
	if rate := m.sustained(now); rate > searchRate {
		l.rate, l.base, l.cuts, l.pressing = rate, rate, 1, 0
		return
	}
	l.rate, l.base, l.cuts = searchRate, 0, 0
	m.recent, m.counted = 0, now
	average := p.rate(now)
	if p.shut == 0 || p.shut >= time.Second/2 || average < searchRate {
		l.rate = max(average, 1)
	}
	l.doubling = max(0.15, min(0.6*math.Sqrt(min(1, 20/l.rate)), p.shut.Seconds()/4))
}

// cut lowers the rate to that of the answers since the last cut: at both moments the
// host had hardly anything to give, so in between it gave all it could, whatever kind
// of window or bucket it counts with. Early answers may have come as slowly as they
// were asked for, so the rate of the recent ones counts if that is higher.
//
// The cut stops at the rate that the host has sustained lately, as refusals of other
// causes would else lower the rate again and again. A measured rate that is near to it
// is the better figure. If most tries are refused, the rate falls, but only for a
// moment, see rival.
func (l *limiter) cut(now time.Time, m *meter) {
	p, steady := &m.period, m.sustained(now)
	measured := (float64(p.answered) + prior) / (now.Sub(p.since).Seconds() + prior/l.rate)
	least := sustain * steady
	switch {
	case l.rival.lowered(now, steady > 0 && p.answered < p.refused, m), measured >= near*steady:
		least = 0
	case p.served() >= fine:
		// While the gate was open the rate was right, so what shut it has another cause.
		// The sustained rate stays, or it would be measured at a lowered rate next time.
		least = steady
		m.steady.add(now, sustainedIn, steady)
	}
	if rate, ok := l.block.undo(now, l.rate, p); ok && steady == 0 {
		l.rate, l.base, l.pressing = rate, rate, 0
		return
	}
	least = max(lowest, least, floor*m.peak(now))
	if least >= l.rate {
		return
	}
	l.base = min(l.rate, max(least, measured, m.flowing(now, l.span())/l.span()))
	l.rate = max(least, keep*l.base)
	l.cuts++
	l.pressing = 0
}

// restore raises the rate to an earlier one.
func (l *limiter) restore(now time.Time, rate float64, m *meter) {
	if rate > l.rate {
		l.rate, l.base, l.pressing, l.cutAt = rate, rate, 0, now
		m.restart(now)
	}
}

// rise raises the rate for a time in which it has kept calls in the queue: from below
// the measured one to above it over one term, then doubling ever faster, once
// enough answers have shown that it is safe; if not, by the same step again.
//
// A slow client takes a larger step than a fast one. So where clients share a
// host, they come to share it evenly. First terms are short, to learn quickly.
func (l *limiter) rise(now time.Time, seconds float64, m *meter) {
	if l.rival.held(now) {
		return
	}
	if l.base == 0 {
		l.rate = min(highest, l.rate*math.Exp2(seconds/l.doubling))
		return
	}
	length := max(min(term.Seconds(), 2000/l.base), 10/l.base) * min(1, 0.15*math.Exp2(float64(l.cuts-1)))
	step := min(0.8, max(0.05, 0.05*math.Sqrt(20/l.base)))
	before := max(1, l.pressing/length)
	l.pressing += seconds
	switch u := l.pressing / length; {
	case u < 1:
		l.rate = l.base * (keep + (1-keep+step)*u)
	case m.period.answered < enough || m.period.share(now) < fine:
		l.base *= 1 + step
		l.rate, l.pressing = l.base, 0
	default:
		l.rate *= math.Exp2(u*u - before*before)
	}
	if l.rate > highest {
		l.unlimit()
	}
}

func (l *limiter) unlimit() { l.rate, l.base, l.rival.doubt, l.rival.fallen = 0, 0, 0, false }

// span returns how many seconds ago is recent.
func (l *limiter) span() float64 {
	if l.base == 0 {
		return 0.25
	}
	return max(0.25, 10/l.base)
}

// interval returns the time between two tries, or 0 if nothing is limited.
func (l *limiter) interval() time.Duration {
	if l.rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / l.rate)
}

func (l *limiter) slow() bool { return l.rate > 0 && l.rate < slowRate }
