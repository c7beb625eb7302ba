package matrix_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// tokenScenarios are the token request and what becomes of the token: 3300 to 3308.
func tokenScenarios() []scenario {
	return slices.Concat(tokenBudgetScenarios(), badCredentialScenarios(), tokenReplyScenarios(), brokenSourceScenarios(), rejectedTokenScenarios())
}

// tokenBudgetScenarios are 3300 to 3302. The first two are of what was to be sent:
// nobody is asked.
func tokenBudgetScenarios() []scenario {
	tooLong := ekm.ErrorGetTokenOutOfMemoryConcatPath
	row := func(code ekm.Code, how, says string, run func(*scene) error) scenario {
		return scenario{code: code, how: how, op: "acquireToken", party: ekm.Local, says: says, run: run}
	}
	return []scenario{
		row(tooLong, "Limits.URL is 80 bytes", "the limit is 80", func(s *scene) error {
			return s.get(func(o *akv.Options) { o.Limits.URL = 80 }) // enough for the vault's URL
		}),
		row(tooLong, "an authority given with 5,000 characters of tenant", "the limit is 4096", func(s *scene) error {
			return s.get(func(o *akv.Options) { o.Authority = "https://login.microsoftonline.com/" + strings.Repeat("t", 5000) })
		}),
		row(ekm.ErrorGetTokenOutOfMemoryConcatBody, "Limits.Request is 100 bytes", "the limit is 100", func(s *scene) error {
			return s.get(func(o *akv.Options) { o.Limits.Request = 100 })
		}),
		row(ekm.ErrorGetTokenOutOfMemoryConcatBody, "a file of 1 MiB pasted for the client secret", "the limit is 1048576", func(s *scene) error {
			return s.getWithSecret(strings.Repeat("canary-secret~~~", 1<<16))
		}),
		answered(ekm.ErrorGetTokenOutOfMemoryConvertResponseString, "Limits.Token is 100 bytes", "the limit is 100", func(s *scene) error {
			return s.get(func(o *akv.Options) { o.Limits.Token = 100 })
		}),
	}
}

// answered is a row about a reply of the login endpoint that came whole, with
// status 200.
func answered(code ekm.Code, how, says string, run func(*scene) error) scenario {
	return scenario{
		code: code, how: how, op: "acquireToken", party: ekm.Authority, phase: ekm.PhaseDecode, status: 200, says: says, run: run,
	}
}

// getAs gets a key with cred's identity.
func (s *scene) getAs(cred aad.Credential) error {
	s.Helper()
	_, err := s.clientOf(s.fake.VaultURL(), cred, akv.Options{Transport: s.fake.Transport()}).GetKey(s.Context(), "tde", "")
	return err
}

// getWithSecret gets a key with a client secret that is of no use.
func (s *scene) getWithSecret(secret string) error {
	s.Helper()
	s.secret(secret[:min(len(secret), 64)]) // not a part of it either
	cred, err := aad.NewClientSecret(s.fake.ClientID(), secret)
	require.NoError(s, err)
	return s.getAs(cred)
}

// badCredentialScenarios are 3303 by what Entra ID has against the credential:
// the service's own number tells them apart.
func badCredentialScenarios() []scenario {
	row := func(how, number string, run func(*scene) error) scenario {
		return scenario{
			code: ekm.ErrorGetTokenBadCredentials, how: how, op: "acquireToken", party: ekm.Authority, status: 401,
			service: "invalid_client/AADSTS" + number, run: run,
		}
	}
	return []scenario{
		row("a client secret that Entra ID does not know", "7000215", func(s *scene) error {
			return s.getWithSecret("canary~Secret_of.another-application")
		}),
		row("a client secret that has expired", "7000222", func(s *scene) error {
			s.fake.ExpireSecret(s.fake.ClientID())
			return s.get(nil)
		}),
		row("a certificate that is not registered", "700027", func(s *scene) error {
			return s.getAs(s.certified(nil))
		}),
		row("a thumbprint whose registered certificate has expired", "700027", func(s *scene) error {
			old := s.certificate(rsaKey(), time.Minute)
			s.fake.AddCertificate(s.fake.ClientID(), old)
			time.Sleep(time.Hour)
			return s.getAs(s.certified(&aad.CertificateOptions{Thumbprint: hexSHA256(old)}))
		}),
		row("an assertion that is sixteen minutes on its way", "700024", func(s *scene) error {
			cert := s.certificate(rsaKey(), time.Hour)
			s.fake.AddCertificate(s.fake.ClientID(), cert)
			s.fake.Script(fakevault.Fault{Operation: fakevault.OpToken, Delay: 16 * time.Minute}) // it is good for ten, and five of tolerance
			cred := s.signer(rsaKey(), []*x509.Certificate{cert}, nil)
			client := s.clientOf(s.fake.VaultURL(), cred, akv.Options{Transport: s.fake.Transport(), Timeouts: akv.Timeouts{Try: time.Hour}})
			_, err := client.GetKey(s.Context(), "tde", "")
			return err
		}),
		row("a federated token that another key has signed", "50013", (*scene).getFederated),
	}
}

