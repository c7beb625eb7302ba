package wire

import (
	"context"
	"fmt"
	"time"
)

// Timeouts bounds the phases of an exchange. A field that is zero or less has the
// default given with it, and none is longer than a day. Dial, TLS and FirstByte are
// the transport's to observe, see [NewTransport].
type Timeouts struct {
	Dial      time.Duration // the name and the connection: 10 s
	TLS       time.Duration // the handshake: 10 s
	FirstByte time.Duration // from the end of the request to the response's header: 30 s
	Body      time.Duration // from the header to the end of the body: 30 s
	Try       time.Duration // the whole exchange: 60 s
}

func (t Timeouts) withDefaults() Timeouts {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
		*d = min(*d, 24*time.Hour) // so that they can be added up
	}
	def(&t.Dial, 10*time.Second)
	def(&t.TLS, 10*time.Second)
	def(&t.FirstByte, 30*time.Second)
	def(&t.Body, 30*time.Second)
	def(&t.Try, time.Minute)
	return t
}

// inTime lets read go on for the limit's time, then ends it by cancel.
func (x *exchange) inTime(limit time.Duration, cancel context.CancelFunc, read func() ([]byte, error)) ([]byte, error) {
	t := time.AfterFunc(limit, func() {
		x.late.Store(true)
		cancel()
	})
	defer t.Stop()
	body, err := read()
	if err != nil && x.late.Load() {
		return nil, fmt.Errorf("the body did not end within %v: %w", limit, context.DeadlineExceeded)
	}
	return body, err
}
