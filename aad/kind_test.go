package aad_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/challenge"
)

// made takes a credential that cannot but be made.
func made(t *testing.T) func(aad.Credential, error) aad.Credential {
	return func(cred aad.Credential, err error) aad.Credential {
		t.Helper()
		require.NoError(t, err)
		return cred
	}
}

// TestErrorsTellTheCredential: advice depends on what was to prove the identity.
func TestErrorsTellTheCredential(t *testing.T) {
	const id = "11111111-2222-3333-4444-555555555555"
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("canary-federated"), 0o600))
	secret := made(t)(aad.NewClientSecret(id, "s3cret~value"))
	shared := &ekm.Error{Code: ekm.ErrorGetTokenBadCredentials, Party: ekm.Authority}
	for _, c := range []struct {
		name string
		cred aad.Credential
		want ekm.CredentialKind
	}{
		{"client secret", secret, ekm.CredentialSecret},
		{"federated token", made(t)(aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: id, TokenFile: file})), ekm.CredentialFederated},
		{"no federated token", made(t)(aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: id, TokenFile: file + "x"})), ekm.CredentialFederated},
		{"managed identity", made(t)(aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.IMDS})), ekm.CredentialManaged},
		{"what was loaded tells", made(t)(aad.NewReloading(func(context.Context) (aad.Credential, error) { return secret, nil })), ekm.CredentialSecret},
		{"token source", made(t)(aad.NewTokenSource(sourceFunc(func(context.Context, challenge.Challenge) (aad.Token, error) {
			return aad.Token{}, errors.New("locked")
		}))), ekm.CredentialSource},
		{"token source that keeps its error", made(t)(aad.NewTokenSource(sourceFunc(func(context.Context, challenge.Challenge) (aad.Token, error) {
			return aad.Token{}, shared
		}))), ekm.CredentialSource},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tokens := aad.NewTokens(c.cred, &aad.Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					return replyWith(r, 400, nil, `{"error":"unauthorized_client"}`), nil
				})})
				defer tokens.Close()
				_, err := tokens.Get(t.Context(), demand())
				e, ok := errors.AsType[*ekm.Error](err)
				require.True(t, ok, "%v", err)
				assert.Equal(t, c.want, e.Credential)
			})
		})
	}
	assert.Empty(t, shared.Credential, "the source's own error is not changed")
}
