package proxy

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// A bypass tells which targets Windows reaches directly.
type bypass struct {
	local    bool // <local>: names without a dot, too
	loopback bool // <-loopback>: not even loopback
	rules    []rule
}

// A rule has wildcards in each part: "*" where the part was left out.
type rule struct{ scheme, host, port string }

// parseBypass reads ProxyOverride: [scheme://]host[:port], each with wildcards,
// separated by semicolons or blanks. What makes no sense matches nothing.
// Microsoft has the list under "WINHTTP_PROXY_INFO structure", without the
// wildcards that its dialogs show.
func parseBypass(list string) bypass {
	var b bypass
	for _, entry := range strings.FieldsFunc(strings.ToLower(list), separates) {
		switch entry {
		case "<local>":
			b.local = true
		case "<-loopback>":
			b.loopback = true
		default:
			b.rules = append(b.rules, parseRule(entry))
		}
	}
	return b
}

// bypassed is the list as [bypass] understands it. A comma does not separate, and
// networks and other words in angle brackets mean nothing to Windows either.
func bypassed(list string) exceptions {
	x := exceptions{separator: ";"}
	for _, entry := range strings.FieldsFunc(list, separates) {
		word := strings.ToLower(entry)
		if word == "<local>" || word == "<-loopback>" || parseRule(word).matches() {
			x.entries = append(x.entries, entry)
		} else {
			x.unread = append(x.unread, entry)
		}
	}
	return x
}

// matches reports whether there can be a target that the rule is for: a host with
// wildcards, an address, or a name as NO_PROXY has them.
func (r rule) matches() bool {
	host := strings.Trim(r.host, letters+"-_.:*") == "" && strings.Contains(r.host, "*")
	if _, err := netip.ParseAddr(r.host); err == nil || isName(strings.ReplaceAll(r.host, "*", "x")) {
		host = true
	}
	scheme := glob(r.scheme, "https") || glob(r.scheme, "http")
	return host && scheme && strings.Trim(r.port, "0123456789*") == ""
}

func parseRule(entry string) rule {
	scheme, address, ok := strings.Cut(entry, "://")
	if !ok {
		scheme, address = "*", entry
	}
	host, port := splitPort(strings.TrimSuffix(address, "/"))
	if a, err := netip.ParseAddr(host); err == nil {
		host = canonical(a)
	}
	if port == "" {
		port = "*"
	}
	return rule{scheme, host, port}
}

// splitPort takes a bare IPv6 address, too, for a host.
func splitPort(address string) (host, port string) {
	if strings.HasPrefix(address, "[") {
		host, port, _ = strings.Cut(address[1:], "]")
		return host, strings.TrimPrefix(port, ":")
	}
	if strings.Count(address, ":") == 1 {
		host, port, _ = strings.Cut(address, ":")
		return host, port
	}
	return address, ""
}

// match compares names and addresses as they are written: like Windows, it does
// not look up the address of a name.
func (b bypass) match(target *url.URL) bool {
	host, port := strings.ToLower(target.Hostname()), target.Port()
	if port == "" {
		port = "80"
		if target.Scheme == "https" {
			port = "443"
		}
	}
	addr, err := netip.ParseAddr(host)
	if err == nil {
		host = canonical(addr)
	}
	if !b.loopback && isLoopback(host, addr) {
		return true
	}
	if b.local && err != nil && !strings.Contains(host, ".") {
		return true
	}
	return slices.ContainsFunc(b.rules, func(r rule) bool {
		return glob(r.host, host) && glob(r.port, port) && glob(r.scheme, target.Scheme)
	})
}

// isLoopback is what Windows reaches directly unasked: this machine, and the
// addresses that no router passes on.
func isLoopback(host string, addr netip.Addr) bool {
	addr = addr.Unmap()
	return host == "localhost" || host == "loopback" || strings.HasSuffix(host, ".localhost") ||
		addr.IsLoopback() || addr.IsLinkLocalUnicast()
}

// canonical is one spelling of an address, without zone.
func canonical(a netip.Addr) string { return a.Unmap().WithZone("").String() }

// glob reports whether s is pattern, in which each "*" stands for any text.
func glob(pattern, s string) bool {
	first, rest, ok := strings.Cut(pattern, "*")
	if !ok {
		return s == pattern
	}
	s, ok = strings.CutPrefix(s, first)
	// The leftmost place for each part leaves most to the following ones.
	for ok {
		part, more, stars := strings.Cut(rest, "*")
		if !stars {
			return strings.HasSuffix(s, part)
		}
		if _, s, ok = strings.Cut(s, part); ok {
			rest = more
		}
	}
	return false
}
