package aad

import (
	"context"
	"errors"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
)

// exchanged makes one exchange for a new token with c. Its error tells the kind of
// credential, on which the way out depends.
func exchanged(ctx context.Context, c Credential, x *exchange, demand challenge.Challenge) (Token, error) {
	t, err := c.token(ctx, x, demand)
	e, ok := errors.AsType[*ekm.Error](err)
	if kind := c.kind(); ok && err == error(e) && e.Credential == "" && kind != "" {
		told := *e // a token source may keep its own
		told.Credential = kind
		err = &told
	}
	return t, err
}

func (*clientSecret) kind() ekm.CredentialKind { return ekm.CredentialSecret }
func (*certificate) kind() ekm.CredentialKind  { return ekm.CredentialCertificate }
func (*workload) kind() ekm.CredentialKind     { return ekm.CredentialFederated }
func (*managed) kind() ekm.CredentialKind      { return ekm.CredentialManaged }
func (*foreign) kind() ekm.CredentialKind      { return ekm.CredentialSource }
func (*reloading) kind() ekm.CredentialKind    { return "" } // what it loads tells
