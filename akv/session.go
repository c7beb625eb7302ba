package akv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/retry"
)

// A call is one operation under way.
type call struct {
	operation
	client      *Client
	began       time.Time // if there is a log
	key         string    // the name and version asked for, where the reply must say so
	version     string
	url         string // once name and version are found to be good
	body        []byte
	secret      []byte // the part of body that no error may hold
	correlation string
	demand      challenge.Challenge
	retold      bool           // the vault was asked a second time what it demands
	probed      *wire.Response // the answer to its probe, if it made one
	answer      *wire.Response // once there is one
	sent        *wire.Request  // what was sent last
	token       aad.Token      // the last one
	tries       *retry.Call
	made        atomic.Int32 // exchanges, those for challenge and token included
}

// call begins op on a version of the key name. Each ends with [call.told].
func (c *Client) call(op operation, name, version string) *call {
	k := &call{operation: op, client: c, key: name, version: version}
	if c.wire.Logger != nil {
		k.began = time.Now()
	}
	return k
}

// start gives the call its path, which is escaped; or link, a URL that the vault
// gave, if it is not empty.
func (k *call) start(path, link string) error {
	c := k.client
	k.correlation = uuid.NewString()
	k.tries = c.wire.Call(c.opts.Retry, !k.creates)
	if k.creates {
		k.tries.Gate = nil // it has a limit of its own
	}
	size, limit, field := len(path), c.opts.Limits.Path, "Path"
	if link != "" {
		size, limit, field = len(link), c.opts.Limits.URL, "URL"
	}
	if size > limit {
		return k.fail(k.family.codes().path, "the path, or the link to the next page, has %d bytes, the limit is %d (Limits.%s)", size, limit, field)
	}
	if k.url = link; link == "" {
		k.url = c.base + path + "?api-version=" + c.opts.APIVersion
	}
	return nil
}

// do carries the call out and returns the body of its answer: what the vault
// demands, a token for it, the operation itself. All errors of a call pass
// through here and [call.explain] but those of decoding.
func (k *call) do(ctx context.Context) ([]byte, error) {
	if ctx == nil {
		return nil, k.explain(k.invalid("the context is nil"))
	}
	body, err := k.authorized(wire.Counting(ctx, &k.made))
	if err != nil {
		return nil, k.explain(err)
	}
	codes := k.family.codes()
	if limit, field := k.family.replyLimit(k.client.opts.Limits); len(body) > limit {
		return nil, k.undecodable(codes.reply, fmt.Sprintf("the reply has %d bytes, the limit is %d (Limits.%s)", len(body), limit, field))
	}
	if len(body) == 0 {
		return nil, k.undecodable(codes.empty, "the reply has no body")
	}
	return body, nil
}

// errTokenGone ends a turn at the gate.
var errTokenGone = errors.New("the token has expired while the call waited for its turn")

func (k *call) authorized(ctx context.Context) ([]byte, error) {
	if err := k.identify(ctx); err != nil {
		return nil, err
	}
	// The vault may reject a token, and the next one too if it then wants claims in
	// it, or other claims than those of the caller whose renewal this one shared.
	for renewals, claimed := 0, false; ; {
		resp, err := k.exchange(ctx)
		if err != nil {
			return nil, err
		}
		if resp.Status != http.StatusUnauthorized {
			return resp.Body, nil
		}
		if err := k.revise(resp); err != nil {
			return nil, err
		}
		if renewals == 2 || renewals == 1 && (claimed || k.demand.Claims == "") {
			return nil, k.rejected(resp)
		}
		renewals++
		if k.token, claimed, err = k.client.tokens.Renew(ctx, k.demand, k.token); err != nil {
			if err = k.ask(ctx, k.demand, err); err != nil {
				return nil, err
			}
			renewals = 0 // in another tenant
		}
		claimed = claimed && k.demand.Claims != ""
	}
}

// identify finds out what the vault demands and gets a token for it.
func (k *call) identify(ctx context.Context) (err error) {
	c := k.client
	if k.demand = c.preset; k.demand.Authority != "" {
		k.token, err = c.tokens.Get(ctx, k.demand)
		return err
	}
	known, ok := c.tokens.Known(c.host)
	if ok && c.believe(known) == nil { // others may have learnt it, whose trust is another
		k.demand = known
		if k.token, err = c.tokens.Get(ctx, known); err == nil {
			return nil
		}
	}
	return k.ask(ctx, known, err)
}

