package proxy

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// exceptions are the targets to reach directly.
type exceptions struct {
	entries   []string // those that are in force
	unread    []string // those that mean nothing
	separator string
}

// parseNoProxy reads NO_PROXY. Its form is that of golang.org/x/net/http/httpproxy,
// which takes commas alone for separators; here semicolons, bars and blanks separate
// too, as in curl (blanks), Windows' ProxyOverride (semicolons, blanks) and Java's
// http.nonProxyHosts (bars). None of them can be part of an entry.
func parseNoProxy(list string) exceptions {
	x := exceptions{separator: ","}
	separator := func(r rune) bool { return strings.ContainsRune(",;|", r) || unicode.IsSpace(r) }
	for _, entry := range strings.FieldsFunc(list, separator) {
		if read, ok := parseException(entry); ok {
			x.entries = append(x.entries, read)
		} else {
			x.unread = append(x.unread, entry)
		}
	}
	return x
}

// parseException returns an entry as httpproxy understands it; false for what it
// would pass over, or keep as a name that no target has.
func parseException(entry string) (string, bool) {
	if _, _, err := net.ParseCIDR(entry); err == nil || entry == "*" || net.ParseIP(entry) != nil {
		return entry, true
	}
	host, port, err := net.SplitHostPort(entry)
	if err != nil {
		host, port = entry, ""
	} else if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", false
	}
	if inner, ok := strings.CutPrefix(host, "["); ok { // an IPv6 address without port
		inner, ok = strings.CutSuffix(inner, "]")
		return inner, ok && net.ParseIP(inner) != nil
	}
	if net.ParseIP(host) != nil {
		return entry, true
	}
	name := strings.TrimPrefix(strings.TrimPrefix(host, "*"), ".")
	if strings.HasPrefix(host, "*") && !strings.HasPrefix(host, "*.") || name == "" {
		return "", false
	}
	for _, r := range name {
		if r < utf8.RuneSelf && !strings.ContainsRune(letters+".-_", r) {
			return "", false
		}
	}
	return entry, true
}

// list is what is in force, in the form of its source: httpproxy's, or Windows'.
func (x exceptions) list() string { return strings.Join(x.entries, x.separator) }

// String goes on after the proxies: what is in force, and what is not.
func (x exceptions) String() string {
	if strings.Contains(x.list()+strings.Join(x.unread, ""), "@") {
		return ", except what is not shown, as there is a user in it" // a proxy's URL in the wrong place
	}
	text := ""
	if len(x.entries) > 0 {
		text = fmt.Sprintf(", except %.200q", x.list())
	}
	if len(x.unread) > 0 {
		text += fmt.Sprintf(", without the exceptions that cannot be read: %.200q", strings.Join(x.unread, x.separator))
	}
	return text
}
