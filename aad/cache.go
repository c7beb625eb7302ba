package aad

import (
	"errors"
	"sync"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/flight"
)

// A key is what a token is for.
type key struct {
	v1                  bool
	authority, resource string
}

// A cache keeps one credential's tokens, the authority's recent refusals, and what
// the vaults demand. Its lock is never held across an exchange.
type cache struct {
	flights flight.Group[flown[key], landing[Token]]
	asks    flight.Group[flown[string], landing[challenge.Challenge]]

	mu       sync.Mutex
	tokens   map[key]*kept
	refusals map[key]refusal
	demands  map[string]demand
}

// Times in the cache carry both readings of [time.Time], see passed.
type (
	kept struct {
		token     Token
		usable    time.Time // until then
		refreshOn time.Time // moves on with each attempt
	}
	refusal struct {
		err   error
		until time.Time
	}
	demand struct {
		challenge challenge.Challenge
		// proven says that the demand has led to a token. Before that the entry
		// only spares a second question to those who come while the first token
		// is on its way.
		proven bool
		asked  time.Time
	}
)

const (
	sharedRefusal = time.Second      // how long a refusal answers for later callers
	sharedDemand  = time.Second      // how long a demand that is not proven does
	refreshPause  = 30 * time.Second // between two attempts to refresh ahead
	leastLife     = 10 * time.Second // how long a token is kept, whatever its end or its refresh time
	maxKept       = 1000             // tokens, refusals, demands; a vault that names a new tenant each time ends there
)

// passed reports whether deadline has come by either clock: by the monotonic one,
// which nobody sets, or by the wall clock, which goes on while the machine sleeps.
func passed(now, deadline time.Time) bool {
	return !now.Before(deadline) || !now.Round(0).Before(deadline.Round(0))
}

// get returns the token for k, and whether it is time to refresh it; or the
// authority's recent refusal; or neither.
func (c *cache) get(k key, now time.Time) (tok Token, stale bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.tokens[k]; e != nil && !passed(now, e.usable) {
		if stale = passed(now, e.refreshOn); stale {
			e.refreshOn = now.Add(refreshPause)
		}
		return e.token, stale, nil
	}
	if f, ok := c.refusals[k]; ok {
		if now.Before(f.until) {
			return Token{}, false, f.err
		}
		delete(c.refusals, k)
	}
	return Token{}, false, nil
}

// put keeps a token. Whatever demand it was obtained for is proven by it.
func (c *cache) put(k key, tok Token, now time.Time) {
	// Deadlines are counted from now, so that they have both readings: the token's
	// own times may be from the wall clock alone.
	life := tok.Expires.Sub(now)
	refresh := life - min(5*time.Minute, life/5)
	switch {
	case !tok.RefreshOn.IsZero():
		refresh = tok.RefreshOn.Sub(now)
	case life >= 2*time.Hour:
		refresh = life / 2
	}
	e := &kept{
		token:     tok,
		usable:    now.Add(max(leastLife, life-min(30*time.Second, life/10))),
		refreshOn: now.Add(max(leastLife, refresh)),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens == nil || len(c.tokens) >= maxKept {
		c.tokens = make(map[key]*kept)
	}
	c.tokens[k] = e
	delete(c.refusals, k)
	for host, d := range c.demands {
		if !d.proven && d.leadsTo(k) {
			d.proven = true
			c.demands[host] = d
		}
	}
}

// drop removes the token if it is still the rejected one.
func (c *cache) drop(k key, rejected Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.tokens[k]; e != nil && e.token.Reveal() == rejected.Reveal() {
		delete(c.tokens, k)
	}
}

// refuse keeps the authority's refusal, or its token that had expired, for a moment.
func (c *cache) refuse(k key, err error, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusals == nil || len(c.refusals) >= maxKept {
		c.refusals = make(map[key]refusal)
	}
	if e, ok := errors.AsType[*ekm.Error](err); ok && err == error(e) {
		told := *e
		told.Attempts = 0 // none is made for those who get it
		err = &told
	}
	c.refusals[k] = refusal{err, now.Add(sharedRefusal)}
}

// fail forgets the demands that have just failed to lead to a token for k.
func (c *cache) fail(k key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for host, d := range c.demands {
		if !d.proven && d.leadsTo(k) {
			delete(c.demands, host)
		}
	}
}

func (d demand) leadsTo(k key) bool {
	return d.challenge.Authority == k.authority && d.challenge.Resource == k.resource
}

// holds reports whether the demand still answers for the vault.
func (d demand) holds(now time.Time) bool {
	return d.proven || !passed(now, d.asked.Add(sharedDemand))
}

// known returns what the vault at host demands, if that is known.
func (c *cache) known(host string, now time.Time) (challenge.Challenge, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.demands[host]
	return d.challenge, ok && d.holds(now)
}

// learn keeps what the vault at host demands. It is proven if there is a token
// for it already, else once there is one.
func (c *cache) learn(host string, k key, demanded challenge.Challenge, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.demands[host]; ok && d.challenge == demanded && d.holds(now) {
		return
	}
	if c.demands == nil || len(c.demands) >= maxKept {
		c.demands = make(map[string]demand)
	}
	c.demands[host] = demand{challenge: demanded, proven: c.tokens[k] != nil, asked: now}
}
