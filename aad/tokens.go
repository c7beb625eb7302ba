package aad

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/flight"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/proxy"
	"github.com/akv-ekm/ekm/retry"
)

// Options are the settings of [Tokens]; the zero value is good.
type Options struct {
	// Transport makes the requests to the authority and to the platform's
	// identity endpoint. Nil means one of our own, with Proxy. The platform's
	// endpoint is not asked through a proxy: neither by our own transport nor by an
	// *http.Transport, of which a copy without its Proxy is used there. A round
	// tripper of another kind decides for itself.
	Transport http.RoundTripper
	Proxy     *proxy.Selector // nil: the environment's
	Retry     retry.Policy    // of one exchange
	Timeouts  WireTimeouts    // of one try
	Logger    *slog.Logger    // nil: silent
	UserAgent string
	// V1 asks the authority's v1 endpoint, with resource in place of scope, as
	// AD FS and Azure Stack need it.
	V1 bool

	// Limits in bytes, with the default given; beyond them the codes in brackets.
	MaxURL     int // of the token endpoint: 2 KiB (3300)
	MaxRequest int // of the request body: 64 KiB (3301)
	MaxReply   int // of the reply: 64 KiB (3302)
	Wire       WireLimits
}

// WireLimits bounds each exchange. Zero fields have the default given here; in
// brackets the codes beyond them. InFlight is how many may be under way: 65,536
// (3100). The others are bytes: HeaderValue of one field, 16 KiB (3115); Header of
// all, 64 KiB (3116); Body, 1 MiB (3120, 3122); Held of all bodies that are being
// read, 256 MiB (3121).
type WireLimits = wire.Limits

// WireTimeouts bounds the phases of each exchange: Dial with the name's lookup and
// TLS (10 s each), FirstByte and Body (30 s each), Try, which is all of it (60 s).
// Zero fields have these defaults.
type WireTimeouts = wire.Timeouts

// WireStats counts exchanges by outcome: Succeeded, Unauthorized (401), Throttled
// (429), Refused (other 4xx), Failed (5xx), Unanswered; the Retries among them;
// and what their Gate tells.
type WireStats = wire.Stats

// Tokens hands out tokens for one [Credential]. Any number of goroutines may ask
// at once: for one authority and resource at most one exchange is under way, no
// lock is held meanwhile, and each caller leaves when its own context ends.
//
// A token is replaced ahead of its end in the background, while callers go on
// with the old one. A failed exchange is its answer to all who wait for it, and
// for one more second to all who come: a hundred callers with a wrong secret
// make one request.
type Tokens struct {
	credential Credential
	exchange   *exchange
	logger     *slog.Logger
	life       context.Context // of background refreshes
	end        context.CancelFunc
}

// NewTokens makes a Tokens for cred, which must not be nil. Tokens of the same
// cred share one cache. opts may be nil.
func NewTokens(cred Credential, opts *Options) *Tokens {
	if opts == nil {
		opts = &Options{}
	}
	logger := opts.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	t := &Tokens{credential: cred, exchange: newExchange(opts), logger: logger}
	t.life, t.end = context.WithCancel(context.Background())
	return t
}

// Close ends refreshes in the background and closes all connections of our own,
// once no exchange is under way. The credential and its tokens remain of use to
// others. Calls after Close work, but nothing is refreshed ahead any more.
func (t *Tokens) Close() {
	t.end()
	t.exchange.client.Close()
	t.exchange.direct.Close()
}

// Stats counts the exchanges with authorities and with the platform's identity
// endpoint so far.
func (t *Tokens) Stats() (authority, platform WireStats) {
	return t.exchange.client.Stats(), t.exchange.direct.Stats()
}

// Get returns a token for what c demands, from the cache if one is there. c's
// Claims are not looked at: a token with claims is [Tokens.Renew]'s to get.
//
// Errors are of type [*ekm.Error]: 3300 to 3308 and the network's 31xx and 3900
// with Party [ekm.Authority]; 38xx if the proof of identity could not be made.
// If ctx ends first, its error.
func (t *Tokens) Get(ctx context.Context, c challenge.Challenge) (Token, error) {
	if ctx == nil {
		return Token{}, invalid("the context is nil")
	}
	c.Claims = ""
	k := key{t.exchange.v1, c.Authority, c.Resource}
	store := t.credential.cache()
	tok, stale, err := store.get(k, time.Now())
	if err != nil {
		return Token{}, err
	}
	if tok.Reveal() == "" {
		return t.fly(ctx, k, c, Token{})
	}
	if stale {
		t.refresh(k, c)
	}
	return tok, nil
}

