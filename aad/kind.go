package aad

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/wire"
)

// exchanged gets a new token with c. Its error has the kind of credential, on which the
// advice depends, and the number of all exchanges that were made for the token.
func exchanged(ctx context.Context, c Credential, x *exchange, demand challenge.Challenge) (Token, error) {
	var made atomic.Int32
	t, err := c.token(wire.Counting(ctx, &made), x, demand)
	wire.Count(ctx, made.Load())
	if err == nil {
		x.seen.Attempts = int(made.Load())
		if k := c.kind(); k != "" {
			x.seen.Credential = k
		}
		return t, nil
	}
	e, ok := errors.AsType[*ekm.Error](err)
	if !ok || err != error(e) {
		return t, err
	}
	kind, attempts := e.Credential, e.Attempts
	if kind == "" {
		kind = c.kind()
	}
	if c.kind() != ekm.CredentialSource { // which has counted its own
		attempts = int(made.Load())
	}
	if kind == e.Credential && attempts == e.Attempts {
		return t, err
	}
	told := *e // a token source may keep its own
	told.Credential, told.Attempts = kind, attempts
	return t, &told
}

func (*clientSecret) kind() ekm.CredentialKind { return ekm.CredentialSecret }
func (*certificate) kind() ekm.CredentialKind  { return ekm.CredentialCertificate }
func (*workload) kind() ekm.CredentialKind     { return ekm.CredentialFederated }
func (*managed) kind() ekm.CredentialKind      { return ekm.CredentialManaged }
func (*foreign) kind() ekm.CredentialKind      { return ekm.CredentialSource }
func (*reloading) kind() ekm.CredentialKind    { return "" } // what it loads tells
