package aad

import "time"

// SetClock makes now the clock of t, so that tests can set it. Call it before
// anything else.
func (t *Tokens) SetClock(now func() time.Time) { t.now, t.exchange.now = now, now }
