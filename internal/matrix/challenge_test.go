package matrix_test

import (
	"net/http"
	"strings"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// challengeScenarios are those of the answer that says whom to ask for a token:
// 3117 and the 3200s.
func challengeScenarios() []scenario {
	const (
		login    = `authorization="https://login.windows.net/contoso.com"`
		resource = `resource="https://vault.azure.net"`
	)
	row := func(code ekm.Code, how, says, value string) scenario {
		return scenario{
			code: code, how: how, op: "getKey", party: ekm.Vault, phase: ekm.PhaseDecode, status: 401, says: says,
			run: func(s *scene) error { return s.challenged(value, nil) },
		}
	}
	limited := func(r scenario, value string, trust challenge.Policy) scenario {
		r.run = func(s *scene) error {
			return s.challenged(value, func(o *akv.Options) { o.Trust = trust })
		}
		return r
	}
	const (
		scheme    = ekm.ErrorHttpQueryHeaderNotFound
		absent    = ekm.ErrorGetAADDomainUrlStartPosition
		open      = ekm.ErrorGetAADDomainUrlStopPosition
		malformed = ekm.ErrorGetAADDomainUrlMalformatted
		noTarget  = ekm.ErrorGetAKVResourceUrlStartPosition
		target    = ekm.ErrorGetAKVResourceUrlStopPosition
	)
	return []scenario{
		row(scheme, "a 401 without WWW-Authenticate", "schemes: none", ""),
		row(scheme, "a challenge of another scheme, as of a gateway", "schemes: Basic", `Basic realm="proxy"`),
		{
			code: scheme, how: "an answer with status 200 to a request without a token", op: "getKey", party: ekm.Vault,
			phase: ekm.PhaseDecode, status: 200, says: "schemes: none",
			run: func(s *scene) error {
				s.fake.Script(fakevault.Fault{Operation: fakevault.OpGet, Status: 200, Body: "<html>Welcome</html>"})
				return s.get(nil)
			},
		},
		{
			code: ekm.ErrorGetAADValuesOutOfMemoryConcatPath, how: "Limits.URL is 40 bytes", op: "getKey", party: ekm.Local,
			says: "the limit is 40", run: func(s *scene) error { return s.get(func(o *akv.Options) { o.Limits.URL = 40 }) },
		},
		row(absent, "a challenge without an authority", "names no authority", "Bearer "+resource),
		row(open, "an authority whose quote is never closed", "closing quote", `Bearer `+resource+`, authorization="https://login.windows.net/contoso.com`),
		row(malformed, "an authority without TLS", "no https URL", `Bearer authorization="http://login.windows.net/contoso.com", `+resource),
		row(malformed, "an authority without a tenant", "exactly one path segment", `Bearer authorization="https://login.windows.net/", `+resource),
		row(malformed, "a login host that is not Microsoft's", "not on a known login host", `Bearer authorization="https://login.windows.net.example/contoso.com", `+resource),
		limited(row(ekm.ErrorGetAADDomainUrlOutOfMemoryAlloc, "an authority over Trust.MaxAuthority, 30 bytes", "the limit is 30", ""),
			"Bearer "+login+", "+resource, challenge.Policy{MaxAuthority: 30}),
		row(ekm.ErrorGetAADDomainUrlOutOfMemoryAlloc, "an authority of 3 KB", "the limit is 2048",
			`Bearer authorization="https://login.windows.net/`+strings.Repeat("a", 3000)+`", `+resource),
		row(ekm.ErrorGetAADTenantIdOutOfMemoryAlloc, "a tenant of 300 bytes", "the limit is 256",
			`Bearer authorization="https://login.windows.net/`+strings.Repeat("a", 300)+`", `+resource),
		row(noTarget, "a challenge without a resource", "names no resource", "Bearer "+login),
		row(target, "a resource whose quote is never closed", "no closing quote", "Bearer "+login+`, resource="https://vault.azure.net`),
		row(target, "a resource that is not the vault's domain", "not the domain of the vault", "Bearer "+login+`, resource="https://graph.microsoft.com"`),
		row(target, "a resource that is a whole top-level domain", "not the domain of the vault", "Bearer "+login+`, resource="https://net"`),
		row(ekm.ErrorGetAKVResourceUrlOutOfMemoryAlloc, "a resource of 3 KB", "the limit is 2048",
			"Bearer "+login+`, resource="https://vault.azure.net/`+strings.Repeat("a", 3000)+`"`),
	}
}

// challenged gets a key from a vault whose 401 has the challenge value, or none.
func (s *scene) challenged(value string, change func(*akv.Options)) error {
	return s.get(func(o *akv.Options) {
		o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if value == "" {
				return reply(r, 401, ""), nil
			}
			return reply(r, 401, "", "WWW-Authenticate", value), nil
		})
		if change != nil {
			change(o)
		}
	})
}
