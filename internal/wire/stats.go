package wire

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/retry"
)

// Stats count the exchanges of a [Client] by what came of them.
type Stats struct {
	Succeeded    uint64 // status 2xx
	Unauthorized uint64 // 401
	Throttled    uint64 // 429
	Refused      uint64 // any other 4xx
	Failed       uint64 // 5xx
	Unanswered   uint64 // no status, or one of no known class
	Retries      uint64 // of all these, tries after a call's first
	Repeats      uint64 // requests that net/http sent again within a try, on another connection or HTTP/2 stream
	Gate         retry.Stats
}

type counters struct {
	succeeded, unauthorized, throttled, refused, failed, unanswered, retries, repeats atomic.Uint64
}

// Stats takes a snapshot. Exchanges that are refused before anything is sent do
// not count.
func (c *Client) Stats() Stats {
	n := &c.counted
	s := Stats{
		Succeeded: n.succeeded.Load(), Unauthorized: n.unauthorized.Load(), Throttled: n.throttled.Load(),
		Refused: n.refused.Load(), Failed: n.failed.Load(), Unanswered: n.unanswered.Load(), Retries: n.retries.Load(), Repeats: n.repeats.Load(),
	}
	if c.Gate != nil {
		s.Gate = c.Gate.Stats()
	}
	return s
}

func (c *counters) add(resp *Response, err error) {
	e, _ := errors.AsType[*ekm.Error](err)
	switch {
	case e != nil && e.Phase == ekm.PhasePrepare:
	case resp == nil || resp.Status < 200 || resp.Status >= 600 || resp.Status/100 == 3:
		c.unanswered.Add(1)
	case resp.Status < 300:
		c.succeeded.Add(1)
	case resp.Status == http.StatusUnauthorized:
		c.unauthorized.Add(1)
	case resp.Status == http.StatusTooManyRequests:
		c.throttled.Add(1)
	case resp.Status < 500:
		c.refused.Add(1)
	default:
		c.failed.Add(1)
	}
}
