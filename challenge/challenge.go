// Package challenge reads the 401 answer by which a key vault says where to
// prove identity and for which resource, and decides whether to believe it.
//
// A vault answers a request without a token with a header like
//
//	WWW-Authenticate: Bearer authorization="https://login.windows.net/<tenant>", resource="https://vault.azure.net"
//
// [Parse] reads it by the grammar of RFC 9110, section 11, with tolerance for
// what is seen in the wild. The server that sent it is not trusted: before a
// secret or token is sent anywhere, [Policy.Check] compares the challenge with
// the known login hosts and with the vault's own name.
package challenge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/b64"
)

// A Challenge is what a vault demands: a token from Authority, for Resource.
// It is a plain value; it is also what a token is asked for with.
type Challenge struct {
	// Authority is the authority's URL with the tenant, canonical: scheme and
	// host in lower case, no default port, no trailing slash, such as
	// "https://login.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47".
	Authority string
	// Tenant is the tenant, a GUID or a domain name: Authority's one path segment.
	Tenant string
	// Resource is the resource to ask for at a v1 endpoint, canonical, such as
	// "https://vault.azure.net". If only a scope was sent, it is derived from it.
	Resource string
	// Scope is the scope to ask for at a v2 endpoint: Resource with "/.default"
	// appended. A scope that was sent decides both.
	Scope string
	// Claims is the decoded claims request of a continuous access evaluation
	// challenge, a JSON object; empty in an ordinary challenge. A challenge with
	// claims may lack everything else: what was known before still holds.
	Claims string
	// Error is the error parameter, such as "insufficient_claims" or "invalid_token".
	Error string
}

// Parse reads the Bearer challenge in h with the default [Policy]'s limits; see
// [Policy.Parse].
func Parse(h http.Header) (Challenge, error) { return Policy{}.Parse(h) }

// Parse reads the Bearer challenge in h's WWW-Authenticate fields. Other
// schemes and unknown parameters are passed over, names compare without case,
// of a repeated parameter the first counts. authorization_uri stands for
// authorization; scope wins over resource. Parse checks form only: whom to
// trust is [Policy.Check]'s to say.
//
// Errors are of type [*ekm.Error]: 3117 without a Bearer challenge; 3201, 3202,
// 3203 for an authority that is absent, does not end, or is no https URL with
// exactly one path segment, the tenant; 3206, 3207 for a resource that is
// absent, or does not end or is no https URL; 3204, 3205, 3208 for an
// authority, tenant or resource over the Policy's limits.
func (p Policy) Parse(h http.Header) (Challenge, error) {
	b, ok := bearer(h)
	if !ok {
		return Challenge{}, fail(ekm.ErrorHttpQueryHeaderNotFound,
			"the answer has no WWW-Authenticate header with a Bearer challenge (schemes: %s)", schemes(h))
	}
	var c Challenge
	c.Claims = decodeClaims(b.get("claims").text())
	c.Error = clip(b.get("error").text())

	var err error
	if c.Authority, c.Tenant, err = p.authority(b.get("authorization", "authorization_uri"), nil); err != nil && c.Claims == "" {
		return Challenge{}, err
	}
	if c.Resource, err = p.resource(b.get("scope", "resource"), nil, ""); err != nil && c.Claims == "" {
		return Challenge{}, err
	}
	if c.Resource != "" {
		c.Scope = c.Resource + "/.default"
	}
	return c, nil
}

// bearer chooses the Bearer challenge that says most: one with an authority or
// claims if there is one, else the first.
func bearer(h http.Header) (scheme, bool) {
	var first scheme
	found := false
	for s := range fields(h) {
		if !strings.EqualFold(s.name, "Bearer") {
			continue
		}
		if s.get("authorization", "authorization_uri").present || s.get("claims").present {
			return s, true
		}
		if !found {
			first, found = s, true
		}
	}
	return first, found
}

// schemes lists the scheme names in h for an error text.
func schemes(h http.Header) string {
	var names []string
	for s := range fields(h) {
		if names = append(names, clip(s.name)); len(names) == 5 {
			break
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// decodeClaims accepts any base64: standard or URL alphabet, padded or not, as
// all of them have been seen, and JSON as it is. Claims that do not decode to a
// JSON object are dropped: the challenge is then an ordinary one.
func decodeClaims(s string) string {
	const limit = 16 << 10
	if len(s) > limit {
		return ""
	}
	if !strings.HasPrefix(s, "{") {
		decoded, err := b64.Decode(s)
		if err != nil {
			return ""
		}
		s = string(decoded)
	}
	if !strings.HasPrefix(s, "{") || !json.Valid([]byte(s)) {
		return ""
	}
	return s
}

// clip bounds what a server wrote before it goes into a value for people.
func clip(s string) string {
	const limit = 100
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\uFFFD' {
			return -1
		}
		return r
	}, s)
}

// shown is a URL, or what came in its place, as an error quotes it: without user,
// password, query and fragment. It need not parse, and the password may hold any of
// the characters that end a host.
func shown(address string) string {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		scheme := ""
		for _, known := range [...]string{"https://", "http://"} {
			if at >= len(known) && strings.EqualFold(address[:len(known)], known) {
				scheme = known
			}
		}
		address = scheme + address[at+1:]
	}
	if end := strings.IndexAny(address, "?#"); end >= 0 {
		address = address[:end]
	}
	return clip(address)
}

func fail(code ekm.Code, format string, args ...any) error {
	return &ekm.Error{Code: code, Party: ekm.Vault, Phase: ekm.PhaseDecode, Err: fmt.Errorf(format, args...)}
}
