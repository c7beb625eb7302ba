package wire_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/internal/wire"
)

// Each phase has its own limit: the row's is short, all others are those of hours.
func TestTimeoutsByPhase(t *testing.T) {
	const short = 300 * time.Millisecond
	hours := wire.Timeouts{Dial: time.Hour, TLS: time.Hour, FirstByte: time.Hour, Body: time.Hour, Try: time.Hour}
	over := make(chan struct{})
	defer close(over)
	stalling := func(header bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if header {
				_, _ = io.WriteString(w, "the beginning")
				_ = http.NewResponseController(w).Flush()
			}
			select {
			case <-r.Context().Done():
			case <-over:
			}
		}
	}
	overH2 := func(header bool) func(*testing.T) string {
		return func(t *testing.T) string { return serve(t, true, stalling(header)).Listener.Addr().String() }
	}
	overH1 := func(text string) func(*testing.T) string {
		return func(t *testing.T) string {
			return nettest.ListenTLS(t, trusted().Config(t), nettest.Replying(text, true))
		}
	}
	for _, c := range []struct {
		name   string
		listen func(*testing.T) string
		set    func(*wire.Timeouts)
		code   ekm.Code
		phase  ekm.Phase
	}{
		{"dial", func(*testing.T) string { return "vault.example" }, func(l *wire.Timeouts) { l.Dial = short }, ekm.ErrorHttpSendRequest, ekm.PhaseResolve},
		{
			"TLS", func(t *testing.T) string {
				return nettest.Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
			}, func(l *wire.Timeouts) { l.TLS = short }, ekm.ErrorHttpSendRequest, ekm.PhaseTLS,
		},
		{"first byte", overH1(""), func(l *wire.Timeouts) { l.FirstByte = short }, ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus},
		{"first byte, HTTP/2", overH2(false), func(l *wire.Timeouts) { l.FirstByte = short }, ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus},
		{"body", overH1("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), func(l *wire.Timeouts) { l.Body = short }, ekm.ErrorHttpReadData, ekm.PhaseBody},
		{"body, HTTP/2", overH2(true), func(l *wire.Timeouts) { l.Body = short }, ekm.ErrorHttpReadData, ekm.PhaseBody},
		{"try", overH1(""), func(l *wire.Timeouts) { l.Try = short }, ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := c.listen(t)
			limits := hours
			c.set(&limits)
			client := newClient(t, wire.NewTransport(nil, limits, wire.Limits{}))
			client.Timeouts = limits
			begun := time.Now()
			_, err := do(t, client, get(address))
			failed(t, err, want{c.code, c.phase, ekm.Vault, address})
			assert.Less(t, time.Since(begun), 5*time.Second, "before the resolver gives up by itself")
			var timeout interface{ Timeout() bool }
			if assert.ErrorAs(t, err, &timeout) {
				assert.True(t, timeout.Timeout(), "%v", err)
			}
			if c.name == "body" {
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.ErrorContains(t, err, "did not end within 300ms")
			}
		})
	}
}
