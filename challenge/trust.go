package challenge

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/clouds"
)

// A Policy says which challenges to act upon, and how large their parts may be.
// The zero value trusts Microsoft's login hosts of all clouds and the resource
// that is the vault's own domain.
type Policy struct {
	// Authorities are further login hosts to trust, each a host name with an
	// optional port: "login.contoso.example", "127.0.0.1:8443".
	Authorities []string
	// Resources are further resources to accept, whatever the vault's name:
	// "https://vault.azure.net" for a vault that is reached under another name.
	Resources []string

	// Limits in bytes; beyond them the codes 3204, 3205, 3208. Zero means 2048,
	// 256 and 2048.
	MaxAuthority, MaxTenant, MaxResource int
}

// Check reports whether c may be answered for the vault at host (a host name,
// with or without port): the authority must be a known login host or one of
// p.Authorities; the resource must be host's own domain, compared on a label
// boundary without case and port, or one of p.Resources. A domain of fewer than
// three labels is not a vault's domain: a challenge must not be able to ask for
// a token for "https://net".
//
// Check looks at the values as they are used and completes nothing: Authority must
// be a URL with one path segment, which must be Tenant unless that is empty;
// Resource must be one URL; Scope must be empty or Resource with "/.default".
//
// Errors are those of [Policy.Parse]: 3201 and 3203 for the authority, 3206 and
// 3207 for the resource.
func (p Policy) Check(c Challenge, host string) error {
	if _, _, err := p.authority(value{raw: c.Authority, present: c.Authority != ""}, &c); err != nil {
		return err
	}
	_, err := p.resource(value{raw: c.Resource, present: c.Resource != ""}, &c, bareHost(host))
	return err
}

func (p Policy) trusted(host string) bool {
	return clouds.IsLogin(host) ||
		slices.ContainsFunc(p.Authorities, func(a string) bool { return strings.EqualFold(strings.TrimSuffix(a, ":443"), host) })
}

// authority makes v canonical. With a checked challenge, of which v is the
// authority, it completes nothing and asks whether the host is trusted.
func (p Policy) authority(v value, checked *Challenge) (authority, tenant string, err error) {
	if !v.present || v.raw == "" && !v.open {
		return "", "", fail(ekm.ErrorGetAADDomainUrlStartPosition, "the challenge names no authority: neither authorization nor authorization_uri")
	}
	if v.open || v.swallowed() {
		return "", "", fail(ekm.ErrorGetAADDomainUrlStopPosition, "the closing quote of the authority is missing")
	}
	if limit := orDefault(p.MaxAuthority, 2048); len(v.raw) > limit {
		return "", "", fail(ekm.ErrorGetAADDomainUrlOutOfMemoryAlloc, "the authority has %d bytes, the limit is %d", len(v.raw), limit)
	}
	host, tenant, why := p.splitAuthority(v.text(), checked)
	if why != "" {
		return "", "", fail(ekm.ErrorGetAADDomainUrlMalformatted, "the authority %q %s", shown(v.text()), why)
	}
	if limit := orDefault(p.MaxTenant, 256); len(tenant) > limit {
		return "", "", fail(ekm.ErrorGetAADTenantIdOutOfMemoryAlloc, "the tenant has %d bytes, the limit is %d", len(tenant), limit)
	}
	return "https://" + host + "/" + tenant, tenant, nil
}

// splitAuthority takes an authority URL apart, or says why it cannot be used.
func (p Policy) splitAuthority(raw string, checked *Challenge) (host, tenant, why string) {
	if checked == nil {
		raw = strings.TrimSpace(raw)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || canonicalHost(u) == "" || !strings.EqualFold(u.Scheme, "https"):
		return "", "", "is no https URL"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", "", "has parts that an authority has not"
	}
	path := strings.TrimPrefix(u.EscapedPath(), "/")
	if checked == nil {
		path = strings.Trim(path, "/")
		// authorization_uri may be the full authorization endpoint of RFC 6749.
		for _, endpoint := range []string{"/oauth2/authorize", "/oauth2/v2.0/authorize"} {
			path = strings.TrimSuffix(path, endpoint)
		}
	}
	if path == "" || strings.Trim(path, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-") != "" || strings.Trim(path, ".") == "" {
		return "", "", "does not have exactly one path segment, the tenant"
	}
	host = canonicalHost(u)
	switch {
	case checked != nil && checked.Tenant != "" && checked.Tenant != path:
		return "", "", "is not the one of the tenant"
	case checked != nil && !p.trusted(host):
		return "", "", "is not on a known login host; if it is right, allow it by name"
	}
	return host, path, ""
}

