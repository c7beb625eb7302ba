package matrix_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// advice is which parties' failures each text was given for.
type advice map[string]map[ekm.Party]bool

// foreign are words of remedies that a party's failure must not be given.
var foreign = map[ekm.Party][]string{
	ekm.Vault:           {"client secret", "ALTER CREDENTIAL", "SECRET", "app registration", "App registrations", "login endpoint", "identity endpoint"},
	ekm.Authority:       {"wrapKey", "key name", "deleted keys", "Crypto", "several vaults", "az keyvault", "identity endpoint"},
	ekm.ManagedIdentity: {"wrapKey", "key name", "deleted keys", "Crypto", "several vaults", "secret", "SECRET", "certificate", "hyphens", "login endpoint"},
	ekm.Proxy:           {"wrapKey", "key name", "deleted keys", "secret", "SECRET", "ALTER CREDENTIAL"},
}

func (a advice) add(t *testing.T, e *ekm.Error) {
	t.Helper()
	text := e.Advice()
	for _, word := range foreign[e.Party] {
		assert.NotContains(t, text, word, "the advice for %s", e.Party)
	}
	if e.Credential == ekm.CredentialFederated || e.Credential == ekm.CredentialManaged {
		for _, word := range []string{"secret", "SECRET", "certificate", "Certificate", "ALTER CREDENTIAL"} {
			assert.NotContains(t, text, word, "the advice for a %s", e.Credential)
		}
	}
	if e.Code == ekm.SCPErrInvalidArgument && e.Credential != ekm.CredentialSecret {
		assert.NotContains(t, text, "SECRET", "only who has one is told about it")
	}
	if a[text] == nil {
		a[text] = make(map[ekm.Party]bool)
	}
	a[text][e.Party] = true
}

// check: a text that two parties share names neither. Local failures are those of
// this machine on the way to somebody, who may be named.
func (a advice) check(t *testing.T) {
	for text, parties := range a {
		delete(parties, ekm.Local)
		if len(parties) < 2 {
			continue
		}
		for _, word := range []string{"vault", "login", "Entra", "identity endpoint"} {
			assert.NotContains(t, text, word, "shared by %v", slices.Collect(maps.Keys(parties)))
		}
	}
}

// adviceScenarios are failures whose codes are reached elsewhere, and whose advice
// once was another party's.
func adviceScenarios() []scenario {
	return slices.Concat(keyAdviceScenarios(), loginAdviceScenarios(), federationScenarios(), platformAdviceScenarios())
}

// keyAdviceScenarios: roles do not help a key that is outside its time, nor do Azure's
// at a managed HSM.
func keyAdviceScenarios() []scenario {
	row := func(how, inner, advice string, update fakevault.KeyUpdate) scenario {
		return scenario{
			code: ekm.ErrorHttpOperationForbidden, how: how, op: "wrapKey", party: ekm.Vault, status: 403,
			service: "Forbidden/" + inner, advice: advice, run: func(s *scene) error {
				s.fake.UpdateKey("tde", "", update)
				return s.wrap(nil)
			},
		}
	}
	return []scenario{
		row("a key that has expired", "KeyExpired", "--expires", fakevault.KeyUpdate{Expires: new(time.Unix(1, 0))}),
		row("a key that is not active yet", "KeyNotYetValid", "--not-before", fakevault.KeyUpdate{NotBefore: new(time.Unix(1<<33, 0))}),
		{
			code: ekm.ErrorHttpOperationForbidden, how: "an identity without a local role of a managed HSM", op: "getKey", party: ekm.Vault, status: 403,
			service: "Forbidden/ForbiddenByRbac", advice: "--hsm-name NAME --role", run: func(s *scene) error {
				s.fake = fakevault.New(fakevault.Options{VaultHost: "fakehsm.managedhsm.azure.net"})
				s.Cleanup(s.fake.Close)
				s.fake.Deny()
				return s.get(nil)
			},
		},
	}
}

// loginAdviceScenarios: what the login endpoint's statuses and numbers need is never
// what the vault's do.
func loginAdviceScenarios() []scenario {
	row := func(code ekm.Code, status int, how, service, advice, text string) scenario {
		return scenario{
			code: code, how: how, op: "acquireToken", party: ekm.Authority, status: status, service: service, advice: advice,
			run: func(s *scene) error {
				s.answers(fakevault.OpToken, status, text)
				return s.get(nil)
			},
		}
	}
	said := func(code ekm.Code, status int, how, oauth string, number int, advice string) scenario {
		return row(code, status, how, fmt.Sprint(oauth, "/AADSTS", number), advice,
			fmt.Sprintf(`{"error":%q,"error_description":"AADSTS%d: words.","error_codes":[%[2]d]}`, oauth, number))
	}
	const bad, wrong = ekm.ErrorGetTokenBadCredentials, ekm.ErrorHttpResponseCodeClientError
	return []scenario{
		row(ekm.ErrorHttpOperationForbidden, 403, "a proxy that answers 403 for the login endpoint", "", "does not answer 403", ""),
		row(ekm.ErrorHttpResourceNotFound, 404, "a login host without a token endpoint", "", "V1 option", ""),
		row(ekm.ErrorHttpResponseCodeServerError, 500, "a login endpoint that answers 500 to every try", "", "trace id", ""),
		row(wrong, 400, "a login endpoint that gives no number", "invalid_request", "Check the client id", `{"error":"invalid_request"}`),
		said(wrong, 400, "an application without a service principal in the vault's tenant", "invalid_client", 7000229, "az ad sp create"),
		said(bad, 401, "a policy that blocks the service principal", "invalid_client", 53003, "Conditional Access"),
		said(bad, 401, "a certificate whose issuer is not the application's", "invalid_client", 700030, "subject name"),
		said(bad, 401, "a certificate outside its time, as the login endpoint sees it", "invalid_client", 1000502, "outside its time"),
		said(bad, 401, "a disabled device", "invalid_client", 135011, "Devices"),
		said(bad, 401, "a managed identity's client id with a client secret", "invalid_client", 7000232, "IDENTITY = 'Managed Identity'"),
		said(wrong, 400, "an account that the tenant does not have", "invalid_grant", 50034, "an account"),
		said(wrong, 400, "a request without one of its fields", "invalid_request", 90014, "request bodies"),
		said(wrong, 400, "a request without a parameter", "invalid_request", 900144, "request bodies"),
		said(wrong, 400, "two applications in one request", "invalid_request", 7000110, "one application"),
		said(wrong, 400, "a token for somebody else", "invalid_grant", 7000114, "on behalf of"),
		said(wrong, 400, "a tenant that the proxy's header does not list", "invalid_request", 500021, "Restrict-Access-To-Tenants"),
	}
}

