package akv

import (
	"strings"

	"github.com/akv-ekm/ekm/aad"
)

// NewSQLClient makes a client of what a SQL Server credential holds:
//
//	CREATE CREDENTIAL name WITH IDENTITY = 'identity', SECRET = 'secret' FOR CRYPTOGRAPHIC PROVIDER ...
//
// identity is the vault's name, or its host in a sovereign cloud or of a managed
// HSM, and secret as [aad.ParseSecret] takes it. Or identity is "Managed
// Identity"; then name is the vault's host, and secret must be empty. A URL, as
// the portal shows it, is accepted for a host. opts may be nil.
//
// Errors are those of [aad.ParseSecret] or [aad.NewManagedIdentity], and of
// [NewClient].
func NewSQLClient(name, identity, secret string, opts *Options) (*Client, error) {
	if !strings.EqualFold(strings.TrimSpace(identity), "Managed Identity") {
		cred, err := aad.ParseSecret(secret)
		if err != nil {
			return nil, err
		}
		return NewClient(identity, cred, opts)
	}
	if secret != "" {
		return nil, invalid("a credential with IDENTITY = 'Managed Identity' has no SECRET")
	}
	cred, err := aad.NewManagedIdentity(nil)
	if err != nil {
		return nil, err
	}
	return NewClient(name, cred, opts)
}
