package aad

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
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
	UserAgent string
	// RootCAs are the certificates that our own transport trusts, in place of the
	// system's, which are meant by nil. They are not looked at if Transport is given.
	RootCAs *x509.CertPool
	// Wrap makes the round tripper that requests go through on their way to
	// Transport, or to our own one, whose limits and proxy remain in force. It is
	// called by NewTokens: once for requests to the authority, once for those to the
	// platform's endpoint. Where it returns nil, or a nil pointer, each of them fails with
	// 3107. A nil Wrap is none.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Logger gets a record of each token that is acquired or not, at SuccessLevel,
	// slog.LevelWarn or slog.LevelError, with the operation "acquireToken", and one at
	// slog.LevelDebug of each try that is followed by another. akv.Options.Logger
	// says what they hold. Tokens from the cache are not told of. Nil means silence.
	Logger       *slog.Logger
	SuccessLevel slog.Level // zero: slog.LevelInfo
	// V1 asks the authority's v1 endpoint, with resource in place of scope, as
	// AD FS and Azure Stack need it.
	V1 bool

	// Limits in bytes, with the default given; beyond them the codes in brackets.
	// Errors and explanations call them as akv.Options does: Limits.URL,
	// Limits.Request, Limits.Token.
	MaxURL     int // of the token endpoint: 4 KiB (3300)
	MaxRequest int // of the request body: 1 MiB (3301)
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
// with the old one. It is kept for ten seconds at least, whatever end or refresh
// time the authority names.
//
// A refusal by the authority itself, such as a wrong secret, answers all who wait
// and, for one more second, all who come: a hundred callers with a wrong secret
// make one request. A token that has expired on arrival fails with 3304 and is kept
// like a refusal: it makes one request a second. No other failure is kept. One that
// may be the starter's alone, because its context, limits, retries or network are its
// own, answers nobody else.
type Tokens struct {
	credential Credential
	exchange   *exchange
	now        func() time.Time
	life       context.Context // of background refreshes
	end        context.CancelFunc
}

// NewTokens makes a Tokens for cred, which must not be nil. Tokens of the same
// cred share one cache. opts may be nil.
func NewTokens(cred Credential, opts *Options) *Tokens {
	if opts == nil {
		opts = &Options{}
	}
	t := &Tokens{credential: cred, exchange: newExchange(opts), now: time.Now}
	t.life, t.end = context.WithCancel(context.Background())
	return t
}

// Close ends refreshes in the background and closes all connections of our own,
// once no exchange is under way. The credential and its tokens remain of use to
// others. Calls after Close work, but nothing is refreshed ahead any more. What is
// garbage collected without Close leaves no connection of our own either.
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
// with Party [ekm.Authority]; 38xx if the proof of identity could not be made. If ctx
// ends first, the error is one of these where the exchange had got that far, else 1
// (SCPErrFailure); errors.Is finds ctx's error in either.
func (t *Tokens) Get(ctx context.Context, c challenge.Challenge) (Token, error) {
	if ctx == nil {
		return Token{}, invalid("the context is nil")
	}
	c.Claims = ""
	if tok, ok, err := t.cached(c); ok || err != nil {
		return tok, err
	}
	return t.fly(ctx, c, Token{})
}

// Cached returns the token for what c demands if there is one, and begins to
// refresh it in the background when its time has come. It never waits.
func (t *Tokens) Cached(c challenge.Challenge) (Token, bool) {
	tok, ok, err := t.cached(c)
	return tok, ok && err == nil
}

func (t *Tokens) cached(c challenge.Challenge) (Token, bool, error) {
	k := t.key(c)
	tok, stale, err := t.credential.cache().get(k, t.now())
	if stale {
		t.refresh(k, c)
	}
	return tok, tok.Reveal() != "", err
}

// Renew returns a token in place of one that the vault rejected: another one
// from the cache if somebody was faster, else a new one, which carries c's
// Claims. While one renewal is under way, others wait for it even if their claims
// differ: claimed reports that the token was asked for with c's. Errors are those
// of Get.
func (t *Tokens) Renew(ctx context.Context, c challenge.Challenge, rejected Token) (tok Token, claimed bool, err error) {
	if ctx == nil {
		return Token{}, false, invalid("the context is nil")
	}
	t.credential.cache().drop(t.key(c), rejected)
	tok, err = t.fly(ctx, c, rejected)
	return tok, tok.claims == c.Claims, err
}

