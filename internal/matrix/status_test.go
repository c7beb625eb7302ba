package matrix_test

import (
	"net/http"
	"path/filepath"
	"slices"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/stretchr/testify/require"
)

// statusScenarios are the unwelcome statuses: 3108 to 3113, and 3001.
func statusScenarios() []scenario {
	return slices.Concat(refusalScenarios(), otherOperationScenarios(), forbiddenScenarios(), platformScenarios())
}

// otherOperationScenarios are those of the operations that have no hundred of
// codes of their own.
func otherOperationScenarios() []scenario {
	return []scenario{
		{
			code: ekm.ErrorHttpOperationForbidden, how: "an identity that may not rotate", op: "rotateKey", party: ekm.Vault,
			status: 403, service: "Forbidden/ForbiddenByRbac", run: func(s *scene) error {
				s.fake.Deny(fakevault.OpRotate)
				_, err := s.client(nil).RotateKey(s.Context(), "tde")
				return err
			},
		},
		{
			code: ekm.ErrorHttpResponseCodeClientError, how: "a backup restored where the key still is", op: "restoreKey", party: ekm.Vault,
			status: 409, service: "Conflict", run: func(s *scene) error {
				client := s.client(nil)
				backup, err := client.BackupKey(s.Context(), "tde")
				require.NoError(s, err)
				_, err = client.RestoreKey(s.Context(), backup)
				return err
			},
		},
		{
			code: ekm.ErrorHttpResponseCodeClientError, how: "a backup that no vault has made", op: "restoreKey", party: ekm.Vault,
			status: 400, service: "Malformed backup blob", run: func(s *scene) error {
				_, err := s.client(nil).RestoreKey(s.Context(), []byte("no backup"))
				return err
			},
		},
		{
			code: ekm.ErrorHttpOperationForbidden, how: "an identity that may not list versions", op: "listKeyVersions", party: ekm.Vault,
			status: 403, service: "Forbidden/ForbiddenByRbac", run: func(s *scene) (last error) {
				s.fake.Deny(fakevault.OpVersions)
				for _, err := range s.client(nil).KeyVersions(s.Context(), "tde") {
					last = err
				}
				return last
			},
		},
	}
}

func refusalScenarios() []scenario {
	vault := func(code ekm.Code, status int, service, how string, run func(*scene) error) scenario {
		return scenario{code: code, how: how, op: "getKey", party: ekm.Vault, status: status, service: service, run: run}
	}
	login := func(code ekm.Code, status int, service, how, text string) scenario {
		return scenario{
			code: code, how: how, op: "acquireToken", party: ekm.Authority, status: status, service: service,
			run: func(s *scene) error {
				s.answers(fakevault.OpToken, status, text)
				return s.get(nil)
			},
		}
	}
	answering := func(status int, text string) func(*scene) error {
		return func(s *scene) error {
			s.answers(fakevault.OpGet, status, text)
			return s.get(nil)
		}
	}
	named := func(name string) func(*scene) error {
		return func(s *scene) error {
			_, err := s.client(nil).GetKey(s.Context(), name, "")
			return err
		}
	}
	const appUnknown = `{"error":"unauthorized_client","error_description":"AADSTS700016: Application with identifier 'x' was not found in the directory 'y'."}`
	return []scenario{
		login(ekm.ErrorHttpResponseCodeUnauthorized, 401, "", "a login endpoint that answers 401 and gives no reason", ""),
		vault(ekm.ErrorHttpResponseCodeThrottled, 429, "Throttled", "a vault that answers 429 for as long as it is asked", func(s *scene) error {
			s.fake.Script(fakevault.VaultThrottled(-1))
			return s.get(nil)
		}),
		{
			code: ekm.ErrorHttpResponseCodeThrottled, how: "a login endpoint that answers 429 for as long as it is asked",
			op: "acquireToken", party: ekm.Authority, status: 429, run: func(s *scene) error {
				s.fake.Script(fakevault.EntraThrottled(-1))
				return s.get(nil)
			},
		},
		vault(ekm.ErrorHttpResponseCodeClientError, 400, "BadParameter", "a vault that does not take a request's parameter",
			answering(400, `{"error":{"code":"BadParameter","message":"No."}}`)),
		{
			code: ekm.ErrorHttpResponseCodeClientError, how: "wrapped bytes that the key has not wrapped",
			op: "unwrapKey", party: ekm.Vault, status: 400, service: "BadParameter", run: func(s *scene) error { return s.unwrap(nil) },
		},
		login(ekm.ErrorHttpResponseCodeClientError, 400, "unauthorized_client/AADSTS700016", "a client id that the tenant does not know", appUnknown),
		vault(ekm.ErrorHttpResponseCodeServerError, 500, "", "a vault that answers 500 to every try", answering(500, "")),
		vault(ekm.ErrorHttpResourceNotFound, 404, "KeyNotFound", "a key that is not there", named("no-such-key")),
		vault(ekm.ErrorUnknown, 307, "", "a vault that redirects elsewhere", func(s *scene) error {
			s.fake.Script(fakevault.Fault{
				Operation: fakevault.OpGet, Skip: 1, Status: http.StatusTemporaryRedirect,
				Header: http.Header{"Location": {"https://elsewhere.vault.azure.net/keys/tde"}},
			})
			return s.get(nil)
		}),
		vault(ekm.ErrorUnknown, 204, "", "a vault that answers 204", answering(204, "")),
	}
}

