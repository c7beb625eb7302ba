package retry

import (
	"math"
	"math/rand/v2"
	"time"
)

// The constants of the pace, chosen by the simulation in the tests.
const (
	startRate = 20.0                   // per second, of the search for a limit that nothing is known of
	recent    = 250 * time.Millisecond // that a measurement looks back at least
	keep = 0.98                   // of the measured rate, after a refusal
	term      = 10 * time.Second       // a documented window of the vault: to rise above the measured rate again
	answers   = 40
	prior     = 10.0                  // answers that the last measurement counts for in the next
	firstWait = 50 * time.Millisecond // before the first probe, where no rate is known
	probeWait = time.Second           // the longest between probes, of a host shut for a short time
	slack     = 20 * time.Millisecond // of pacing that may be caught up with
	breakdown = 4                     // failures in a row that shut the gate
	forget    = 30 * time.Second      // without refusal and without a queue, after which the rate is
	slowest   = 0.1
	fastest   = 100_000.0 // a rate above which is none
	never     = time.Duration(math.MaxInt64)
)

// A pace says when the next try may begin. It knows nothing of calls, only of
// the times and outcomes of tries.
//
// A try's outcome teaches something only if the try began after the last lesson:
// those that were under way at a refusal will be refused like it.
type pace struct {
	epoch    uint32
	rate     float64       // tries per second; 0: not limited
	base     float64       // the measured rate that rate started from; 0: still searching
	next     time.Time     // the time for the next try, where rate is not 0
	pressing time.Duration // how long calls have been kept waiting by this rate
	pressAt  time.Time
	lessons  int // measurements so far
	doubling float64
	flow     float64 // answers, those long ago counting little
	flowAt   time.Time
	answered int       // since the last refusal; where rate is 0, since ever
	since    time.Time // the last refusal, or the reopening that followed a breakdown

	failures int // in a row
	lesson   bool
	shut     bool
	probing  bool
	shutAt   time.Time
	until    time.Time     // the time of the next probe
	pause    time.Duration // before it
}

func (p *pace) unlimited() bool { return p.rate == 0 && !p.shut }

// due is the time until the next try may begin; never, if the end of another
// must come first.
func (p *pace) due(now time.Time) time.Duration {
	switch {
	case p.shut && p.probing:
		return never
	case p.shut:
		return p.until.Sub(now)
	case p.rate == 0:
		return 0
	}
	if p.answered > 0 && now.Sub(p.since) > forget && now.Sub(p.pressAt) > forget {
		p.rate, p.base = 0, 0
		return 0
	}
	return p.next.Sub(now)
}

// begin takes note of a try.
func (p *pace) begin(now time.Time, probe bool) {
	if probe {
		p.probing = true
		return
	}
	if p.rate > 0 {
		if earliest := now.Add(-slack); p.next.Before(earliest) {
			p.next = earliest
		}
		p.next = p.next.Add(interval(p.rate))
	}
}

// pressed takes note of a try that had to wait: the rate binds, and so may rise.
func (p *pace) pressed(now time.Time, waited time.Duration) {
	if p.shut || p.rate == 0 {
		return
	}
	p.grow(min(now.Sub(p.pressAt), waited))
	p.pressAt = now
}

// grow raises the rate from below the measured one to above it over one term,
// and from then on doubles it four times in each.
func (p *pace) grow(d time.Duration) {
	if p.base == 0 {
		p.rate = min(fastest, p.rate*math.Exp2(d.Seconds()/p.doubling))
		return
	}
	length := term.Seconds() * min(1, 0.1*float64(int(1)<<min(p.lessons-1, 4)))
	before := p.pressing.Seconds() / length
	p.pressing += d
	u := p.pressing.Seconds() / length
	rise := min(0.8, max(0.02, 0.05*math.Sqrt(20/p.base)))
	switch {
	case u < 1:
		p.rate = p.base * (keep + (1-keep+rise)*u)
	case p.answered >= answers:
		p.rate *= math.Exp2(2 * (u - max(before, 1)))
	default:
		p.base = p.base * (1 + rise)
		p.rate = p.base
		p.pressing = 0
	}
	if p.rate > fastest {
		p.rate, p.base = 0, 0
	}
}

