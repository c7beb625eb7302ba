package retry

import (
	"math"
	"math/rand/v2"
	"time"
)

// What the pace is made of. The figures were chosen by the simulation in the
// tests; docs/throttling.md has what they reach.
const (
	firstPause = 50 * time.Millisecond  // before the first probe, where no rate is known
	longPause  = 500 * time.Millisecond // the longest between probes, of a host shut for a short time
	lastPause  = 5 * time.Second        // and for a long one
	patience   = 2 * time.Second        // with a probe, before another one is sent

	breakdown = 4                      // failures in a row that shut the gate,
	quiet     = 100 * time.Millisecond // if nothing is heard for so long meanwhile
	collapse  = 32                     // or if there are so many

	searchRate = 20.0             // per second: where the search for a rate begins
	lowest     = 0.1              // the lowest rate that is believed
	highest    = 100_000.0        // a rate above which is none
	keep       = 0.98             // of the measured rate, to begin with
	term       = 10 * time.Second // a documented window of the vault: to rise above the measured rate
	prior      = 10.0             // answers that the last rate counts for in a measurement
	enough     = 40               // answers without refusal that show the rate to be too low
	slack      = 20 * time.Millisecond
	forget     = 30 * time.Second // without refusal and queue: three of the vault's windows
)

// A pace says when the next try may begin. It knows nothing of calls, only of
// the times and outcomes of tries.
//
// There is no rate until the first 429. Each one then shuts the gate: one probe
// at a time asks whether the host takes calls again, after ever longer pauses.
// At the first success the gate opens with the rate measured between this moment
// and the last such: at both the host had hardly anything to give, so in between
// it gave all it could, whatever kind of window or bucket it counts with. From
// there the rate rises, first slowly and then, if nothing happens, ever faster.
type pace struct {
	epoch    uint32    // since when a try must have begun for its outcome to teach anything
	answered int       // tries since the last measurement, or since the host was idle
	since    time.Time // that
	failures int       // in a row
	failing  time.Time // since
	brisk    int       // answers in about a second, while nothing is limited
	counting time.Time // brisk

	shut    bool
	shutAt  time.Time
	refused bool          // shut by a 429
	until   time.Time     // the next probe
	pause   time.Duration // before it
	probing bool
	probed  time.Time // the last probe

	rate     float64   // tries per second; 0: not limited
	base     float64   // the measured rate that it rises from; 0: none yet, the search is on
	next     time.Time // try
	pressing float64   // seconds for which calls have been kept waiting since the last measurement
	pressed  time.Time // the last try that was
	lessons  int       // measurements so far
	doubling float64   // seconds in which the search doubles the rate
	recent   float64   // answers, counting the less the longer ago
	counted  time.Time // recent
}

// doubtful reports that the last news of the host was a failure, or is that it is shut.
func (p *pace) doubtful() bool { return p.shut || p.failures > 0 }

func (p *pace) unlimited() bool { return p.rate == 0 && !p.shut }

// due is the time until the next try may begin.
func (p *pace) due(now time.Time) time.Duration {
	switch {
	case p.shut && p.probing:
		return p.probed.Add(patience).Sub(now)
	case p.shut:
		return p.until.Sub(now)
	case p.rate > 0 && p.base > 0 && now.Sub(p.since) > forget && now.Sub(p.pressed) > forget:
		p.unlimit()
	}
	if p.rate == 0 {
		return 0
	}
	return p.next.Sub(now)
}

// begin takes note of a try; waited is how long its call was kept waiting.
func (p *pace) begin(now time.Time, waited time.Duration) {
	switch {
	case p.shut:
		p.probing, p.probed = true, now
	case p.rate > 0:
		if waited > 0 { // the rate binds, and so may rise
			p.rise(min(now.Sub(p.pressed), waited).Seconds())
			p.pressed = now
		}
		if late := now.Add(-slack); p.next.Before(late) {
			p.next = late
		}
		p.next = p.next.Add(p.interval())
	}
}

// idle takes note of a first try where none is under way and nothing limited.
func (p *pace) idle(now time.Time) {
	p.answered, p.since = 0, now
	p.brisk, p.counting = 0, now
}

// plain is answer, where nothing is limited.
func (p *pace) plain() {
	p.answered++
	p.failures = 0
	if p.brisk++; p.brisk%64 == 0 { // without a look at the clock, most of the time
		now := time.Now()
		if gone := now.Sub(p.counting); gone > time.Second {
			p.brisk, p.counting = int(float64(p.brisk)/gone.Seconds()), now.Add(-time.Second)
		}
	}
}

func (p *pace) answer(now time.Time, by pass) {
	if by.epoch != p.epoch {
		return
	}
	if p.shut {
		p.open(now)
	}
	p.plain()
	p.flowing(now)
}

// trouble is an answer that may be the request's fault. It is no sign that a shut
// host is back.
func (p *pace) trouble(now time.Time, by pass) {
	if by.epoch == p.epoch && !by.probe {
		p.answered++
		p.flowing(now)
	}
	p.miss(now, by)
}

// miss is a try that says nothing of the host, of a call that is not to be the
// next probe at once.
func (p *pace) miss(now time.Time, by pass) {
	if by.probe && by.epoch == p.epoch {
		p.lengthen(now)
	}
}

func (p *pace) silent(by pass) {
	if by.probe && by.epoch == p.epoch {
		p.probing = false
	}
}