// ask asks the vault what it demands and gets a token for that. It is called in two cases.
// Nothing is known: then failure is nil. Or no token could be had for the known demand:
// then failure says why, and the vault may have moved to another tenant. After a failure
// ask asks the vault at most once in a call, and returns the failure if the vault demands
// nothing new.
func (k *call) ask(ctx context.Context, known challenge.Challenge, failure error) error {
	c := k.client
	if failure != nil {
		if k.retold || c.preset.Authority != "" || ctx.Err() != nil {
			return failure
		}
		k.retold = true
	}
	known.Claims, known.Error = "", "" // of a rejected token
	k.probed = nil
	fresh, err := c.tokens.Ask(ctx, c.host, func(ctx context.Context) (challenge.Challenge, error) {
		return k.learn(ctx, known)
	})
	switch {
	case failure != nil && (err != nil || fresh == known):
		return failure
	case err != nil:
		return err
	}
	if err := c.believe(fresh); err != nil {
		seen := k.probed
		if seen == nil { // another call's probe, answered as every challenge is
			seen = &wire.Response{Status: http.StatusUnauthorized}
		}
		return k.answered(err, seen)
	}
	c.tokens.Learn(c.host, fresh) // if the one who asked has another trust
	k.demand = fresh
	k.token, err = c.tokens.Get(ctx, fresh)
	return err
}

// learn asks the vault what it demands. If the client trusts the answer, learn keeps it
// before the next caller can ask the same question. If another caller has kept an answer
// that differs from known, learn returns that one without asking.
func (k *call) learn(ctx context.Context, known challenge.Challenge) (challenge.Challenge, error) {
	c := k.client
	if kept, ok := c.tokens.Known(c.host); ok && kept != known && c.believe(kept) == nil {
		return kept, nil
	}
	fresh, err := k.probe(ctx)
	if err == nil && fresh != known && c.believe(fresh) == nil {
		c.tokens.Learn(c.host, fresh)
	}
	return fresh, err
}

// exchange sends the call with the newest token when its turn has come. Status 401
// is an answer here.
func (k *call) exchange(ctx context.Context) (*wire.Response, error) {
	r := k.request()
	if r.Body = k.body; r.Body != nil {
		r.ContentType = "application/json"
	}
	r.Once = k.creates
	if k.family == backupFamily {
		// Longer ones than allowed are read too, within reason, so that the error
		// names the limit to raise.
		r.MaxReply = max(32<<20, 2*int64(k.client.opts.Limits.Backup))
	}
	// A token that has expired in the queue is replaced outside, as others may use
	// the turn meanwhile. After some times the last one must do.
	const replaced = 3
	for n := 0; ; n++ {
		resp, err := k.client.wire.Retry(ctx, k.tries, r, func(ctx context.Context) (*wire.Response, error) {
			newest, ok := k.client.tokens.Cached(k.demand)
			switch {
			case ok:
				k.token = newest
			case n < replaced:
				return nil, errTokenGone
			}
			return k.once(ctx, *r)
		})
		if errors.Is(err, errTokenGone) {
			if k.token, err = k.client.tokens.Get(ctx, k.demand); err != nil {
				err = k.ask(ctx, k.demand, err)
			}
			if err == nil {
				continue
			}
		}
		k.answer = resp
		return resp, err
	}
}

// once makes one try. r is a copy: the last try's may still be on its way.
func (k *call) once(ctx context.Context, r wire.Request) (*wire.Response, error) {
	r.Authorization = "Bearer " + k.token.Reveal()
	if n, limit := len(r.Authorization), k.client.opts.Limits.Authorization; n > limit {
		return nil, k.fail(k.family.codes().header, "the Authorization header has %d bytes, the limit is %d (Limits.Authorization)", n, limit)
	}
	k.sent = &r
	resp, err := k.client.wire.Do(ctx, &r)
	if err == nil && resp.Status != http.StatusOK && resp.Status != http.StatusUnauthorized {
		err = k.client.refused(&r, resp)
	}
	return resp, err
}

// request is the call's request without token and body.
func (k *call) request() *wire.Request {
	return &wire.Request{
		Op: k.name, Party: ekm.Vault, Host: k.client.host,
		Method: k.method, URL: k.url, Correlation: k.correlation, Secret: k.secret,
	}
}

// last is the request that was sent last, whose secrets no error may hold.
func (k *call) last() *wire.Request {
	if k.sent != nil {
		return k.sent
	}
	return k.request()
}

