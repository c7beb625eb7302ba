package akv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/wire"
)

// A call is one operation under way.
type call struct {
	operation
	client      *Client
	key         string // the name and version asked for, where the reply must say so
	version     string
	url         string
	body        []byte
	secret      []byte // the part of body that no error may hold
	correlation string
	probed      *wire.Response // the answer to its probe, if it made one
	answer      *wire.Response // once there is one
	sent        *wire.Request  // what was sent last
}

// start makes a call of path, which is escaped; or of link, a URL that the vault
// gave, if it is not empty.
func (c *Client) start(op operation, path, link string) (*call, error) {
	k := &call{operation: op, client: c, correlation: uuid.NewString()}
	size, limit := len(path), c.opts.Limits.Path
	if link != "" {
		size, limit = len(link), c.opts.Limits.URL
	}
	if size > limit {
		return nil, k.fail(op.family.codes().path, "the path, or the link to the next page, has %d bytes, the limit is %d", size, limit)
	}
	if k.url = link; link == "" {
		k.url = c.base + path + "?api-version=" + c.opts.APIVersion
	}
	return k, nil
}

// do carries the call out and returns the body of its answer: what the vault
// demands, a token for it, the operation itself. All errors of a call pass
// through here and [call.explain] but those of decoding.
func (k *call) do(ctx context.Context) ([]byte, error) {
	body, err := k.authorized(ctx)
	if err != nil {
		return nil, k.explain(err)
	}
	codes := k.family.codes()
	if limit := k.family.replyLimit(k.client.opts.Limits); len(body) > limit {
		return nil, k.undecodable(codes.reply, fmt.Sprintf("the reply has %d bytes, the limit is %d", len(body), limit))
	}
	if len(body) == 0 {
		return nil, k.undecodable(codes.empty, "the reply has no body")
	}
	return body, nil
}

func (k *call) authorized(ctx context.Context) ([]byte, error) {
	if ctx == nil {
		return nil, k.invalid("the context is nil")
	}
	demand, err := k.client.demand(ctx, k)
	if err != nil {
		return nil, err
	}
	token, err := k.client.tokens.Get(ctx, demand)
	if err != nil {
		// Perhaps the vault has moved to another tenant, and the old one is gone.
		if e, ok := errors.AsType[*ekm.Error](err); ok && e.Party == ekm.Authority && e.Code == ekm.ErrorHttpResponseCodeClientError {
			k.client.tokens.Forget(k.client.host)
		}
		return nil, err
	}
	// The vault may reject a token once, and once more ask for claims in one.
	for renewed, claimed := false, false; ; {
		resp, err := k.exchange(ctx, token)
		if err != nil {
			return nil, err
		}
		if resp.Status != http.StatusUnauthorized {
			return resp.Body, nil
		}
		if demand, err = k.client.revised(demand, resp); err != nil {
			return nil, err
		}
		if claimed || renewed && demand.Claims == "" {
			return nil, k.rejected(resp)
		}
		renewed, claimed = true, demand.Claims != ""
		if token, err = k.client.tokens.Renew(ctx, demand, token); err != nil {
			return nil, err
		}
	}
}

// exchange sends the call with a token. Status 401 is an answer here.
func (k *call) exchange(ctx context.Context, token aad.Token) (*wire.Response, error) {
	r := k.request()
	r.Apart = k.creates
	if n, limit := len("Bearer ")+len(token.Value), k.client.opts.Limits.Authorization; n > limit {
		return nil, k.fail(k.family.codes().header, "the Authorization header has %d bytes, the limit is %d", n, limit)
	}
	r.Authorization = "Bearer " + token.Value
	k.sent = r
	if r.Body = k.body; r.Body != nil {
		r.ContentType = "application/json"
	}
	resp, err := k.client.wire.Send(ctx, k.client.opts.Retry, r, !k.creates, func(resp *wire.Response) error {
		if resp.Status == http.StatusOK || resp.Status == http.StatusUnauthorized {
			return nil
		}
		return k.client.refused(r, resp)
	})
	k.answer = resp
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

// demand is what the vault demands: preset, known, or asked for with the call's
// own request less token and body. However it became known, it is held against
// this client's own trust.
func (c *Client) demand(ctx context.Context, k *call) (challenge.Challenge, error) {
	if c.preset.Authority != "" {
		return c.preset, nil
	}
	demand, known := c.tokens.Known(c.host)
	if !known {
		var err error
		if demand, err = c.tokens.Challenge(ctx, c.host, func(ctx context.Context) (challenge.Challenge, error) { return c.probe(ctx, k) }); err != nil {
			return challenge.Challenge{}, err
		}
	}
	return demand, c.believe(demand, k)
}

// probe asks the vault what it demands.
func (c *Client) probe(ctx context.Context, k *call) (challenge.Challenge, error) {
	r := k.request()
	if limit := c.opts.Limits.URL; len(r.URL) > limit {
		return challenge.Challenge{}, k.fail(ekm.ErrorGetAADValuesOutOfMemoryConcatPath, "the URL has %d bytes, the limit is %d", len(r.URL), limit)
	}
	resp, err := c.wire.Send(ctx, c.opts.Retry, r, true, func(resp *wire.Response) error {
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
func (c *Client) believe(demand challenge.Challenge, k *call) error {
	if b := c.believed.Load(); b != nil && *b == demand {
		return nil
	}
	if err := c.opts.Trust.Check(demand, c.host); err != nil {
		seen := &wire.Response{Status: http.StatusUnauthorized} // which every challenge comes with
		if k.probed != nil {
			seen = k.probed
		}
		return k.answered(err, seen)
	}
	checked := demand // of its own, so that the usual case allocates nothing
	c.believed.Store(&checked)
	return nil
}

// revised is what the vault demands after it has rejected a token. Its answer
// may name another tenant, may demand claims and leave the rest as it was, or
// may have no challenge at all.
func (c *Client) revised(old challenge.Challenge, resp *wire.Response) (challenge.Challenge, error) {
	demand, err := c.opts.Trust.Parse(resp.Header)
	switch {
	case c.preset.Authority != "" || err == nil && demand.Claims != "":
		// Claims come with a general authorization endpoint ("common"), or none:
		// tenant and resource are those that have been good so far.
		old.Claims = demand.Claims
		return old, nil
	case errors.Is(err, ekm.ErrorHttpQueryHeaderNotFound), errors.Is(err, ekm.ErrorGetAADDomainUrlStartPosition),
		errors.Is(err, ekm.ErrorGetAKVResourceUrlStartPosition):
		old.Claims = "" // it only says that the token is not good
		return old, nil
	case err != nil:
		return old, err
	}
	if err := c.opts.Trust.Check(demand, c.host); err != nil {
		return old, err
	}
	c.tokens.Learn(c.host, demand)
	return demand, nil
}

// rejected is the end of a call whose fresh token the vault does not take.
func (k *call) rejected(resp *wire.Response) error {
	e := k.client.refused(k.last(), resp)
	e.Code, e.Attempts = ekm.ErrorGetTokenRejected, resp.Attempts
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
		e.Status, e.RequestID, e.Region, e.Addresses, e.Attempts = resp.Status, seen.RequestID, seen.Region, seen.Addresses, resp.Attempts
	}
	return err
}