// getFederated gets a key with a workload identity, whose token file somebody
// else has written.
func (s *scene) getFederated() error {
	const issuer, subject = "https://issuer.contoso.example/", "system:serviceaccount:sql:ekm"
	s.fake.AddFederated(s.fake.ClientID(), issuer, subject, "", &rsaKey().PublicKey)
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": issuer, "sub": subject, "aud": "api://AzureADTokenExchange", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(fileKey())
	require.NoError(s, err)
	s.secret(strings.Split(token, ".")...)
	file := filepath.Join(s.TempDir(), "token")
	require.NoError(s, os.WriteFile(file, []byte(token), 0o600))
	return s.getWorkload(file)
}

func (s *scene) getWorkload(file string) error {
	s.Helper()
	cred, err := aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: s.fake.ClientID(), TokenFile: file})
	require.NoError(s, err)
	return s.getAs(cred)
}

// tokenReplyScenarios are replies with status 200 that give no token to use: 3304
// and 3306 to 3308.
func tokenReplyScenarios() []scenario {
	row := func(code ekm.Code, how, says, text string) scenario {
		return answered(code, how, says, func(s *scene) error {
			s.secret("canary-token")
			s.answers(fakevault.OpToken, 200, text)
			return s.get(nil)
		})
	}
	const (
		useless   = ekm.ErrorGetTokenFailedToGetToken
		absent    = ekm.ErrorGetTokenNotFound
		notJSON   = ekm.ErrorGetTokenJsonParser
		malformed = ekm.ErrorGetTokenExtractToken
	)
	return []scenario{
		row(useless, "a token that has expired on arrival", "expired already", `{"access_token":"canary-token","expires_in":0}`),
		row(useless, "a token that is not a bearer's", `"pop", not Bearer`, `{"access_token":"canary-token","token_type":"pop","expires_in":3599}`),
		row(useless, "a token that comes again as its type", "the token's type is", `{"access_token":"canary-token","token_type":"canary-token","expires_in":3599}`),
		row(useless, "a token that comes with an error that repeats it", "a reply with status 200 says", `{"access_token":"canary-token","error":"canary-token","expires_in":3599}`),
		row(useless, "an OAuth error with status 200", `says "server_error"`, `{"error":"server_error","error_description":"AADSTS90033: canary-token"}`),
		row(absent, "a reply without access_token", "no access_token", `{"token_type":"Bearer","expires_in":3599}`),
		row(absent, "an access_token that is null", "no access_token", `{"access_token":null,"expires_in":3599}`),
		row(notJSON, "a login page in place of the token", "not the JSON", "<html>canary-token</html>"),
		row(notJSON, "a token reply cut off", "not the JSON", `{"access_token":"canary-token`),
		row(notJSON, "a token reply without a body", "0 bytes", ""),
		row(malformed, "an access_token that is empty", "cannot be read", `{"access_token":"","expires_in":3599}`),
		row(malformed, "an access_token that is a number", "cannot be read", `{"access_token":5,"expires_in":3599}`),
		row(malformed, "a line break in the access_token", "cannot be read", `{"access_token":"canary-token\r\nX-More: 1","expires_in":3599}`),
		row(malformed, "a token whose end cannot be read", "cannot be read", `{"access_token":"canary-token","expires_on":"tomorrow"}`),
	}
}