// probe asks the vault what it demands, with the call's own request less token and
// body.
func (k *call) probe(ctx context.Context) (challenge.Challenge, error) {
	c, r := k.client, k.request()
	if limit := c.opts.Limits.URL; len(r.URL) > limit {
		return challenge.Challenge{}, k.fail(ekm.ErrorGetAADValuesOutOfMemoryConcatPath, "the URL has %d bytes, the limit is %d (Limits.URL)", len(r.URL), limit)
	}
	resp, err := c.wire.Send(ctx, c.wire.Call(c.opts.Retry, true), r, func(resp *wire.Response) error {
		// An answer without a challenge, whatever else it says, has its own code.
		if resp.Status == http.StatusUnauthorized || resp.Status == http.StatusOK {
			return nil
		}
		return c.refused(r, resp)
	})
	if err != nil {
		return challenge.Challenge{}, err
	}
	// Form alone is checked here: whether to believe it is for each client that
	// shares the answer to say.
	k.probed, k.sent = resp, r
	demand, err := c.opts.Trust.Parse(resp.Header)
	return demand, k.answered(err, resp)
}

// believe holds a demand against the client's trust, once for each new demand.
func (c *Client) believe(demand challenge.Challenge) error {
	if b := c.believed.Load(); b != nil && *b == demand {
		return nil
	}
	if err := c.opts.Trust.Check(demand, c.domainHost()); err != nil {
		return err
	}
	checked := demand // of its own, so that the usual case allocates nothing
	c.believed.Store(&checked)
	return nil
}

// revise takes what the vault demands from its answer to a token that it rejects. The
// answer may name another tenant, may demand claims and leave the rest as it was, or
// may have no challenge at all.
func (k *call) revise(resp *wire.Response) error {
	c := k.client
	demand, err := c.opts.Trust.Parse(resp.Header)
	switch {
	case c.preset.Authority != "" || err == nil && demand.Claims != "":
		// Claims come with a general authorization endpoint ("common"), or none:
		// tenant and resource are those that have been good so far.
		k.demand.Claims = demand.Claims
		return nil
	case errors.Is(err, ekm.ErrorHttpQueryHeaderNotFound), errors.Is(err, ekm.ErrorGetAADDomainUrlStartPosition),
		errors.Is(err, ekm.ErrorGetAKVResourceUrlStartPosition):
		k.demand.Claims = "" // it only says that the token is not good
		return nil
	case err != nil:
		return err
	}
	if err := c.opts.Trust.Check(demand, c.domainHost()); err != nil {
		return err
	}
	c.tokens.Learn(c.host, demand)
	k.demand, k.retold = demand, true
	return nil
}

// rejected is the end of a call whose fresh token the vault does not take.
func (k *call) rejected(resp *wire.Response) error {
	e := k.client.refused(k.last(), resp)
	e.Code = ekm.ErrorGetTokenRejected
	return e
}

// fail makes an error of the call's own.
func (k *call) fail(code ekm.Code, format string, args ...any) error {
	return k.explain(&ekm.Error{Code: code, Party: ekm.Local, Err: fmt.Errorf(format, args...)})
}

// explain fills in what the layers below do not know. Their error may be shared
// with other callers, so it is copied.
func (k *call) explain(err error) error {
	e, ok := errors.AsType[*ekm.Error](err)
	if !ok {
		return err
	}
	full := *e
	full.Attempts = int(k.made.Load())
	if full.Op == "" {
		full.Op = k.name
	}
	if full.Party == ekm.Vault && full.Host == "" {
		full.Host = k.client.host
	}
	if full.CorrelationID == "" && (full.Party == ekm.Vault || full.Party == ekm.Local) {
		full.CorrelationID = k.correlation // others were not sent it
	}
	if full.Time.IsZero() {
		full.Time = time.Now()
	}
	if full.Party == ekm.Vault && full.Phase == ekm.PhaseDecode {
		// Such an error quotes what the vault wrote, which may be what it was sent.
		full.Err = k.last().Redact(full.Err)
	}
	if k.answer != nil && full.Party == ekm.Vault && full.Status == 0 && full.Phase == ekm.PhaseDecode {
		return k.answered(&full, k.answer)
	}
	return &full
}

// answered adds to an error about an answer what the answer says of itself.
func (k *call) answered(err error, resp *wire.Response) error {
	if e, ok := errors.AsType[*ekm.Error](err); ok {
		seen := k.client.wire.Refusal(k.last(), resp)
		e.Status, e.RequestID, e.Region, e.Addresses = resp.Status, seen.RequestID, seen.Region, seen.Addresses
	}
	return err
}
