package akv

import (
	"net/url"
	"strings"
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

// keyPath is the path of a key, of one of its versions, or of an action on
// either; elements are escaped, so that a name cannot reach another resource.
func keyPath(name, version, action string) (string, error) {
	for _, element := range []string{name, version} {
		if element == "." || element == ".." {
			return "", invalid("%q is not the name or version of a key", element)
		}
	}
	if name == "" {
		return "", invalid("the key's name is empty")
	}
	path := "/keys/" + url.PathEscape(name)
	if version != "" {
		path += "/" + url.PathEscape(version)
	} else if action == "" {
		path += "/" // the newest version, as the REST reference writes it
	}
	if action != "" {
		path += "/" + action
	}
	return path, nil
}
