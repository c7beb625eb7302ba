package retry

import (
	"math"
	"time"
)

const (
	slotTries   = 150                     // answers in a slot, at least
	slotTime    = 1500 * time.Millisecond // duration of a slot without shut time; at most a third more
	slotMax     = 20 * time.Second        // duration of a slot with shut time, at most
	peakTries   = 10                      // answers in the shortest peak
	sustainedIn = 30 * time.Second        // see meter.sustained
	peakIn      = time.Minute             // see meter.peak
)

// A meter counts what became of tries.
type meter struct {
	period count // since the last change of the rate
	paced  count // all tries so far but probes

	slot    count      // the present slot
	before  [2]float64 // rates of answers in the two slots before
	steady  maximum    // the lowest rates of three slots in a row
	spell   count      // a shorter slot
	peaks   maximum    // rates of answers in such
	recent  float64    // answers, of which older ones count less
	counted time.Time  // time of recent
}

// A count is of tries since a time.
type count struct {
	since             time.Time
	answered, refused int
	probes            int           // among the refused
	shut              time.Duration // how long the gate was shut meanwhile
}

func (c *count) tries() int { return c.answered + c.refused }

// served returns the share of tries that were answered while the gate was open.
func (c *count) served() float64 { return float64(c.answered) / float64(max(1, c.tries()-c.probes)) }

// rate returns the answers per second. A clock that has not moved counts as one that
// has moved by a millisecond.
func (c *count) rate(now time.Time) float64 {
	return float64(c.answered) / max(time.Millisecond, now.Sub(c.since)).Seconds()
}

// share returns the share of tries that were answered, where time that the gate was
// shut counts like tries that were refused.
func (c *count) share(now time.Time) float64 {
	all := now.Sub(c.since).Seconds()
	if c.tries() == 0 || all <= 0 {
		return 1
	}
	return float64(c.answered) / float64(c.tries()) * max(0, 1-c.shut.Seconds()/all)
}

// A maximum is the largest of the values of a time that has just passed.
type maximum struct {
	present, former float64
	since           time.Time // start of the present half
}

// value returns the largest value of the last one to two halves.
func (m *maximum) value(now time.Time, half time.Duration) float64 {
	switch age := now.Sub(m.since); {
	case age > 2*half:
		m.former, m.present, m.since = 0, 0, now
	case age > half:
		m.former, m.present, m.since = m.present, 0, m.since.Add(half)
	}
	return max(m.present, m.former)
}

func (m *maximum) add(now time.Time, half time.Duration, value float64) {
	m.value(now, half)
	m.present = max(m.present, value)
}

// restart begins a new period.
func (m *meter) restart(now time.Time) { m.period = count{since: now} }

// age lets the older half of the period count no more. Its share stays that of many
// tries.
func (m *meter) age(now time.Time) {
	p := &m.period
	p.answered, p.refused, p.probes, p.shut = p.answered/2, p.refused/2, p.probes/2, p.shut/2
	p.since = now.Add(-now.Sub(p.since) / 2)
}

// skip takes a time that has just ended out of the counts.
func (m *meter) skip(d time.Duration) {
	m.period.since, m.slot.since = m.period.since.Add(d), m.slot.since.Add(d)
}

// shut records how long the gate was shut by refusals.
func (m *meter) shut(d time.Duration) {
	m.period.shut += d
	m.slot.shut += d
}

func (m *meter) answer(probe bool) {
	m.period.answered++
	m.slot.answered++
	m.spell.answered++
	if !probe {
		m.paced.answered++
	}
}

func (m *meter) refusal(probe bool) {
	m.period.refused++
	if probe {
		m.period.probes++
	} else {
		m.paced.refused++
	}
}

// flow records the time of an answer, for flowing.
func (m *meter) flow(now time.Time, span float64) {
	m.recent = m.flowing(now, span) + 1
	m.counted = now
}

// flowing returns the number of recent answers, about those of the last span seconds.
func (m *meter) flowing(now time.Time, span float64) float64 {
	return m.recent * math.Exp(-now.Sub(m.counted).Seconds()/span)
}

// roll ends slots that are long enough.
func (m *meter) roll(now time.Time) {
	if age := now.Sub(m.spell.since); age > slotMax {
		m.spell = count{since: now}
	} else if age >= slotTime && m.spell.answered >= peakTries {
		m.peaks.add(now, peakIn, m.spell.rate(now))
		m.spell = count{since: now}
	}
	if age := now.Sub(m.slot.since); age > slotMax || age-m.slot.shut > 4*slotTime/3 { // too slow
		m.forget(now)
	} else if age-m.slot.shut >= slotTime && m.slot.answered >= slotTries {
		rate := m.slot.rate(now)
		m.steady.add(now, sustainedIn, min(m.before[0], m.before[1], rate))
		m.before[1], m.before[0] = m.before[0], rate
		m.slot = count{since: now}
	}
}

// forget begins the three slots anew.
func (m *meter) forget(now time.Time) { m.slot, m.before = count{since: now}, [2]float64{} }

// peak returns the highest rate of answers in a second and a half of the last one to
// two minutes, or 0 if there were too few.
func (m *meter) peak(now time.Time) float64 { return m.peaks.value(now, peakIn) }

// sustained returns the highest rate of answers that lasted for three slots in the
// last 30 to 60 seconds, or 0 if none did. Only hosts that answer 75 times a second
// or more have one: a slower client, which shares a limit with many, must not insist on
// what it got for a while.
func (m *meter) sustained(now time.Time) float64 { return m.steady.value(now, sustainedIn) }

// A burst counts answers in about a second, while nothing is limited.
type burst struct {
	answers int
	since   time.Time
}

// count records an answer. It looks at the clock once in 64 times, and says so.
func (b *burst) count() (now time.Time, looked bool) {
	if b.answers++; b.answers%64 != 0 {
		return now, false
	}
	now = time.Now()
	if gone := now.Sub(b.since); gone > time.Second {
		b.answers, b.since = int(float64(b.answers)/gone.Seconds()), now.Add(-time.Second)
	}
	return now, true
}
