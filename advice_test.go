package ekm_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
)

// An adviceCase is a failure and a part of the advice that it must have.
type adviceCase struct {
	err  ekm.Error
	says string
}

func (c adviceCase) String() string {
	e := c.err
	var parts []string
	for _, s := range []string{
		string(e.Party), string(e.Credential), e.Code.String(), string(e.Phase), fmt.Sprint(e.Status), e.ServiceCode, e.InnerCode, e.AADSTS, e.Message,
	} {
		if s != "" && s != "0" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}

const (
	c403 = ekm.ErrorHttpOperationForbidden
	c404 = ekm.ErrorHttpResourceNotFound
	c429 = ekm.ErrorHttpResponseCodeThrottled
	c4xx = ekm.ErrorHttpResponseCodeClientError
	c5xx = ekm.ErrorHttpResponseCodeServerError
	c401 = ekm.ErrorHttpResponseCodeUnauthorized
	sent = ekm.ErrorHttpSendRequest
)

// adviceCases reach every row of the table but those that repeat a code's remedy.
func adviceCases() []adviceCase {
	var all []adviceCase
	add := func(says string, err ekm.Error) { all = append(all, adviceCase{err, says}) }
	vault := func(code ekm.Code, inner, says string) {
		add(says, ekm.Error{Party: ekm.Vault, Code: code, ServiceCode: "Forbidden", InnerCode: inner})
	}
	vault(c403, "ForbiddenByPolicy", "az keyvault set-policy --name VAULT")
	vault(c403, "ForbiddenByPolicy", "24 hours")
	vault(c403, "ForbiddenByRbac", "Key Vault Crypto Service Encryption User")
	vault(c403, "ForbiddenByRbac", "within 24 hours for a managed identity, as Azure caches its tokens")         // and why
	for _, inner := range []string{"ForbiddenByPolicy", "ForbiddenByRbac", "AccessDenied", "", "SomethingNew"} { // what rights can cause
		vault(c403, inner, "within 24 hours for a managed identity, as Azure caches its tokens")
		if inner != "ForbiddenByPolicy" { // a policy counts at once
			vault(c403, inner, "up to 10 minutes")
		}
		for _, host := range []string{"fakehsm.managedhsm.azure.net", "fakehsm.managedhsm.usgovcloudapi.net:8443"} {
			for _, says := range []string{`az keyvault role assignment create --hsm-name NAME --role "Managed HSM Crypto User"`, "24 hours"} {
				add(says, ekm.Error{Party: ekm.Vault, Host: host, Code: c403, ServiceCode: "Forbidden", InnerCode: inner})
			}
		}
	}
	vault(c403, "ForbiddenByFirewall", "client address in the message")
	vault(c403, "ForbiddenByConnection", "privatelink.vaultcore.azure.net")
	vault(c403, "KeyOperationForbidden", "--ops wrapKey unwrapKey")
	vault(c403, "KeyDisabled", "--enabled true")
	vault(c403, "KeyExpired", "--expires") // roles and permissions do not help
	vault(c403, "KeyExpired", "Unwrapping with the expired version still works")
	vault(c403, "KeyNotYetValid", "--not-before")
	vault(c403, "AccessDenied", "trusted services")
	vault(c4xx, "ObjectIsBeingDeleted", "Wait until the deletion")
	vault(c4xx, "ObjectIsDeletedButRecoverable", "az keyvault key recover")
	vault(c403, "", "role Key Vault Crypto Service Encryption User")
	vault(c403, "SomethingNew", "role Key Vault Crypto Service Encryption User")
	for name, says := range map[string]string{"Conflict": "same name", "Throttled": "lower the rate", "KeyNotFound": "list-versions", "BadParameter": "dislikes"} {
		add(says, ekm.Error{Party: ekm.Vault, Code: c4xx, ServiceCode: name})
	}
	for number, says := range map[string]string{"AKV10046": "Wait and repeat", "AKV10022": "another service", "AKV10032": "tenant"} {
		add(says, ekm.Error{Party: ekm.Vault, Code: ekm.ErrorGetTokenRejected, ServiceCode: "Unauthorized", Message: number + ": words"})
	}
	for code, says := range map[ekm.Code]string{
		ekm.SCPErrProviderError: "list of keys never ends", c429: "several vaults", c4xx: "key name", c5xx: "request id", c404: "deleted keys",
		ekm.ErrorUnknown: "vault's place", ekm.ErrorAKVDoesNotExist: "private DNS zone",
	} {
		add(says, ekm.Error{Party: ekm.Vault, Code: code})
	}
	add("The DNS server failed", ekm.Error{Party: ekm.Vault, Code: sent, Phase: ekm.PhaseResolve}) // SERVFAIL

	all = append(all, loginCases()...)
	all = append(all, platformCases()...)
	all = append(all, otherCases()...)
	return all
}

// loginCases are those of the login endpoint: by number, then by code.
func loginCases() []adviceCase {
	var all []adviceCase
	number := func(says string, kind ekm.CredentialKind, numbers ...int) {
		for _, n := range numbers {
			all = append(all, adviceCase{ekm.Error{Party: ekm.Authority, Code: ekm.ErrorGetTokenBadCredentials, Credential: kind, AADSTS: fmt.Sprint("AADSTS", n)}, says})
		}
	}
	const (
		secret, cert, federated ekm.CredentialKind = ekm.CredentialSecret, ekm.CredentialCertificate, ekm.CredentialFederated
		unknown                 ekm.CredentialKind = ""
	)
	number("issuers", federated, 700211)
	number("audience", federated, 700212)
	number("subjects", federated, 700213, 7002137)
	number("letter case", federated, 7002138)
	number("issuer, subject and audience", federated, 70021)
	number("issuer, subject and audience", unknown, 70021) // the number tells the kind by itself
	number("Add a federated credential", federated, 70025)
	number("outside Entra ID", federated, 700222, 700226, 700229)
	number("tenant's policy", federated, 700223, 700236, 700238, 7002381)
	number(".well-known/openid-configuration", federated, 90061, 50166, 501661, 900612)
	number("newest of the issuer", federated, 50013)
	number("token file is being renewed", federated, 700024)
	number("AZURE_CLIENT_ID", federated, 700016, 700011, 70001)
	number("one whole token", federated, 50012, 50027, 70002, 700021, 700023, 700027, 7000110, 7000274, 7000215, 7000222)

	number("Upload this certificate", cert, 700027, 50012, 70002)
	number("subject name", cert, 700030)
	number("revoked", cert, 7000214, 7000277)
	number("outside its time", cert, 1000502, 7000274)
	number("belong together", cert, 50027, 50120)
	number("one application for both", cert, 700021, 7000110)
	number("another login endpoint", cert, 700023)
	number("clock", cert, 700024)

	number("Value, not Secret ID", secret, 7000215, 70002)
	number("every node of an availability group", secret, 7000222)
	number("managed identity's, which has no client secret", secret, 7000232)
	for _, kind := range []ekm.CredentialKind{secret, cert, federated, unknown} {
		number("Allow public client flows", kind, 700025) // the application is wrong, not what it proves itself with
	}
	number("SECRET begins with the application (client) id without hyphens", secret, 700016, 700011, 70001)
	number("not an object id", cert, 700016, 700011, 70001)
	number("az ad sp create --id CLIENT_ID", federated, 7000229)
	number("Enabled for users to sign-in", federated, 7000112)
	number("on behalf of", federated, 7000114)
	number("an account that the tenant does not have", federated, 50034)
	number("device", federated, 135011)
	number("Conditional Access", federated, 53003, 530032, 50131)
	number("A new secret", secret, 53003, 530032, 50131)
	number("Restrict-Access-To-Tenants", federated, 50002, 500021, 500022)
	number("does not know the tenant", federated, 90002, 90019, 900023, 50049, 50059, 50128)
	number("different clouds", federated, 90038, 90051, 900382, 900383, 900384, 900432)
	number("not common", federated, 50194, 90124, 90130, 9001023)
	number("deleted or blocked", federated, 5000224)
	number("resource option", federated, 500011, 500014, 50001, 650052, 650057)
	number("without a path", federated, 70011, 28002, 28003, 1002012)
	number("proof of identity", federated, 7000218)
	number("missing or garbled", federated, 90014, 900144, 90004, 90023, 900561, 9002313)
	number("loop", federated, 50196)
	number("whole tenant", federated, 90055)
	number("passing fault", federated, 90033, 90006, 90012, 90024, 90041, 90090, 90091, 50033)

	code := func(says string, kind ekm.CredentialKind, c ekm.Code) {
		all = append(all, adviceCase{ekm.Error{Party: ekm.Authority, Code: c, Credential: kind, AADSTS: "AADSTS1"}, says}) // of which nothing is known
	}
	code("federated-credential list", federated, ekm.ErrorGetTokenBadCredentials)
	code("the certificate is registered", cert, ekm.ErrorGetTokenBadCredentials)
	code("ALTER CREDENTIAL on every server", secret, ekm.ErrorGetTokenBadCredentials)
	code("has against the credential", unknown, ekm.ErrorGetTokenBadCredentials)
	code("always gives a reason", secret, c401)
	code("Share one client", secret, c429)
	code("AZURE_CLIENT_ID", federated, c4xx)
	code("SECRET begins", secret, c4xx)
	code("Check the client id", cert, c4xx)
	code("inside the login endpoint", secret, c5xx)
	code("authority option", secret, c404)
	code("does not answer 403", secret, c403)
	code("does not answer with this status", secret, ekm.ErrorUnknown)
	code("nslookup", federated, ekm.ErrorAKVDoesNotExist)
	code("Limits.Token", secret, ekm.ErrorGetTokenOutOfMemoryConvertResponseString)
	code("clock", secret, ekm.ErrorGetTokenFailedToGetToken)
	code("proxy", secret, ekm.ErrorGetTokenNotFound)
	code("proxy", secret, ekm.ErrorGetTokenJsonParser)
	code("trace id", secret, ekm.ErrorGetTokenExtractToken)
	all = append(all, adviceCase{ekm.Error{Party: ekm.Authority, Code: sent, Phase: ekm.PhaseResolve}, "login host in the error"})
	return all
}

// platformCases are those of the endpoint that gives managed identities.
func platformCases() []adviceCase {
	row := func(code ekm.Code, says string) adviceCase {
		return adviceCase{ekm.Error{Party: ekm.ManagedIdentity, Credential: ekm.CredentialManaged, Code: code}, says}
	}
	named := func(name, says string) adviceCase {
		c := row(c4xx, says)
		c.err.AADSTS = name
		return c
	}
	return []adviceCase{
		named("AADSTS700016", "was deleted"), named("AADSTS7000229", "was deleted"),
		named("AADSTS500011", "resource option"), named("AADSTS50001", "resource option"),
		row(sent, "one of Azure's"), row(ekm.ErrorHttpAttemptConnect, "no way"), row(ekm.ErrorAKVDoesNotExist, "IDENTITY_ENDPOINT"),
		row(c401, "himds"), row(c4xx, "az vm identity assign"), row(c404, "being updated"), row(c429, "20 requests a second"),
		row(c403, "Docker"), // which answers so for 169.254.169.254
		row(c5xx, "azcmagent"), row(ekm.ErrorUnknown, "169.254.169.254"),
		row(ekm.ErrorGetTokenFailedToGetToken, "clock"), row(ekm.ErrorGetTokenOutOfMemoryConvertResponseString, "Limits.Token"),
		row(ekm.ErrorGetTokenNotFound, "no token"), row(ekm.ErrorGetTokenJsonParser, "not JSON"), row(ekm.ErrorGetTokenExtractToken, "cannot be read"),
	}
}

// otherCases are those of the proxy, of this machine, of the way to anybody, and
// what is left.
func otherCases() []adviceCase {
	proxy := func(status int, phase ekm.Phase, says string) adviceCase {
		return adviceCase{ekm.Error{Party: ekm.Proxy, Code: sent, Status: status, Phase: phase}, says}
	}
	local := func(kind ekm.CredentialKind, says string) adviceCase {
		return adviceCase{ekm.Error{Party: ekm.Local, Code: ekm.ErrorGetTokenFailedToGetToken, Credential: kind}, says}
	}
	way := func(code ekm.Code, phase ekm.Phase, says string) adviceCase {
		return adviceCase{ekm.Error{Party: ekm.Vault, Code: code, Phase: phase}, says}
	}
	return []adviceCase{
		proxy(407, ekm.PhaseProxy, "percent-encoded"), proxy(403, ekm.PhaseProxy, "allow CONNECT"), proxy(0, ekm.PhaseResolve, "name"),
		proxy(0, ekm.PhaseDial, "address and port"), proxy(0, ekm.PhaseTLS, "speaks TLS"), proxy(502, ekm.PhaseProxy, "proxy's log"),
		local(ekm.CredentialFederated, "AZURE_FEDERATED_TOKEN_FILE"), local(ekm.CredentialManaged, "himds"), local(ekm.CredentialSource, "token source"),
		local(ekm.CredentialCertificate, "If it names a file"),
		{ekm.Error{Party: ekm.Local, Code: sent, Phase: ekm.PhasePrepare}, "more time"},
		// Not what to do with another's connector, of which the codes' remedies speak too.
		{ekm.Error{Party: ekm.Local, Code: ekm.SCPErrFailure}, "Allow the call more time"},
		{ekm.Error{Party: ekm.Local, Code: ekm.SCPErrNotSupported}, "EC keys do not wrap"},
		{ekm.Error{Party: ekm.Local, Code: ekm.SCPErrInvalidArgument}, "the argument that the error names"},
		{ekm.Error{Party: ekm.Local, Code: ekm.SCPErrInvalidArgument, Credential: ekm.CredentialSecret}, "SECRET is the client id without hyphens"},
		{ekm.Error{Party: ekm.Local, Code: ekm.SCPErrPasswordTooShort}, "Set SECRET with ALTER CREDENTIAL"},
		way(ekm.ErrorHttpAttemptConnect, ekm.PhaseDial, "default route"), way(sent, ekm.PhaseDial, "port 443"), way(sent, ekm.PhaseTLS, "openssl s_client"), way(sent, ekm.PhaseTLS, "akv.Options.RootCAs"),
		way(sent, ekm.PhaseWrite, "being sent"), way(ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, "idle timeouts"),
		way(ekm.ErrorHttpQueryHeader, ekm.PhaseHeader, "changes replies"), way(ekm.ErrorHttpQueryHeaderUpdateBufferLength, ekm.PhaseHeader, "length"),
		way(ekm.ErrorHttpQueryHeaderOutOfMemoryCopyHeader, ekm.PhaseHeader, "Limits.HeaderValue"),
		way(ekm.ErrorHttpQueryHeaderOutOfMemoryReallocBuffer, ekm.PhaseHeader, "Limits.Header"),
		way(ekm.ErrorHttpReadData, ekm.PhaseBody, "broke off"), way(ekm.ErrorHttpGetResponseOutOfMemoryCreateTempBuffer, ekm.PhaseBody, "page"),
		way(ekm.ErrorHttpGetResponseOutOfMemoryAppendResponse, ekm.PhaseBody, "download"),
		way(ekm.ErrorHttpGetResponseOutOfMemoryGetResultString, ekm.PhaseBody, "Limits.Held"),
		// The same way to another party has the same advice, which names nobody.
		{ekm.Error{Party: ekm.Authority, Code: sent, Phase: ekm.PhaseTLS}, "openssl s_client"},
		{ekm.Error{Party: ekm.Vault, Code: c401}, "request id"},
		{ekm.Error{Party: ekm.Authority, Code: sent}, "trace id"},
		{ekm.Error{Party: ekm.ManagedIdentity, Code: ekm.Code(3050)}, "managed identity"},
		{ekm.Error{Party: ekm.Proxy, Code: sent}, "its login"},
		{ekm.Error{Party: ekm.Local, Code: sent}, "this machine"},
	}
}

func TestAdvice(t *testing.T) {
	table := ekm.AdviceTable()
	reached := make(map[int]bool)
	for _, c := range adviceCases() {
		row := ekm.AdviceRowOf(&c.err)
		require.NotEqual(t, -1, row, "%v", c)
		reached[row] = true
		assert.Equal(t, table[row].Advice, c.err.Advice(), "%v", c)
		assert.Contains(t, c.err.Advice(), c.says, "%v", c)
		assertOwnAdvice(t, &c.err)
	}
	for i, row := range table {
		if row.Advice != row.Code.Remedy() {
			assert.True(t, reached[i], "no case reaches row %d: %+v", i, row)
		}
	}
}

// foreign are words that stand for another party's remedies, by the party that
// failed.
var foreign = map[ekm.Party][]string{
	ekm.Vault:           {"client secret", "ALTER CREDENTIAL", "SECRET", "app registration", "App registrations", "login endpoint", "identity endpoint"},
	ekm.Authority:       {"wrapKey", "key name", "deleted keys", "Crypto", "several vaults", "az keyvault", "identity endpoint"},
	ekm.ManagedIdentity: {"wrapKey", "key name", "deleted keys", "Crypto", "several vaults", "SECRET", "secret", "certificate", "ALTER CREDENTIAL", "hyphens", "login endpoint"},
	ekm.Proxy:           {"wrapKey", "key name", "deleted keys", "secret", "SECRET", "ALTER CREDENTIAL"},
}

// assertOwnAdvice: nobody is told what to do about another party or with a
// credential that is not theirs.
func assertOwnAdvice(t *testing.T, e *ekm.Error) {
	t.Helper()
	for _, word := range foreign[e.Party] {
		assert.NotContains(t, e.Advice(), word, "for %s", e.Party)
	}
	if e.Credential == ekm.CredentialFederated || e.Credential == ekm.CredentialManaged {
		for _, word := range []string{"secret", "SECRET", "certificate", "Certificate", "ALTER CREDENTIAL", "thumbprint"} {
			assert.NotContains(t, e.Advice(), word, "for a %s", e.Credential)
		}
	}
}

// TestAdviceForAllCodes: whoever raises a code, and with whatever the service says,
// has advice that is not another's.
func TestAdviceForAllCodes(t *testing.T) {
	kinds := []ekm.CredentialKind{"", ekm.CredentialFederated}
	for _, code := range ekm.Codes() {
		if code < ekm.ErrorUnknown || code.Generation() == ekm.GenerationOlder || strings.HasPrefix(code.Explain(), "Local:") || code >= 3200 && code < 3300 || code >= 3400 && code < 3900 || code == 4000 {
			continue // one step, and so one party, has the code
		}
		for _, party := range []ekm.Party{ekm.Vault, ekm.Authority, ekm.ManagedIdentity, ekm.Proxy} {
			if party != ekm.Vault && (code == ekm.ErrorGetTokenRejected || code == ekm.ErrorHttpQueryHeaderNotFound) ||
				party != ekm.Authority && code == ekm.ErrorGetTokenBadCredentials || party == ekm.Vault && code >= 3300 && code < 3400 {
				continue
			}
			for _, kind := range kinds {
				e := ekm.Error{Party: party, Code: code, Credential: kind}
				assertOwnAdvice(t, &e)
			}
		}
	}
	for _, row := range ekm.AdviceTable() {
		for _, name := range row.Named {
			if strings.HasPrefix(name, "AADSTS") {
				assertOwnAdvice(t, &ekm.Error{Party: ekm.Authority, Code: c4xx, Credential: ekm.CredentialFederated, AADSTS: name})
				assertOwnAdvice(t, &ekm.Error{Party: ekm.ManagedIdentity, Code: c4xx, Credential: ekm.CredentialManaged, AADSTS: name})
			}
			// The name is its own party's alone.
			for _, party := range []ekm.Party{ekm.Vault, ekm.Authority, ekm.ManagedIdentity, ekm.Proxy, ekm.Local} {
				e := ekm.Error{Party: party, Code: c4xx, InnerCode: name}
				if got := ekm.AdviceTable()[ekm.AdviceRowOf(&e)]; got.Named != nil {
					assert.Equal(t, party, got.Party, "%s", name)
				}
			}
		}
	}
}

// TestAdviceForHSMs: a managed HSM has roles of its own, and is told by its host.
func TestAdviceForHSMs(t *testing.T) {
	for _, inner := range []string{"ForbiddenByPolicy", "ForbiddenByRbac", "AccessDenied", ""} {
		e := ekm.Error{Party: ekm.Vault, Host: "contoso.managedhsm.azure.net", Code: c403, ServiceCode: "Forbidden", InnerCode: inner}
		for _, word := range []string{"IAM", "set-policy", "Key Vault Crypto", "key permissions"} {
			assert.NotContains(t, e.Advice(), word)
		}
		e.Host = "managedhsm.vault.azure.net" // a vault's
		assert.NotContains(t, e.Advice(), "HSM")
	}
	other := ekm.Error{Party: ekm.Vault, Host: "contoso.managedhsm.azure.net", Code: c403, ServiceCode: "Forbidden", InnerCode: "KeyDisabled"}
	assert.Contains(t, other.Advice(), "--enabled true", "what is no matter of rights")
}

// TestAdviceTexts holds every row to the form of texts for people.
func TestAdviceTexts(t *testing.T) {
	for _, row := range ekm.AdviceTable() {
		checkRemedy(t, row.Advice)
	}
}

// TestAdviceTableIsInOrder: no row is hidden behind an earlier one that is for
// everything that it is for.
func TestAdviceTableIsInOrder(t *testing.T) {
	table := ekm.AdviceTable()
	for j, later := range table {
		names := later.Named
		if names == nil {
			names = []string{""}
		}
		for _, name := range names {
			for i, earlier := range table[:j] {
				assert.False(t, covers(earlier, later, name), "row %d %+v\nhides %q of row %d %+v", i, earlier, name, j, later)
			}
		}
	}
}

// covers reports whether every failure that row b is for by this name is one that
// row a is for.
func covers(a, b ekm.AdviceRow, name string) bool {
	return (a.Party == "" || a.Party == b.Party) && (a.Credential == "" || a.Credential == b.Credential) &&
		(a.Code == 0 || a.Code == b.Code) && (a.Phase == "" || a.Phase == b.Phase) && (a.Status == 0 || a.Status == b.Status) &&
		strings.Contains(b.Host, a.Host) &&
		(a.Named == nil || slices.Contains(a.Named, name))
}

// TestAdviceHasFallbacks: each party has a row for everything, and those come last.
func TestAdviceHasFallbacks(t *testing.T) {
	table := ekm.AdviceTable()
	parties := []ekm.Party{ekm.Vault, ekm.Authority, ekm.ManagedIdentity, ekm.Proxy, ekm.Local}
	for _, row := range table[len(table)-len(parties):] {
		assert.Equal(t, ekm.AdviceRow{Party: row.Party, Advice: row.Advice}, row)
		assert.Contains(t, parties, row.Party)
	}
}

// TestAdviceForAnybodyNamesNobody: a row for several parties names none of them.
func TestAdviceForAnybodyNamesNobody(t *testing.T) {
	for _, row := range ekm.AdviceTable() {
		if row.Party != "" || row.Advice == row.Code.Remedy() {
			continue
		}
		for _, word := range []string{"vault", "Vault", "login endpoint", "login host", "Entra", "identity endpoint"} {
			assert.NotContains(t, row.Advice, word, "%+v", row)
		}
	}
}

// TestAdviceWithoutParty: who has no more than a code is given its remedy, or what is
// right for anybody.
func TestAdviceWithoutParty(t *testing.T) {
	for _, c := range append(ekm.Codes(), 2055, 3050) {
		e := ekm.Error{Code: c, InnerCode: "KeyDisabled", AADSTS: "AADSTS7000222"}
		if i := ekm.AdviceRowOf(&e); i >= 0 && c >= ekm.ErrorHttpCreateHttpClientOutOfMemory {
			assert.Empty(t, ekm.AdviceTable()[i].Party)
			continue
		}
		assert.Equal(t, c.Remedy(), e.Advice())
	}
}

// Only the exact name counts.
func TestAdviceNeedsTheExactName(t *testing.T) {
	for _, name := range []string{"7000222", "aadsts7000222", "AADSTS70002220", "keydisabled"} {
		vault := ekm.Error{Party: ekm.Vault, Code: ekm.ErrorUnknown}
		named := vault
		named.InnerCode = name
		assert.Equal(t, vault.Advice(), named.Advice())
	}
	message := ekm.Error{Party: ekm.Vault, Code: ekm.ErrorGetTokenRejected, Message: "AKV100465: words"}
	assert.Equal(t, ekm.ErrorGetTokenRejected.Remedy(), message.Advice())
}
