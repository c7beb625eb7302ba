package retry

import "time"

const (
	firstReturn = 2 * time.Second // from a fall to the return to the old rate,
	lastReturn  = 5 * time.Second // if returns fail one after the other
	tooSoon     = 3 * time.Second // after a return, a fall shows that it failed
	samples     = 6               // tries that show, while the rate is low, whether that helps

	firstHold = 15 * time.Second // how long a rate is held,
	lastHold  = 2 * time.Minute  // if the reasons do not end
	heldRate  = 4.0              // times the peak that is held

	certain = 6.0              // refusals, less half of the answers, that show a rival,
	doubtIn = 20 * time.Second // if they took at least so long,
	sunk    = 1.0 / 8          // at a rate below this part of the peak
)

// A rival finds out whether refusals have another cause than the gate's own rate, such as
// a client that shares the host's limit and does not slow down. If so, a lower rate
// would be in vain, and would be measured as all that the host gives: it would sink
// without end.
//
// A fall is a cut below the sustained rate. It lasts a few seconds. If the host answered
// the tries at the low rate, the gate returns to the old rate. If it refused them too, the
// gate holds the old rate for a time, in which refusals do not change it. A host without a
// sustained rate has a rival if many tries are refused at a rate far below the peak.
//
// Other gates look like a rival until they have slowed down. So a hold needs time and many
// refusals, and its rate is at most four times what the host gave.
type rival struct {
	fallen   bool
	returnAt time.Time     // from the present fall
	pause    time.Duration // before returnAt
	returned time.Time     // time of the last return
	atFall   count         // meter.paced at the fall

	doubt float64
	since time.Time // time of the refusal that began it

	until time.Time     // end of the last hold
	hold  time.Duration // how long it was
	rate  float64       // that was held
}

// held reports whether the rate is held.
func (r *rival) held(now time.Time) bool { return now.Before(r.until) }

// lowered records a cut and reports whether it is part of a fall. mostly says that most
// tries were refused and that there is a sustained rate to return to.
func (r *rival) lowered(now time.Time, mostly bool, m *meter) bool {
	if r.fallen || !mostly {
		return r.fallen
	}
	if r.pause = min(2*r.pause, lastReturn); now.Sub(r.returned) > tooSoon {
		r.pause = firstReturn
	}
	r.fallen, r.returnAt, r.atFall = true, now.Add(r.pause), m.paced
	return true
}

// over reports whether a fall is over, and the rate to return to.
func (r *rival) over(now time.Time, m *meter) (rate float64, ok bool) {
	if !r.fallen || now.Before(r.returnAt) {
		return 0, false
	}
	r.fallen, r.returned = false, now
	answered, refused := m.paced.answered-r.atFall.answered, m.paced.refused-r.atFall.refused
	if answered+refused >= samples && 3*refused >= 2*answered {
		return r.begin(now, 2*r.hold, m), true
	}
	r.hold = 0
	return keep * m.sustained(now), true
}

// tried records what became of a try and reports whether a hold begins, and its rate.
func (r *rival) tried(now time.Time, refused bool, rate float64, m *meter) (held float64, ok bool) {
	switch {
	case rate < 1 || rate > sunk*m.peak(now) || r.held(now):
		r.doubt = 0
	case refused:
		if r.doubt == 0 {
			r.since = now
		}
		r.doubt++
	default:
		r.doubt -= 0.5
	}
	r.doubt = max(0, r.doubt)
	if r.doubt < certain || now.Sub(r.since) < doubtIn {
		return 0, false
	}
	r.doubt = 0
	return r.begin(now, lastHold, m), true
}

// end ends a hold, and forgets what has led to it.
func (r *rival) end(now time.Time) { r.until, r.doubt, r.fallen = now, 0, false }

// begin begins a hold and returns its rate.
func (r *rival) begin(now time.Time, hold time.Duration, m *meter) float64 {
	if now.Sub(r.until) > time.Minute {
		r.rate = 0
	}
	r.rate = max(r.rate, heldRate*m.peak(now))
	r.hold = min(max(firstHold, hold), lastHold)
	r.until = now.Add(r.hold)
	m.forget(now)
	return r.rate
}

const (
	leastBlock = 0.12 // part of a period for which the gate was shut, for the block to count,
	mostBlock  = 0.5  // or not any more
	shorter    = 0.8  // part of the last block that shows that a cut has helped
	idleCuts   = 2    // cuts without that, which are undone,
	blockRate  = 10.0 // if the rate before them was no less: a slower client may be one of many
)

// A block finds out whether cuts help where the host refuses everything for a part of
// each period. If the gate has used up the host's window, a lower rate makes that part
// shorter. If another program has, it does not.
type block struct {
	part float64 // of the last period
	cuts int     // that have not helped
	rate float64 // before them
}

// undo records a cut of rate after a period, and reports whether to go back, and to what.
func (b *block) undo(now time.Time, rate float64, p *count) (former float64, ok bool) {
	part := p.shut.Seconds() / max(time.Millisecond, now.Sub(p.since)).Seconds()
	last := b.part
	b.part = part
	if p.served() < fine || part < leastBlock || part > mostBlock || part < shorter*last || last == 0 {
		b.cuts, b.rate = 0, rate
		return 0, false
	}
	b.cuts, b.rate = b.cuts+1, max(rate, b.rate)
	return b.rate, b.cuts > idleCuts && b.rate >= blockRate
}