// resource makes v, a scope or resource, canonical. With a checked challenge, of
// which v is the resource, it completes nothing and asks whether that belongs to
// the vault at host.
func (p Policy) resource(v value, checked *Challenge, host string) (string, error) {
	if !v.present || v.raw == "" && !v.open {
		return "", fail(ekm.ErrorGetAKVResourceUrlStartPosition, "the challenge names no resource: neither resource nor scope")
	}
	if limit := orDefault(p.MaxResource, 2048); len(v.raw) > limit {
		return "", fail(ekm.ErrorGetAKVResourceUrlOutOfMemoryAlloc, "the resource has %d bytes, the limit is %d", len(v.raw), limit)
	}
	text := v.text()
	word, why := text, ""
	if checked == nil {
		word, why = defaultScope(text, v.open)
	}
	resource := ""
	if why == "" {
		resource, why = canonicalResource(word)
	}
	switch {
	case why != "" || checked == nil:
	case checked.Scope != "" && checked.Scope != checked.Resource+"/.default":
		why = "is not the one of the scope"
	case !p.allows(resource) && !belongs(host, resource):
		why = "is not the domain of the vault " + clip(host) + "; " + remedy(host)
	}
	if why != "" {
		return "", fail(ekm.ErrorGetAKVResourceUrlStopPosition, "the resource %q %s", shown(text), why)
	}
	return resource, nil
}

// remedy says what to do about a vault at host whose challenge names another domain.
func remedy(host string) string {
	if public, ok := clouds.PublicName(host); ok {
		return "that is a DNS name behind a private endpoint: use " + clip(public)
	}
	return "if it is right, allow it by name"
}

// defaultScope returns the resource that text names: text itself, or the ".default"
// scope in a list of scopes, without that suffix.
func defaultScope(text string, open bool) (resource, why string) {
	if open {
		return "", "has no closing quote"
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return "", "is empty"
	}
	word := words[0]
	for _, w := range words[1:] {
		if strings.HasSuffix(w, "/.default") && !strings.HasSuffix(word, "/.default") {
			word = w
		}
	}
	return strings.TrimSuffix(word, "/.default"), ""
}

// canonicalResource makes a resource canonical, or says why it cannot be used.
func canonicalResource(text string) (resource, why string) {
	u, err := url.Parse(text)
	if err != nil || canonicalHost(u) == "" || !strings.EqualFold(u.Scheme, "https") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "is no https URL"
	}
	// A vault refuses an audience with a trailing slash (AKV10022).
	return "https://" + canonicalHost(u) + strings.TrimRight(u.EscapedPath(), "/"), ""
}

// canonicalHost is u's host in lower case, without the default or an empty port;
// "" if it is no host name or address. net/url takes more than that: quotes,
// percent signs, a port alone.
func canonicalHost(u *url.URL) string {
	host := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(u.Host), ":443"), ":")
	if u.Hostname() == "" || strings.Trim(host, "0123456789abcdefghijklmnopqrstuvwxyz.-_:[]") != "" {
		return ""
	}
	return host
}

func (p Policy) allows(resource string) bool {
	return slices.ContainsFunc(p.Resources, func(r string) bool {
		return strings.EqualFold(strings.TrimRight(r, "/"), resource)
	})
}

// belongs reports whether host is the resource's domain, or below it on a label
// boundary. A resource with a path is no vault domain's.
func belongs(host, resource string) bool {
	domain, _, path := strings.Cut(strings.TrimPrefix(resource, "https://"), "/")
	domain = bareHost(domain)
	if path || net.ParseIP(host) != nil && host != domain {
		return false
	}
	return host == domain || strings.HasSuffix(host, "."+domain) && strings.Count(domain, ".") >= 2
}

// bareHost is a host without port, in lower case, without the root's dot.
func bareHost(host string) string {
	u := url.URL{Host: host}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
}

func orDefault(n, def int) int {
	if n > 0 {
		return n
	}
	return def
}