// forbiddenScenarios: one code, since the way out is with whoever administers the
// vault; which way it is, the inner code says.
func forbiddenScenarios() []scenario {
	row := func(how, service string, prepare func(*fakevault.Server)) scenario {
		return scenario{
			code: ekm.ErrorHttpOperationForbidden, how: how, op: "wrapKey", party: ekm.Vault, status: 403, service: service,
			run: func(s *scene) error {
				prepare(s.fake)
				return s.wrap(nil)
			},
		}
	}
	denied := func(why fakevault.Refusal) func(*fakevault.Server) {
		return func(f *fakevault.Server) { f.DenyAs(why, fakevault.OpWrap) }
	}
	return []scenario{
		row("an identity without a role", "Forbidden/ForbiddenByRbac", denied(fakevault.ForbiddenByRbac)),
		row("an identity without an access policy", "Forbidden/ForbiddenByPolicy", denied(fakevault.ForbiddenByPolicy)),
		row("an address that the vault's firewall does not let in", "Forbidden/ForbiddenByFirewall", denied(fakevault.ForbiddenByFirewall)),
		row("a vault behind a private endpoint", "Forbidden/ForbiddenByConnection", denied(fakevault.ForbiddenByConnection)),
		row("a disabled key", "Forbidden/KeyDisabled", func(f *fakevault.Server) { f.DisableKey("tde", "") }),
		row("a key whose operations do not include the one", "Forbidden/KeyOperationForbidden", func(f *fakevault.Server) {
			f.UpdateKey("tde", "", fakevault.KeyUpdate{Ops: []string{"unwrapKey"}})
		}),
		{
			code: ekm.ErrorHttpOperationForbidden, how: "a firewall that refuses before it demands a token",
			op: "getKey", party: ekm.Vault, status: 403, service: "Forbidden/ForbiddenByFirewall", run: func(s *scene) error {
				s.fake.Script(fakevault.Fault{Operation: fakevault.OpGet, Status: 403, Times: -1, Body: `{"error":{"code":"Forbidden","message":"Client address is not authorized and caller is not a trusted service.","innererror":{"code":"ForbiddenByFirewall"}}}`})
				return s.get(nil)
			},
		},
	}
}

// withoutTheKeyFile gets a key with the identity of an Arc server, whose agent
// names a file that is not there.
func (s *scene) withoutTheKeyFile() error {
	folder := s.TempDir()
	s.Setenv("IDENTITY_ENDPOINT", s.fake.ArcURL())
	cred, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.Arc, ArcKeyDirectory: folder})
	require.NoError(s, err)
	agent := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Scheme == "http" {
			return reply(r, 401, "", "WWW-Authenticate", "Basic realm="+filepath.Join(folder, "gone.key")), nil
		}
		return s.fake.Transport().RoundTrip(r)
	})
	_, err = s.clientOf(s.fake.VaultURL(), cred, akv.Options{Transport: agent}).GetKey(s.Context(), "tde", "")
	return err
}

// platformScenarios are those of the platform that gives managed identities.
func platformScenarios() []scenario {
	row := func(code ekm.Code, status int, how, service string, prepare func(*fakevault.Server)) scenario {
		return scenario{
			code: code, how: how, op: "acquireToken", party: ekm.ManagedIdentity, status: status, service: service,
			run: func(s *scene) error {
				prepare(s.fake)
				cred, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.IMDS, ClientID: "11111111-2222-3333-4444-555555555555"})
				require.NoError(s, err)
				_, err = s.clientOf(s.fake.VaultURL(), cred, akv.Options{Transport: s.fake.Transport()}).GetKey(s.Context(), "tde", "")
				return err
			},
		}
	}
	answer := func(status int) func(*fakevault.Server) {
		return func(f *fakevault.Server) {
			f.Script(fakevault.Fault{Operation: fakevault.OpIMDS, Status: status, Times: -1})
		}
	}
	return []scenario{
		row(ekm.ErrorHttpResponseCodeUnauthorized, 401, "an identity endpoint that answers 401", "", answer(401)),
		row(ekm.ErrorHttpResponseCodeClientError, 400, "a managed identity that the machine does not have", "invalid_request", func(*fakevault.Server) {}),
		row(ekm.ErrorHttpResourceNotFound, 404, "an identity endpoint that is being updated for more than 70 seconds", "", answer(404)),
		row(ekm.ErrorHttpResponseCodeServerError, 500, "an identity endpoint that answers 500 to every try", "", answer(500)),
		row(ekm.ErrorUnknown, 302, "an identity endpoint that redirects", "", answer(302)),
		{
			code: ekm.ErrorGetTokenFailedToGetToken, how: "an Arc agent whose key file the account may not read", op: "acquireToken", party: ekm.Local,
			says: "member of the himds group", run: (*scene).withoutTheKeyFile,
		},
	}
}