// plain is answer, where nothing is limited.
func (p *pace) plain() {
	p.answered++
	p.failures = 0
}

func (p *pace) answer(now time.Time, by pass) {
	if by.epoch != p.epoch {
		return
	}
	if p.shut {
		p.reopen(now)
	}
	p.plain()
	if p.rate > 0 {
		p.count(now)
	}
}

func (p *pace) look() float64 {
	if p.base == 0 {
		return recent.Seconds()
	}
	return max(recent.Seconds(), 10/p.base)
}

func (p *pace) count(now time.Time) {
	p.flow = p.flow*math.Exp(-now.Sub(p.flowAt).Seconds()/p.look()) + 1
	p.flowAt = now
}

func (p *pace) reopen(now time.Time) {
	p.shut, p.probing = false, false
	if p.lesson {
		p.measure(now)
	} else if p.rate > 0 && p.base == 0 {
		d := now.Sub(p.shutAt)
		if r := float64(p.answered) / now.Sub(p.since).Seconds(); d >= 500*time.Millisecond || r < startRate {
			p.rate = max(r, 1)
		}
		p.doubling = max(0.15, d.Seconds()/4)
		p.answered, p.since = 0, now
	}
	if p.failures >= breakdown { // a time that tells nothing of the rate
		p.since = p.since.Add(now.Sub(p.shutAt))
	}
	p.pressAt = now
	p.next = now
	if p.rate > 0 {
		p.next = now.Add(interval(p.rate))
	}
}

// busy takes note of a first try after a pause.
func (p *pace) busy(now time.Time) { p.answered, p.since = 0, now }

func (p *pace) silent(by pass) {
	if by.probe && by.epoch == p.epoch {
		p.probing = false
	}
}

func (p *pace) fail(now time.Time, by pass) {
	if by.epoch != p.epoch {
		return
	}
	p.failures++
	switch {
	case by.probe:
		p.lengthen(now)
	case p.failures >= breakdown:
		p.close(now, firstWait)
	}
}

func (p *pace) throttle(now time.Time, by pass) {
	p.failures = 0
	switch {
	case by.epoch != p.epoch:
	case by.probe:
		p.lengthen(now)
	case p.rate == 0:
		p.rate, p.base, p.lessons = startRate, 0, 0
		p.close(now, firstWait)
		p.flow, p.flowAt = 0, now
	default:
		p.lesson = true
		p.close(now, max(firstWait/2, interval(p.rate)))
	}
}

// measure sets the rate to that of the answers since the last refusal. Between
// two moments at which the host had nothing left to give, it gave what it can.
func (p *pace) measure(now time.Time) {
	n, d := float64(p.answered), now.Sub(p.since).Seconds()
	n, d = n+prior, d+prior/p.rate
	p.lesson = false
	late := p.flow * math.Exp(-now.Sub(p.flowAt).Seconds()/p.look()) / p.look()
	p.base = min(max(n/d, late), p.rate)
	p.base = max(p.base, slowest)
	p.rate = keep * p.base
	p.pressing = 0
	p.lessons++
	p.answered, p.since = 0, now
}

func (p *pace) close(now time.Time, pause time.Duration) {
	p.epoch++
	p.shut, p.probing, p.shutAt = true, false, now
	p.pause = pause
	p.until = now.Add(jitter(pause))
}

// lengthen puts off the next probe: twice as long, but never by more than an
// eighth of the time that the host has been shut.
func (p *pace) lengthen(now time.Time) {
	p.probing = false
	longest := max(probeWait, now.Sub(p.shutAt)/8)
	if p.rate > 0 {
		longest = max(longest, min(term, 4*interval(p.rate)))
	}
	p.pause = min(3*p.pause/2, longest)
	p.until = now.Add(jitter(p.pause))
}

// asked puts the next probe off to when the host wants it.
func (p *pace) asked(now time.Time, after time.Duration) {
	if t := now.Add(after); t.After(p.until) {
		p.until = t
	}
}

func interval(rate float64) time.Duration { return time.Duration(float64(time.Second) / rate) }

// jitter keeps clients that know nothing of each other apart.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }
