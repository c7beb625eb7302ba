package retry

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// After reads how long a response asks its client to wait: Retry-After as
// seconds, also with a fraction, or as a date in any form of RFC 9110, 5.6.7;
// and the milliseconds that some Azure services send as retry-after-ms or
// x-ms-retry-after-ms, which are more exact and so come first. It reports false
// if there is none that can be read. A date is compared with the response's own
// Date if it has one, else with now. The result is never negative, and not yet
// capped.
func After(h http.Header, now time.Time) (time.Duration, bool) {
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if d, ok := decimal(h.Get(name), time.Millisecond); ok {
			return d, true
		}
	}
	value := strings.TrimSpace(h.Get("Retry-After"))
	if d, ok := decimal(value, time.Second); ok {
		return d, true
	}
	if t, err := http.ParseTime(value); err == nil {
		// By the clock that it was written by, which may differ from this machine's.
		if sent, err := http.ParseTime(h.Get("Date")); err == nil {
			now = sent
		}
		return max(0, t.Sub(now)), true
	}
	return 0, false
}

// decimal reads digits with an optional fraction. Unlike ParseFloat alone it
// takes no sign, exponent, "Inf" or hexadecimal.
func decimal(s string, unit time.Duration) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range is +Inf: longer than any wait
		return 0, false
	}
	if ns := f * float64(unit); ns < math.MaxInt64 {
		return time.Duration(ns), true
	}
	return math.MaxInt64, true
}