func (p *pace) fail(now time.Time, by pass) {
	if by.epoch != p.epoch {
		return
	}
	if p.failures++; p.failures == 1 {
		p.failing = now
	}
	switch {
	case by.probe:
		p.lengthen(now)
	case p.failures >= collapse, p.failures >= breakdown && now.Sub(p.failing) >= quiet:
		p.close(now, firstPause)
	}
}

func (p *pace) throttle(now time.Time, by pass) {
	p.failures = 0
	switch {
	case by.epoch != p.epoch: // it was under way at a refusal already known
	case by.probe:
		p.refused = true
		p.lengthen(now)
	case p.rate == 0:
		p.refused = true
		p.close(now, firstPause)
	default:
		p.refused = true
		p.close(now, max(firstPause/2, p.interval()))
	}
}

func (p *pace) close(now time.Time, pause time.Duration) {
	p.epoch++
	p.shut, p.probing, p.shutAt = true, false, now
	p.pause, p.until = pause, now.Add(jitter(pause))
}

// lengthen puts off the next probe: by ever more, but not by more than a small
// part of the time that the host has been shut, or a few tries at its rate.
func (p *pace) lengthen(now time.Time) {
	if !p.shut {
		return // a probe that another one overtook
	}
	p.probing = false
	p.pause = p.pause * 4 / 3
	longest := min(lastPause, max(longPause, now.Sub(p.shutAt)/20))
	if p.rate > 0 {
		p.pause += p.interval()
		longest = max(longest, min(term, 4*p.interval()))
	}
	p.pause = min(p.pause, longest)
	p.until = now.Add(jitter(p.pause))
}

// asked puts the next probe off to when the host wants it.
func (p *pace) asked(now time.Time, after time.Duration) {
	if t := now.Add(after); t.After(p.until) {
		p.until = t
	}
}

func (p *pace) open(now time.Time) {
	p.shut, p.probing = false, false
	switch {
	case !p.refused || p.failures >= breakdown: // a time that tells nothing of the rate
		p.since = p.since.Add(now.Sub(p.shutAt))
	case p.rate > 0:
		p.measure(now)
	default:
		p.search(now)
	}
	p.refused = false
	p.pressed, p.next = now, now
	if p.rate > 0 {
		p.next = now.Add(p.interval())
	}
}

// search begins after the first refusal. What went before was faster than the
// host can bear for long; so the rate begins low, and doubles until the next
// refusal. Where the host has been shut for longer than a bucket is, it counts in
// windows, and what it took on the whole is a better beginning. To double slowly
// from there leaves something for other clients, of which a fast one has few.
func (p *pace) search(now time.Time) {
	p.rate, p.base, p.lessons = searchRate, 0, 0
	p.recent, p.counted = 0, now
	shut := now.Sub(p.shutAt)
	average := float64(p.answered) / now.Sub(p.since).Seconds()
	if shut >= time.Second/2 || average < searchRate {
		p.rate = max(average, 1)
	}
	p.doubling = max(0.15, min(0.6*math.Sqrt(min(1, 20/p.rate)), shut.Seconds()/4))
	p.answered, p.since = 0, now
}

// measure sets the rate to that of the answers since the last measurement, or of
// the recent ones if those were faster: early ones may have come as slowly as
// they were sent.
func (p *pace) measure(now time.Time) {
	measured := (float64(p.answered) + prior) / (now.Sub(p.since).Seconds() + prior/p.rate)
	p.base = max(lowest, min(p.rate, max(measured, p.flow(now)/p.span())))
	p.rate = keep * p.base
	p.lessons++
	p.answered, p.since, p.pressing = 0, now, 0
}

// flow is recent at a time.
func (p *pace) flow(now time.Time) float64 {
	return p.recent * math.Exp(-now.Sub(p.counted).Seconds()/p.span())
}

func (p *pace) flowing(now time.Time) {
	if p.rate > 0 {
		p.recent = p.flow(now) + 1
		p.counted = now
	}
}

// span is how many seconds ago is recent.
func (p *pace) span() float64 {
	if p.base == 0 {
		return 0.25
	}
	return max(0.25, 10/p.base)
}

// rise raises the rate for a time in which it has kept calls waiting: from below
// the measured one to above it over one term, then doubling ever faster, once
// enough answers have shown that it is safe; if not, by the same step again.
//
// A slow client takes a larger step than a fast one. So where clients share a
// host, they come to share it evenly. First terms are short, to learn quickly.
func (p *pace) rise(seconds float64) {
	if p.base == 0 {
		p.rate = min(highest, p.rate*math.Exp2(seconds/p.doubling))
		return
	}
	length := max(term.Seconds(), 10/p.base) * min(1, 0.15*math.Exp2(float64(p.lessons-1)))
	step := min(0.8, max(0.05, 0.05*math.Sqrt(20/p.base)))
	before := max(1, p.pressing/length)
	p.pressing += seconds
	switch u := p.pressing / length; {
	case u < 1:
		p.rate = p.base * (keep + (1-keep+step)*u)
	case p.answered < enough:
		p.base *= 1 + step
		p.rate, p.pressing = p.base, 0
	default:
		p.rate *= math.Exp2(u*u - before*before)
	}
	if p.rate > highest {
		p.unlimit()
	}
}

func (p *pace) unlimit() { p.rate, p.base = 0, 0 }

func (p *pace) interval() time.Duration { return time.Duration(float64(time.Second) / p.rate) }

// jitter keeps clients that know nothing of each other apart.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }
