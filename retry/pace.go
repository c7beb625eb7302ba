package retry

import "time"

// A pace says when the next try may begin. It knows nothing of calls, only the
// times and outcomes of tries. It consists of a breaker, which stops tries while the
// host refuses everything; a meter, which counts what became of recent tries; and a
// limiter, which has the rate.
type pace struct {
	breaker breaker
	meter   meter
	limiter limiter
	brisk   burst
}

// doubtful reports that the last news of the host is a failure, or that the gate is shut.
func (p *pace) doubtful() bool { return p.breaker.shut || p.breaker.failures > 0 }

func (p *pace) unlimited() bool { return p.limiter.rate == 0 && !p.breaker.shut }

// due returns the time until the next try may begin.
func (p *pace) due(now time.Time) time.Duration {
	if p.breaker.shut {
		return p.breaker.due(now)
	}
	return p.limiter.due(now)
}

// begin records that a try begins; waited is how long its call was queued.
func (p *pace) begin(now time.Time, waited time.Duration) {
	if p.breaker.shut {
		p.breaker.probe(now)
		return
	}
	p.limiter.begin(now, waited, &p.meter)
}

// idle records a first try where none is under way and nothing is limited.
func (p *pace) idle(now time.Time) {
	p.meter.restart(now)
	if p.meter.slot.since.IsZero() {
		p.meter.slot.since = now
	}
	p.meter.roll(now)
	p.brisk = burst{since: now}
}

// plain records an answer to a try that was not a probe, where nothing is limited.
func (p *pace) plain() {
	p.meter.answer(false)
	p.breaker.answer()
	p.grow()
}

// grow counts an answer for the number of tries that may be under way.
func (p *pace) grow() {
	if now, ok := p.brisk.count(); ok && p.limiter.rate == 0 {
		p.meter.roll(now)
		if now.Sub(p.meter.period.since) > time.Second {
			p.meter.age(now)
		}
	}
}

func (p *pace) answer(now time.Time, by pass) {
	if by.epoch != p.breaker.epoch {
		return
	}
	if p.breaker.shut {
		p.open(now)
	}
	p.meter.answer(by.probe)
	p.breaker.answer()
	p.grow()
	if !by.probe {
		p.limiter.tried(now, false, &p.meter)
	}
	p.meter.flow(now, p.limiter.span())
}

// trouble records an answer that may be the request's fault. It is no sign that a
// shut host is back.
func (p *pace) trouble(now time.Time, by pass) {
	if by.epoch == p.breaker.epoch && !by.probe {
		p.meter.answer(false)
		p.meter.flow(now, p.limiter.span())
	}
	p.miss(now, by)
}

// miss records an inconclusive probe and delays the next one.
func (p *pace) miss(now time.Time, by pass) {
	if by.probe && by.epoch == p.breaker.epoch {
		p.breaker.lengthen(now, p.limiter.interval())
	}
}

// silent records an inconclusive probe that another may follow at once.
func (p *pace) silent(by pass) {
	if by.probe && by.epoch == p.breaker.epoch {
		p.breaker.probing = false
	}
}

func (p *pace) fail(now time.Time, by pass) {
	if by.epoch == p.breaker.epoch {
		p.breaker.fail(now, by.probe, p.limiter.interval())
	}
}

// throttle records a 429. asked says that it names a time to wait.
func (p *pace) throttle(now time.Time, by pass, asked bool) {
	b := &p.breaker
	b.failures = 0
	if by.epoch != b.epoch {
		return // it was under way at a refusal already known
	}
	p.meter.refusal(by.probe)
	if by.probe {
		b.refused = true
		b.lengthen(now, p.limiter.interval())
		return
	}
	p.limiter.tried(now, true, &p.meter)
	if asked {
		p.limiter.rival.end(now) // the host says what to do
	}
	if !p.limiter.rival.held(now) {
		b.refusal(now, asked || p.limiter.slow(), p.limiter.interval())
	}
}

func (p *pace) open(now time.Time) {
	shut, limited := p.breaker.open(now)
	if limited {
		p.meter.shut(shut)
	} else { // a time that says nothing about the rate
		p.meter.skip(shut)
	}
	p.limiter.opened(now, limited, &p.meter)
}