// Renew returns a token in place of one that the vault rejected: another one
// from the cache if somebody was faster, else a new one, which carries c's
// Claims. Errors are those of Get.
func (t *Tokens) Renew(ctx context.Context, c challenge.Challenge, rejected Token) (Token, error) {
	if ctx == nil {
		return Token{}, invalid("the context is nil")
	}
	k := key{t.exchange.v1, c.Authority, c.Resource}
	t.credential.cache().drop(k, rejected)
	return t.fly(ctx, k, c, rejected)
}

// fly joins or starts the exchange for k.
func (t *Tokens) fly(ctx context.Context, k key, c challenge.Challenge, rejected Token) (Token, error) {
	store := t.credential.cache()
	tok, err := store.flights.Do(ctx, flightKey{k: k, claims: c.Claims}, func(ctx context.Context) (Token, error) {
		// Somebody may have landed between our look and this flight.
		if tok, _, err := store.get(k, time.Now()); err != nil || tok.Reveal() != "" && tok.Reveal() != rejected.Reveal() {
			return tok, err
		}
		tok, err := t.credential.token(ctx, t.exchange, c)
		if err != nil {
			if ctx.Err() == nil && !ownFault(err) {
				store.fail(k, err, time.Now())
			}
			return Token{}, err
		}
		store.put(k, tok, time.Now())
		return tok, nil
	})
	return tok, gaveUp(err, opAcquireToken, hostOf(c.Authority))
}

// gaveUp gives a code to the failure of what goroutines share. A caller whose
// context ended while it waited is told how far that had got if nobody else waits
// for it, else a code that blames nobody; the latter too if the one who did the
// work never returned. Errors that have a code it returns as they are.
func gaveUp(err error, op, host string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*ekm.Error](err); ok {
		return err
	}
	if left, ok := errors.AsType[*flight.Left](err); ok {
		err = fmt.Errorf("gave up waiting: %w", left.Cause)
		if e, ok := errors.AsType[*ekm.Error](left.Last); ok {
			full := *e
			if e.Err == nil {
				full.Err = left.Cause
			} else if !errors.Is(e.Err, left.Cause) {
				full.Err = fmt.Errorf("%w: %w", e.Err, left.Cause)
			}
			return &full
		}
	}
	return &ekm.Error{Code: ekm.SCPErrFailure, Op: op, Party: ekm.Local, Host: host, Time: time.Now(), Err: err}
}

// ownFault reports a failure that lies with this client's own settings: clients
// that share the credential may have better ones.
func ownFault(err error) bool {
	e, ok := errors.AsType[*ekm.Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case ekm.ErrorGetTokenOutOfMemoryConcatPath, ekm.ErrorGetTokenOutOfMemoryConcatBody, ekm.ErrorGetTokenOutOfMemoryConvertResponseString:
		return true
	}
	return e.Party == ekm.Proxy || e.Phase == ekm.PhasePrepare
}

// refresh gets the next token in the background.
func (t *Tokens) refresh(k key, c challenge.Challenge) {
	if t.life.Err() != nil {
		return
	}
	store := t.credential.cache()
	store.flights.Go(t.life, flightKey{k: k, ahead: true}, func(ctx context.Context) (Token, error) {
		tok, err := t.credential.token(ctx, t.exchange, c)
		if err != nil {
			t.logger.LogAttrs(ctx, slog.LevelWarn, "token not refreshed ahead of its end", slog.Any("error", err))
			return Token{}, err
		}
		store.put(k, tok, time.Now())
		return tok, nil
	})
}

// Known returns what the vault at host demands, if an earlier answer told.
func (t *Tokens) Known(host string) (challenge.Challenge, bool) {
	return t.credential.cache().demand(host)
}