// federationScenarios are refusals of a workload identity, which has neither
// secret nor certificate.
func federationScenarios() []scenario {
	row := func(code ekm.Code, status, number int, how, advice string) scenario {
		return scenario{
			code: code, how: how, op: "acquireToken", party: ekm.Authority, status: status,
			service: fmt.Sprint("invalid_request/AADSTS", number), advice: advice, run: func(s *scene) error {
				s.answers(fakevault.OpToken, status, fmt.Sprintf(`{"error":"invalid_request","error_description":"AADSTS%d: words.","error_codes":[%[1]d]}`, number))
				return s.getFederated()
			},
		}
	}
	const wrong, bad = ekm.ErrorHttpResponseCodeClientError, ekm.ErrorGetTokenBadCredentials
	return []scenario{
		row(wrong, 400, 700211, "a federated token of an issuer that the application does not trust", "issuers"),
		row(wrong, 400, 700212, "a federated token for another audience", "api://AzureADTokenExchange"),
		row(wrong, 400, 700213, "a federated token of another subject", "subjects"),
		row(wrong, 400, 7002137, "a federated token whose subject has another form", "subjects"),
		row(bad, 401, 7002138, "a federated token whose subject differs in letter case", "letter case"),
		row(wrong, 400, 70021, "a federated token that no federated credential matches", "issuer, subject and audience"),
		row(wrong, 400, 70025, "an application without federated credentials", "Add a federated credential"),
		row(bad, 401, 700025, "a workload identity whose application is a public client", "Allow public client flows"),
		row(bad, 401, 700024, "a federated token that is too old", "being renewed"),
		row(wrong, 400, 700016, "a workload identity's client id that the tenant does not know", "AZURE_CLIENT_ID"),
		row(bad, 401, 53003, "a policy that blocks the workload identity", "Conditional Access"),
		row(bad, 401, 1, "a workload identity refused for a reason of no known number", "federated-credential list"),
		row(wrong, 400, 1, "a workload identity's request refused for a reason of no known number", "AZURE_CLIENT_ID"),
	}
}

// platformAdviceScenarios: the identity endpoint of the machine knows nothing of keys.
func platformAdviceScenarios() []scenario {
	row := func(code ekm.Code, status int, how, advice string, answer func(*http.Request) *http.Response) scenario {
		return scenario{
			code: code, how: how, op: "acquireToken", party: ekm.ManagedIdentity, status: status, advice: advice,
			run: func(s *scene) error {
				cred, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.IMDS})
				require.NoError(s, err)
				machine := roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.URL.Scheme != "http" {
						return s.fake.Transport().RoundTrip(r)
					}
					if answer == nil {
						return nil, errors.New("no route")
					}
					return answer(r), nil
				})
				_, err = s.clientOf(s.fake.VaultURL(), cred, akv.Options{Transport: machine}).GetKey(s.Context(), "tde", "")
				return err
			},
		}
	}
	says := func(status int, text string) func(*http.Request) *http.Response {
		return func(r *http.Request) *http.Response { return reply(r, status, text) }
	}
	decoded := func(r scenario, says string) scenario {
		r.phase, r.says = ekm.PhaseDecode, says
		return r
	}
	unreachable := row(ekm.ErrorHttpSendRequest, 0, "a machine without an identity endpoint", "one of Azure's", nil)
	unreachable.phase, unreachable.says = ekm.PhaseWrite, "no route" // a round tripper of the caller's does not tell
	return []scenario{
		row(ekm.ErrorHttpOperationForbidden, 403, "Docker Desktop, which answers for 169.254.169.254", "Docker", says(403, "connecting to 169.254.169.254: forbidden")),
		row(ekm.ErrorHttpResponseCodeThrottled, 429, "an identity endpoint that limits the rate", "20 requests a second", says(429, "")),
		decoded(row(ekm.ErrorGetTokenJsonParser, 200, "a portal in place of the identity endpoint", "not JSON", says(200, "<html>Welcome</html>")), "not the JSON"),
		decoded(row(ekm.ErrorGetTokenNotFound, 200, "an identity endpoint that gives no token", "no token", says(200, "{}")), "no access_token"),
		unreachable,
	}
}

// TestAdviceScenariosAreNamed: a failing row of the table of advice is found by what
// it is about.
func TestAdviceScenariosAreNamed(t *testing.T) {
	rows := adviceScenarios()
	slices.SortFunc(rows, func(a, b scenario) int { return cmp.Compare(a.code, b.code) })
	for _, row := range rows {
		assert.NotEmpty(t, row.advice, row.how)
		assert.False(t, strings.HasSuffix(row.how, "."), row.how)
	}
}
