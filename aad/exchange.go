package aad

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/proxy"
	"github.com/akv-ekm/ekm/retry"
)

// opAcquireToken is what the connector's event log calls this operation.
const opAcquireToken = "acquireToken"

// An exchange makes token requests: OAuth 2.0 client credentials, RFC 6749, 4.4,
// with what Microsoft's page "OAuth 2.0 client credentials flow on the Microsoft
// identity platform" adds.
type exchange struct {
	client                       *wire.Client // to the authority
	direct                       *wire.Client // to the platform, past any proxy
	policy                       retry.Policy
	v1                           bool
	maxURL, maxRequest, maxReply int
	now                          func() time.Time
	seen                         *ekm.Error // for the log: who gave the token, of one acquisition alone
}

// begin is x for one acquisition of a token.
func (x *exchange) begin() *exchange {
	own := *x
	own.seen = new(ekm.Error)
	return &own
}

func newExchange(o *Options) *exchange {
	x := &exchange{
		policy: o.Retry, v1: o.V1, now: time.Now,
		maxURL:     orDefault(o.MaxURL, 4<<10),
		maxRequest: orDefault(o.MaxRequest, 1<<20),
		maxReply:   orDefault(o.MaxReply, 64<<10),
	}
	transport := o.Transport
	if transport == nil {
		selector := o.Proxy
		if selector == nil {
			selector = proxy.New(proxy.Settings{}) // which keeps what it has read
		}
		transport = wire.Trusting(o.RootCAs, wire.NewTransport(selector.Proxy, o.Timeouts, o.Wire))
	}
	x.client = &wire.Client{
		Transport: transport, Own: o.Transport == nil, Gate: new(retry.Gate),
		Limits: o.Wire, Timeouts: o.Timeouts, UserAgent: o.UserAgent, Logger: o.Logger, Success: o.SuccessLevel,
	}
	// The platform serves this machine alone: there is nobody to queue behind.
	x.direct = &wire.Client{
		Transport: transport,
		Limits:    o.Wire, Timeouts: o.Timeouts, UserAgent: o.UserAgent, Logger: o.Logger,
	}
	if given, ok := o.Transport.(*http.Transport); ok { // of another kind, it decides for itself
		past := given.Clone()
		past.Proxy = nil
		x.direct.Transport, x.direct.Own = past, true
	} else if o.Transport == nil {
		// The platform's endpoint is one hop away, or this machine has none and
		// each try would last until the packets are given up.
		near := o.Timeouts
		if near.Dial <= 0 || near.Dial > 2*time.Second {
			near.Dial = 2 * time.Second
		}
		x.direct.Transport, x.direct.Own = wire.Trusting(o.RootCAs, wire.NewTransport(nil, near, o.Wire)), true
	}
	for _, c := range []*wire.Client{x.client, x.direct} {
		c.Transport = wire.Hide(c.Transport)
		c.Wrap(o.Wrap)
	}
	if o.Transport == nil {
		x.client.CloseWhenDropped()
		x.direct.CloseWhenDropped()
	}
	return x
}

// endpoint is the token endpoint of c's authority, and an assertion's audience.
func (x *exchange) endpoint(c challenge.Challenge) string {
	if x.v1 {
		return c.Authority + "/oauth2/token"
	}
	return c.Authority + "/oauth2/v2.0/token"
}

// A proof is the part of a token request that proves the identity, and those of
// its values that must not come back in an error.
type proof func(context.Context) (form url.Values, secrets []string, err error)

// post asks c's authority for a token. prove is called for each try: an assertion
// that the authority has seen once it may take for a replay.
func (x *exchange) post(ctx context.Context, c challenge.Challenge, prove proof) (Token, error) {
	r := &wire.Request{
		Op: opAcquireToken, Party: ekm.Authority,
		Method: http.MethodPost, URL: x.endpoint(c),
		ContentType: "application/x-www-form-urlencoded", Correlation: uuid.NewString(),
	}
	r.Header = http.Header{"Client-Request-Id": {r.Correlation}}
	if len(r.URL) > x.maxURL {
		return Token{}, x.tooLongURL(r)
	}
	sent := r
	resp, err := x.client.Retry(ctx, x.client.Call(x.policy, true), r, func(ctx context.Context) (*wire.Response, error) {
		form, secrets, err := prove(ctx)
		if err != nil {
			return nil, err
		}
		// A request of its own: the last try's may still be on its way.
		try := *r
		sent = &try
		try.Body, try.Secrets = []byte(x.complete(form, c)), secrets
		if len(try.Body) > x.maxRequest {
			return nil, unsent(r, ekm.ErrorGetTokenOutOfMemoryConcatBody, "the token request has %d bytes, the limit is %d (Limits.Request)", len(try.Body), x.maxRequest)
		}
		resp, err := x.client.Do(ctx, &try)
		if err == nil && resp.Status != http.StatusOK {
			err = x.refused(&try, resp)
		}
		return resp, err
	})
	if err != nil {
		return Token{}, err
	}
	return x.read(sent, resp, x.now())
}

// complete is the body of a token request: the proof and what is asked for.
func (x *exchange) complete(form url.Values, c challenge.Challenge) string {
	form.Set("grant_type", "client_credentials")
	if x.v1 {
		form.Set("resource", c.Resource)
	} else {
		form.Set("scope", c.Scope)
	}
	if !x.v1 || c.Claims != "" {
		form.Set("claims", capable(c.Claims))
	}
	return form.Encode()
}

func (x *exchange) tooLongURL(r *wire.Request) error {
	return unsent(r, ekm.ErrorGetTokenOutOfMemoryConcatPath, "the token endpoint's URL has %d bytes, the limit is %d (Limits.URL)", len(r.URL), x.maxURL)
}

// unsent makes the error of a token exchange that this client's limits forbid.
func unsent(r *wire.Request, code ekm.Code, format string, args ...any) error {
	return &ekm.Error{
		Code: code, Op: r.Op, Party: ekm.Local, Host: hostOf(r.URL), CorrelationID: r.Correlation,
		Time: time.Now(), Err: fmt.Errorf(format, args...),
	}
}

// fail makes the error of a reply that is of no use.
func (x *exchange) fail(r *wire.Request, code ekm.Code, format string, args ...any) error {
	return &ekm.Error{
		Code: code, Op: r.Op, Party: r.Party, Host: hostOf(r.URL), CorrelationID: r.Correlation,
		Time: time.Now(), Err: fmt.Errorf(format, args...),
	}
}

// capable is the claims request that tells Entra ID of a client which can answer
// continuous access evaluation ("cp1"), merged with what a challenge demands.
// demanded is valid JSON or empty, see challenge.Challenge.
func capable(demanded string) string {
	const plain = `{"access_token":{"xms_cc":{"values":["cp1"]}}}`
	if demanded == "" {
		return plain
	}
	var claims map[string]any
	if json.Unmarshal([]byte(demanded), &claims) != nil || claims == nil {
		return plain
	}
	access, _ := claims["access_token"].(map[string]any)
	if access == nil {
		access = make(map[string]any)
	}
	access["xms_cc"] = map[string]any{"values": []string{"cp1"}}
	claims["access_token"] = access
	merged, err := json.Marshal(claims)
	if err != nil {
		return plain
	}
	return string(merged)
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.Host, ":443")
}

func orDefault(n, def int) int {
	if n > 0 {
		return n
	}
	return def
}
