package jwk

import (
	"net/url"
	"slices"
	"strings"
)

// Asked says what key a reply must be about. An empty field accepts anything.
type Asked struct {
	// Hosts are the hosts that a kid may name, as [SplitID] gives them: in lower
	// case, without the default port.
	Hosts         []string
	Name, Version string // compared without case, as the service does
}

// Names reports whether kid is the id of a version of the key that a asks for.
func (a Asked) Names(kid string) bool {
	vault, name, version, ok := SplitID(kid)
	return ok && version != "" && a.differs(vault, name, version) == ""
}

// differs says what of an id is not what a asks for; "" if nothing is. The id's
// parts are ASCII, or strings.EqualFold would take the Kelvin sign for a k.
func (a Asked) differs(vault, name, version string) string {
	same := func(got, asked string) bool {
		return asked == "" || len(got) == len(asked) && strings.EqualFold(got, asked)
	}
	switch {
	case len(a.Hosts) > 0 && !slices.Contains(a.Hosts, vault):
		return "is of another vault than the one asked"
	case !same(name, a.Name) || !same(version, a.Version):
		return "is the URL of a key, but not of the one asked for"
	}
	return ""
}

// The limits of an id's parts, in bytes. A host name has 253, and a port goes with
// it. Key Vault's names have at most 127 characters, its versions 32; versions get
// the limit of names here.
const (
	maxHost = 253 + len(":65535")
	maxPart = 127
)

// SplitID takes a key's URL apart, https://vault/keys/name[/version]: the vault's
// host in lower case and without the default port, name, and version, which may
// be empty. It reports false for anything else: name and version consist of at
// most 127 letters, digits and hyphens of ASCII, and the host is a host name or an
// address, with a port or without. So no part of an id can change what is shown or
// stored around it.
func SplitID(id string) (vault, name, version string, ok bool) {
	const scheme = "https://"
	if len(id) < len(scheme) || !strings.EqualFold(id[:len(scheme)], scheme) {
		return "", "", "", false
	}
	host, path, _ := strings.Cut(id[len(scheme):], "/")
	collection, rest, _ := strings.Cut(path, "/")
	name, version, _ = strings.Cut(rest, "/")
	if !validHost(host) || len(collection) != len("keys") || !strings.EqualFold(collection, "keys") || name == "" || !validPart(name) || !validPart(version) {
		return "", "", "", false
	}
	return strings.TrimSuffix(strings.ToLower(host), ":443"), name, version, true
}

func validPart(s string) bool {
	return len(s) <= maxPart && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == ""
}

// validHost leaves brackets and ports to net/url, which takes more than host names.
func validHost(host string) bool {
	if host == "" || len(host) > maxHost || strings.HasSuffix(host, ":") ||
		strings.Trim(host, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_:[]") != "" {
		return false
	}
	u, err := url.Parse("https://" + host)
	return err == nil && u.Hostname() != ""
}
