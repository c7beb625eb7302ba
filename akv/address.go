package akv

import (
	"errors"
	"net/url"
	"strings"

	"github.com/akv-ekm/ekm"
)

// vaultHost is the host of a vault given by name, host or URL, without the
// default port and in lower case. The rules for names are those of Microsoft's
// page "About keys, secrets and certificates".
func vaultHost(vault, suffix string) (string, error) {
	if suffix == "" {
		suffix = "vault.azure.net"
	}
	switch {
	case vault == "":
		return "", invalid("the vault's address is empty")
	case strings.ContainsAny(vault, " \t\r\n"):
		return "", invalid("the vault's address %.100q has blanks or line breaks in it", vault)
	case strings.Contains(vault, "://"):
		return hostOfURL(vault)
	case strings.ContainsAny(vault, ".:"):
		return hostOfURL("https://" + vault)
	case !vaultName(vault):
		return "", invalid("%.100q is neither a vault's name (3 to 24 letters, digits and single hyphens), nor its host, nor its https URL", vault)
	}
	return hostOfURL("https://" + vault + "." + strings.Trim(suffix, "."))
}

func hostOfURL(address string) (string, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || strings.HasSuffix(u.Host, ":"):
		return "", invalid("%.100q is not the address of a vault", address)
	case u.Scheme != "https":
		return "", invalid("the vault's address must begin with https://, not %.20q", u.Scheme)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return "", invalid("%.100q goes on behind the vault's host: give the vault's address alone, not a key's", address)
	}
	return strings.TrimSuffix(strings.ToLower(u.Host), ":443"), nil
}

func vaultName(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return len(s) >= 3 && len(s) <= 24 && !strings.Contains(s, "--") && !strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-")
}

// keyPath is the path of an action on a key. The name is escaped, so that it
// cannot reach another resource.
func (op operation) keyPath(name, action string) (string, error) {
	if name == "" {
		return "", op.invalid("the key's name is empty")
	}
	if name == "." || name == ".." {
		return "", op.invalid("%q is not the name of a key", name)
	}
	return "/keys/" + url.PathEscape(name) + action, nil
}

// versionPath is the path of an action on a version of a key, or of the version
// itself. For the newest version the element stays empty, as the REST reference
// has it: /keys/name/ and /keys/name//wrapkey.
func (op operation) versionPath(name, version, action string) (string, error) {
	if version == "." || version == ".." {
		return "", op.invalid("%q is not the version of a key", version)
	}
	return op.keyPath(name, "/"+url.PathEscape(version)+action)
}

// idHost is Options.IDHost as [vaultHost] has hosts, or "".
func idHost(option, suffix string) (string, error) {
	if option == "" {
		return "", nil
	}
	host, err := vaultHost(option, suffix)
	if e, ok := errors.AsType[*ekm.Error](err); ok {
		return "", invalid("Options.IDHost: %w", e.Err)
	}
	return host, nil
}

// idHosts are the hosts that a key id may name. The root's dot, which a host may
// end with for the resolver's sake, is not in ids.
func idHosts(own, other string) []string {
	u := url.URL{Host: own}
	hosts := []string{own}
	if name, rooted := strings.CutSuffix(u.Hostname(), "."); rooted {
		hosts[0] = name + strings.TrimPrefix(own, u.Hostname())
	}
	if other != "" {
		hosts = append(hosts, other)
	}
	return hosts
}

// reached is link, a URL that the vault gave, with the client's own host in place
// of Options.IDHost. Any other link is returned as it is.
func (c *Client) reached(link string) string {
	u, err := url.Parse(link)
	if c.idHost == "" || err != nil || u.Scheme != "https" || u.User != nil || strings.TrimSuffix(strings.ToLower(u.Host), ":443") != c.idHost {
		return link
	}
	return c.base + u.RequestURI()
}