func (t *Tokens) key(c challenge.Challenge) key {
	return key{t.exchange.v1, c.Authority, c.Resource}
}

// fly joins or starts the exchange for c.
func (t *Tokens) fly(ctx context.Context, c challenge.Challenge, rejected Token) (Token, error) {
	k, store := t.key(c), t.credential.cache()
	tok, err := share(ctx, t, &store.flights, k, func(ctx context.Context) (Token, error) {
		// Somebody may have landed between our look and this flight.
		if tok, _, err := store.get(k, t.now()); err != nil || tok.Reveal() != "" && tok.Reveal() != rejected.Reveal() {
			return tok, err
		}
		x, began := t.exchange.begin(), time.Now()
		tok, err := exchanged(ctx, t.credential, x, c)
		tok.claims = c.Claims
		t.keep(k, tok, err)
		t.tell(ctx, x, c, wire.Outcome{Began: began, Err: err})
		return tok, err
	})
	return tok, gaveUp(err, opAcquireToken, hostOf(c.Authority))
}

// keep puts the result of an exchange into the cache. It runs before the log record is
// written, as the log handler may be slow or panic.
func (t *Tokens) keep(k key, tok Token, err error) {
	store := t.credential.cache()
	if err == nil {
		store.put(k, tok, t.now())
		return
	}
	store.fail(k)
	if isRefusal(err) {
		store.refuse(k, err, t.now())
	}
}

// refresh gets the next token in the background. A failure does no harm to the token
// that is there.
func (t *Tokens) refresh(k key, c challenge.Challenge) {
	if t.life.Err() != nil {
		return
	}
	store := t.credential.cache()
	store.flights.Go(t.life, flown[key]{key: k, ahead: true}, func(ctx context.Context) (landing[Token], error) {
		x, began := t.exchange.begin(), time.Now()
		tok, err := t.unattended(ctx, x, c)
		if err == nil {
			store.put(k, tok, t.now())
		}
		if t.life.Err() == nil { // else Close ended it
			t.tell(ctx, x, c, wire.Outcome{Began: began, Err: err, Ahead: true})
		}
		return landing[Token]{value: tok, by: t}, err
	})
}

// unattended makes an exchange that no caller waits for, in whose goroutine a panic
// of foreign code could be raised. It becomes a failure, with the stack but not the
// value, which may hold what was sent.
func (t *Tokens) unattended(ctx context.Context, x *exchange, c challenge.Challenge) (tok Token, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = noToken(fmt.Errorf("foreign code panicked with a value of type %T:\n%s", v, debug.Stack()), ekm.Local, hostOf(c.Authority))
		}
	}()
	return exchanged(ctx, t.credential, x, c)
}

// tell writes the record of what x acquired, or did not.
func (t *Tokens) tell(ctx context.Context, x *exchange, c challenge.Challenge, o wire.Outcome) {
	o.Op, o.Seen = opAcquireToken, x.seen
	if e, ok := errors.AsType[*ekm.Error](o.Err); ok {
		o.Seen = e
	} else {
		o.Seen.Code = ekm.CodeOf(o.Err)
		if o.Seen.Party == "" { // a token source's
			o.Seen.Party, o.Seen.Host = ekm.Local, hostOf(c.Authority)
		}
	}
	x.client.Tell(ctx, o)
}

// Known returns what the vault at host demands, if that has led to a token, or if
// it has been learnt just now and a token is on its way. Others who share the
// credential may have learnt it: hold it against your own trust.
func (t *Tokens) Known(host string) (challenge.Challenge, bool) {
	return t.credential.cache().known(host, t.now())
}

// Ask finds out with ask what the vault at host demands, at most once at a time
// for all who share the credential. It keeps nothing: [Tokens.Learn] does, once
// the demand is believed.
func (t *Tokens) Ask(ctx context.Context, host string, ask func(context.Context) (challenge.Challenge, error)) (challenge.Challenge, error) {
	if ctx == nil {
		return challenge.Challenge{}, invalid("the context is nil")
	}
	c, err := share(ctx, t, &t.credential.cache().asks, host, ask)
	c.Claims, c.Error = "", "" // of one answer, not of the vault
	return c, gaveUp(err, "", host)
}

// Learn keeps what the vault at host demands, which the caller believes. If no
// token is got for it, it is forgotten again.
func (t *Tokens) Learn(host string, c challenge.Challenge) {
	c.Claims, c.Error = "", ""
	t.credential.cache().learn(host, t.key(c), c, t.now())
}
