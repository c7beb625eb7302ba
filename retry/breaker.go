package retry

import (
	"math/rand/v2"
	"time"
)

const (
	firstPause = 50 * time.Millisecond  // before the first probe
	longPause  = 500 * time.Millisecond // the longest between probes, of a host shut for a short time
	lastPause  = 5 * time.Second        // the longest between probes, of a host shut for a long time
	patience   = 2 * time.Second        // with a probe, before another one is sent

	breakdown = 4                      // failures in a row that shut the gate,
	quiet     = 100 * time.Millisecond // if nothing is heard for so long meanwhile
	collapse  = 32                     // failures in a row that shut the gate at once

	dense = 4.0  // refusals that shut the gate,
	leak  = 0.08 // where each answer makes up for this part of one
)

// A breaker shuts the gate while the host refuses everything or cannot be reached. Then
// one try at a time, the probe, asks whether the host is back.
type breaker struct {
	epoch    uint32    // a try says something only if it began in the present one
	failures int       // in a row
	failing  time.Time // time of the first of them
	density  float64   // recent refusals, less a part of the answers since

	shut    bool
	shutAt  time.Time
	refused bool          // a 429 was among the reasons
	until   time.Time     // time of the next probe
	pause   time.Duration // before it
	probing bool
	probed  time.Time // time of the last probe
}

// due returns the time until the next probe.
func (b *breaker) due(now time.Time) time.Duration {
	if b.probing {
		return b.probed.Add(patience).Sub(now)
	}
	return b.until.Sub(now)
}

func (b *breaker) probe(now time.Time) { b.probing, b.probed = true, now }

// answer records an answer.
func (b *breaker) answer() {
	b.failures = 0
	b.density = max(0, b.density-leak)
}

// refusal records a refusal, and shuts the gate if refusals come close together, or if
// each one counts.
func (b *breaker) refusal(now time.Time, each bool, interval time.Duration) {
	if b.density++; each || b.density >= dense {
		b.refused = true
		b.close(now, max(firstPause/2, interval))
	}
}

// fail records a failure, and shuts the gate after some in a row.
func (b *breaker) fail(now time.Time, probe bool, interval time.Duration) {
	if b.failures++; b.failures == 1 {
		b.failing = now
	}
	switch {
	case probe:
		b.lengthen(now, interval)
	case b.failures >= collapse, b.failures >= breakdown && now.Sub(b.failing) >= quiet:
		b.close(now, firstPause)
	}
}

func (b *breaker) close(now time.Time, pause time.Duration) {
	b.epoch++
	b.density = 0
	b.shut, b.probing, b.shutAt = true, false, now
	b.pause, b.until = pause, now.Add(jitter(pause))
}

// lengthen delays the next probe: by ever more, but not by more than a small part
// of the time that the gate has been shut, or a few tries at its rate.
func (b *breaker) lengthen(now time.Time, interval time.Duration) {
	if !b.shut {
		return // a probe that another one overtook
	}
	b.probing = false
	longest := max(min(lastPause, max(longPause, now.Sub(b.shutAt)/20)), min(term, 4*interval))
	b.pause = min(b.pause*4/3+interval, longest)
	b.until = now.Add(jitter(b.pause))
}

// asked delays the next probe to when the host wants it.
func (b *breaker) asked(now time.Time, after time.Duration) {
	if t := now.Add(after); t.After(b.until) {
		b.until = t
	}
}

// open ends the shut time, and reports how long it was and whether it says something
// about the host's limit.
func (b *breaker) open(now time.Time) (shut time.Duration, limited bool) {
	limited = b.refused && b.failures < breakdown
	b.shut, b.probing, b.refused = false, false, false
	return now.Sub(b.shutAt), limited
}

// jitter keeps clients that know nothing of each other apart.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }
