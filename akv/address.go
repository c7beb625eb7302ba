package akv

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/akv-ekm/ekm/internal/clouds"
	"github.com/akv-ekm/ekm/internal/misplaced"
	"github.com/akv-ekm/ekm/internal/unseen"
)

// vaultHost is the host of a vault given by name, host or URL, without the
// default port and in lower case. Errors call the vault by the text in what. The rules
// for names are those of Microsoft's page "About keys, secrets and certificates".
//
// No error quotes the address: it may hold a password, or be SECRET in the wrong
// place. That one is told by the 32 digits of its client id, which no vault's
// host has, so that it is not looked up in DNS either.
func vaultHost(what, vault, suffix string) (string, error) {
	switch {
	case vault == "":
		return "", invalid("%s is empty", what)
	case clientID(vault):
		return "", invalid("%s holds a client id, or another 32 hexadecimal digits, which no vault's host does: was SECRET given in its place?", what)
	case unseen.Anywhere(vault) != "":
		return "", invalid("%s %s", what, unseen.Anywhere(vault))
	case strings.Contains(vault, "://"):
		return hostOfURL(what, vault)
	case !bare(vault):
		return hostOfURL(what, "https://"+vault)
	case !vaultName(vault):
		return "", invalid("%s is neither a vault's name (3 to 24 letters, digits and single hyphens), nor its host, nor its https URL", what)
	}
	if suffix = strings.Trim(suffix, "."); suffix == "" {
		suffix = clouds.Public
	}
	if why := unseen.Anywhere(suffix); why != "" {
		return "", invalid("Options.VaultSuffix %s", why)
	}
	if clientID(suffix) || !hostName(suffix) {
		return "", invalid("Options.VaultSuffix is not a domain such as vault.azure.net")
	}
	return strings.ToLower(vault + "." + suffix), nil
}

// bare reports whether vault is a name, which Options.VaultSuffix completes.
func bare(vault string) bool { return !strings.ContainsAny(vault, ".:") }

func hostOfURL(what, address string) (string, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "", invalid("%s is not a URL", what)
	case u.User != nil:
		return "", invalid("%s has a user or a password in it", what)
	case u.Scheme != "https":
		return "", invalid("%s must begin with https://, not with another scheme", what)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return "", invalid("%s goes on behind its host: give the vault's address alone, not a key's", what)
	case strings.HasSuffix(u.Host, ":") || net.ParseIP(u.Hostname()) == nil && !hostName(strings.TrimSuffix(u.Hostname(), ".")):
		return "", invalid("%s has no host, or characters in it that no host name has", what)
	case clouds.IsDomain(u.Host):
		return "", invalid("%s is the domain of all vaults: the vault's own name is missing before it", what)
	}
	return strings.TrimSuffix(strings.ToLower(u.Host), ":443"), nil
}

// hostName accepts what RFC 1123 calls a host name, and underscores, which some
// private networks have.
func hostName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, letters+"-_") != "" {
			return false
		}
	}
	return len(s) <= 253
}

// letters are those of ASCII, with its digits.
const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// clientID reports whether s holds 32 hexadecimal digits in a row, or with the
// hyphens of a GUID.
func clientID(s string) bool {
	run := 0
	for i, c := range []byte(s) {
		switch {
		case '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f':
			if run++; run == 32 {
				return true
			}
		case c == '-' && i > 0 && (run == 8 || run == 12 || run == 16 || run == 20): // 8-4-4-4-12
		default:
			run = 0
		}
	}
	return false
}

func vaultName(s string) bool {
	return len(s) >= 3 && len(s) <= 24 && strings.Trim(s, letters+"-") == "" &&
		!strings.Contains(s, "--") && !strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-")
}

// keyPath is the path of an action on a key.
func (op operation) keyPath(name, action string) (string, error) {
	if name == "" {
		return "", op.invalid("the key's name is empty")
	}
	if err := op.element("the key's name", name); err != nil {
		return "", err
	}
	return "/keys/" + name + action, nil
}

// versionPath is the path of an action on a version of a key, or of the version
// itself. For the newest version the element stays empty, as the REST reference
// has it: /keys/name/ and /keys/name//wrapkey.
func (op operation) versionPath(name, version, action string) (string, error) {
	if err := op.element("the key's version", version); err != nil {
		return "", err
	}
	return op.keyPath(name, "/"+version+action)
}

// element returns an error if s cannot be a name or version in the path of a key. The
// error calls s by the text in what. The rule for names is that of Microsoft's page
// "About keys, secrets and certificates", and the service's versions follow it. A name
// that follows it needs no escaping and reaches no other resource. Any other text may be
// SECRET in the wrong place, which must not get into the URL or the log.
func (op operation) element(what, s string) error {
	switch why := unseen.Anywhere(s); {
	case why != "": // the vault's 400 and 404 would show it as if it were right
		return op.invalid("%s%s %s", what, quoted(s), why)
	case !elementForm(s):
		return op.invalid("%s has other characters than a to z, A to Z, 0 to 9 and hyphens, or more than 127 of them", what)
	case misplaced.Secret(s):
		return op.invalid("%s begins with a client id and goes on behind it: was SECRET given in its place?", what)
	}
	return nil
}

func elementForm(s string) bool { return len(s) <= 127 && strings.Trim(s, letters+"-") == "" }

// quoted returns s in quotes, with a blank before it and with invisible characters
// escaped. It returns "" if s is no valid name even without those characters, as s may
// then be SECRET in the wrong place.
func quoted(s string) string {
	if seen := unseen.Without(s); !elementForm(seen) || clientID(seen) && len(seen) > 36 {
		return ""
	}
	return fmt.Sprintf(" %+q", s)
}

// idHost is Options.IDHost as [vaultHost] has hosts, or "".
func idHost(option, suffix string) (string, error) {
	if option == "" {
		return "", nil
	}
	host, err := vaultHost("Options.IDHost", option, suffix)
	if err != nil {
		return "", err
	}
	return host, publicName("Options.IDHost", host)
}

// reachable returns an error if host is a DNS name behind a private endpoint. vault is
// what the caller gave; if that is a bare name, the fault is in Options.VaultSuffix.
func reachable(vault, host string) error {
	public, ok := clouds.PublicName(host)
	if !ok || !bare(vault) {
		return publicName("the vault's address", host)
	}
	_, domain, _ := strings.Cut(public, ".")
	return invalid("Options.VaultSuffix is a DNS name behind a private endpoint: use %.150s", domain)
}

// publicName returns an error if host is a DNS name behind a private endpoint. The error
// calls host by the text in what, and says which name to use instead.
func publicName(what, host string) error {
	if public, ok := clouds.PublicName(host); ok {
		return invalid("%s is a DNS name behind a private endpoint: use %.150s", what, public)
	}
	return nil
}

// domainHost returns the host whose domain the vault's challenge must name: IDHost if it
// is set, else the host of the vault's address.
func (c *Client) domainHost() string {
	if c.idHost != "" {
		return c.idHost
	}
	return c.host
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