// A tokenSource is a foreign source of tokens.
type tokenSource func() (aad.Token, error)

func (f tokenSource) Token(context.Context, challenge.Challenge) (aad.Token, error) { return f() }

func (s *scene) getFrom(source tokenSource) error {
	s.Helper()
	cred, err := aad.NewTokenSource(source)
	require.NoError(s, err)
	return s.getAs(cred)
}

// brokenSourceScenarios are 3304 where the token, or what it is had for, does not
// come from the login endpoint.
func brokenSourceScenarios() []scenario {
	locked := errors.New("the other library's own trouble")
	row := func(how string, cause error, says string, run func(*scene) error) scenario {
		return scenario{
			code: ekm.ErrorGetTokenFailedToGetToken, how: how, op: "acquireToken", party: ekm.Local, cause: cause, says: says, run: run,
		}
	}
	return []scenario{
		row("a token source that fails", locked, "", func(s *scene) error {
			s.secret("canary-token")
			return s.getFrom(func() (aad.Token, error) { return aad.NewToken("canary-token", time.Time{}), locked })
		}),
		row("a token source whose token has expired", nil, "expired already, at 1999-12-31T23:59:00Z", func(s *scene) error {
			s.secret("canary-token")
			return s.getFrom(func() (aad.Token, error) {
				return aad.NewToken("canary-token", time.Now().Add(-time.Minute)), nil // virtual time begins in 2000
			})
		}),
		row("a federated token's file that is not there", fs.ErrNotExist, "the federated token", func(s *scene) error {
			return s.getWorkload(filepath.Join(s.TempDir(), "token"))
		}),
		row("a federated token's file that is empty", nil, "is empty", func(s *scene) error {
			file := filepath.Join(s.TempDir(), "token")
			require.NoError(s, os.WriteFile(file, []byte("\n"), 0o600))
			return s.getWorkload(file)
		}),
		row("a credential's file that is gone", fs.ErrNotExist, "the credential's file", (*scene).getLost),
	}
}

// getLost gets a key with a file that was there when the program began.
func (s *scene) getLost() error {
	file := filepath.Join(s.TempDir(), "secret")
	require.NoError(s, os.WriteFile(file, []byte(s.fake.ClientSecret()), 0o600))
	cred, err := aad.NewReloadingFile(file, func(text []byte) (aad.Credential, error) {
		return aad.NewClientSecret(s.fake.ClientID(), string(bytes.TrimSpace(text)))
	})
	require.NoError(s, err)
	require.NoError(s, os.Remove(file))
	return s.getAs(cred)
}

// rejectedTokenScenarios are 3305: the vault's 401 to one token and to another.
func rejectedTokenScenarios() []scenario {
	row := func(how string, run func(*scene) error) scenario {
		return scenario{
			code: ekm.ErrorGetTokenRejected, how: how, op: "getKey", party: ekm.Vault, status: 401, service: "Unauthorized", run: run,
		}
	}
	return []scenario{
		row("tokens that are revoked before the vault sees them", func(s *scene) error {
			return s.beforeVault(s.fake.RevokeTokens)
		}),
		row("a vault that never resolves the key that tokens are signed with (AKV10046)", func(s *scene) error {
			s.fake.Script(fakevault.UnresolvedSigningKey(-1))
			return s.get(nil)
		}),
		row("tokens for another service (AKV10022)", func(s *scene) error {
			return s.getFrom(func() (aad.Token, error) {
				return aad.NewToken(s.fake.IssueToken("https://management.azure.com"), time.Now().Add(time.Hour)), nil
			})
		}),
		row("a vault that asks for other claims each time", func(s *scene) error {
			return s.beforeVault(func() {
				time.Sleep(time.Second) // for the claims have a time in them
				s.fake.RevokeTokensWithClaims()
			})
		}),
	}
}

// beforeVault gets a key; do happens before each request to the vault.
func (s *scene) beforeVault(do func()) error {
	s.Helper()
	return s.get(func(o *akv.Options) {
		o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == s.fake.VaultHost() {
				do()
			}
			return s.fake.Transport().RoundTrip(r)
		})
	})
}