// Challenge returns what the vault at host demands: what was learnt from an
// earlier answer, else what ask finds out. ask runs at most once at a time for
// each host, for all who share the credential.
func (t *Tokens) Challenge(ctx context.Context, host string, ask func(context.Context) (challenge.Challenge, error)) (challenge.Challenge, error) {
	if ctx == nil {
		return challenge.Challenge{}, invalid("the context is nil")
	}
	store := t.credential.cache()
	c, err := store.asks.Do(ctx, host, func(ctx context.Context) (challenge.Challenge, error) {
		if c, ok := store.demand(host); ok {
			return c, nil
		}
		c, err := ask(ctx)
		if err == nil {
			store.learn(host, c)
		}
		return c, err
	})
	return c, gaveUp(err, "", host)
}

// Forget drops what is known of the vault at host, so that it is asked again:
// for when the authority that it named knows no such tenant or application.
func (t *Tokens) Forget(host string) { t.credential.cache().forget(host) }

// Learn notes what the vault at host demands, as a later answer of its tells.
func (t *Tokens) Learn(host string, c challenge.Challenge) { t.credential.cache().learn(host, c) }

// A key is what a token is for.
type key struct {
	v1                  bool
	authority, resource string
}

type flightKey struct {
	k      key
	claims string
	// ahead marks a refresh in the background. It ends with the Tokens that began
	// it, so nobody else may wait for it.
	ahead bool
}

// A cache keeps one credential's tokens, recent failures, and what the vaults
// demand. Its lock is never held across an exchange.
type cache struct {
	flights flight.Group[flightKey, Token]
	asks    flight.Group[string, challenge.Challenge]

	mu      sync.Mutex
	tokens  map[key]*kept
	failed  map[key]failure
	demands map[string]challenge.Challenge
}

type kept struct {
	token     Token
	usable    time.Time // until then
	refreshOn time.Time // moves on with each attempt
}

type failure struct {
	err   error
	until time.Time
}

const (
	sharedFailure = time.Second      // how long a failed exchange answers for later callers
	refreshPause  = 30 * time.Second // between two attempts to refresh ahead
	maxKept       = 1000             // tokens, failures, demands; a vault that names a new tenant each time ends there
)

// get returns the token for k, and whether it is time to refresh it; or the
// error that the last exchange has just failed with; or neither.
func (c *cache) get(k key, now time.Time) (tok Token, stale bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.tokens[k]; e != nil && now.Before(e.usable) {
		if stale = !now.Before(e.refreshOn); stale {
			e.refreshOn = now.Add(refreshPause)
		}
		return e.token, stale, nil
	}
	if f, ok := c.failed[k]; ok {
		if now.Before(f.until) {
			return Token{}, false, f.err
		}
		delete(c.failed, k)
	}
	return Token{}, false, nil
}

func (c *cache) put(k key, tok Token, now time.Time) {
	// Without the monotonic clock: a machine that slept must not take a dead
	// token for a fresh one.
	now = now.Round(0)
	life := tok.Expires.Sub(now)
	e := &kept{token: tok, usable: tok.Expires.Round(0).Add(-min(30*time.Second, life/10)), refreshOn: tok.RefreshOn.Round(0)}
	if tok.RefreshOn.IsZero() {
		e.refreshOn = tok.Expires.Round(0).Add(-min(5*time.Minute, life/5))
		if life >= 2*time.Hour {
			e.refreshOn = now.Add(life / 2)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens == nil || len(c.tokens) >= maxKept {
		c.tokens = make(map[key]*kept)
	}
	c.tokens[k] = e
	delete(c.failed, k)
}

// drop removes the token if it is still the rejected one.
func (c *cache) drop(k key, rejected Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.tokens[k]; e != nil && e.token.Reveal() == rejected.Reveal() {
		delete(c.tokens, k)
	}
}

func (c *cache) fail(k key, err error, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil || len(c.failed) >= maxKept {
		c.failed = make(map[key]failure)
	}
	c.failed[k] = failure{err, now.Round(0).Add(sharedFailure)}
}

func (c *cache) demand(host string) (challenge.Challenge, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.demands[host]
	return d, ok
}

func (c *cache) forget(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.demands, host)
}

func (c *cache) learn(host string, d challenge.Challenge) {
	d.Claims, d.Error = "", "" // of one answer, not of the vault
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.demands == nil || len(c.demands) >= maxKept {
		c.demands = make(map[string]challenge.Challenge)
	}
	c.demands[host] = d
}
