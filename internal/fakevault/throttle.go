package fakevault

import (
	"strings"
	"time"
)

// Throttle limits the vault as Microsoft documents it: so much per window, weighted by key type and size, enforced on
// the sum (Microsoft Learn, "Azure Key Vault service limits"). The zero value is no limit; what a vault really has is
// Throttle{Limit: 4000, Window: 10 * time.Second}.
//
// The unit is one operation with a software-protected RSA 2048 or EC key. A window begins with the first request after
// the end of the last. A request that is heavier than the limit is let into an empty window.
type Throttle struct {
	Limit  int           // units per window; 0 is no limit
	Window time.Duration // default 10 s
	// CountRejected counts refused requests as well. The documentation contradicts itself on this.
	CountRejected bool
	// RetryAfter is sent with the 429. Real vaults send none.
	RetryAfter string
}

type window struct {
	start time.Time
	used  int
}

// admit counts the request, and tells whether it is let in.
func (s *Server) admit(c *call) bool {
	t := s.opts.Throttle
	if t.Limit <= 0 {
		return true
	}
	length := t.Window
	if length <= 0 {
		length = 10 * time.Second
	}
	weight := s.weight(c)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.window.start.IsZero() || now.Sub(s.window.start) >= length {
		s.window = window{start: now}
	}
	ok := s.window.used == 0 || s.window.used+weight <= t.Limit
	if ok || t.CountRejected {
		s.window.used += weight
	}
	return ok
}

// weight is the documented limit for software-protected RSA 2048 keys, 4000, divided by that for the key of this request:
//
//	             HSM: create  other    software: create  other
//	RSA 2048              10   2000                  20   4000
//	RSA 3072              10    500                  20   1000
//	RSA 4096              10    250                  20    500
//	EC (all)              10   2000                  20   4000
func (s *Server) weight(c *call) int {
	hsm := s.hsm
	if c.op == OpCreate || c.op == OpImport || c.op == OpRotate {
		if hsm || strings.Contains(string(c.body), `-HSM"`) {
			return 400
		}
		return 200
	}
	weight := 1
	if c.name != "" {
		s.mu.Lock()
		if k := s.keys[strings.ToLower(c.name)]; k != nil {
			if v := k.version(c.version); v != nil {
				hsm = hsm || strings.HasSuffix(v.kty, "-HSM")
				switch {
				case v.rsa == nil || v.bits <= 2048:
				case v.bits <= 3072:
					weight = 4
				default:
					weight = 8
				}
			}
		}
		s.mu.Unlock()
	}
	if hsm {
		weight *= 2
	}
	return weight
}
