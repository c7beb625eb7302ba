package proxy

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
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

// parseException returns an entry in the form that httpproxy puts in force; false for
// what it would pass over, or keep as a name that no target has.
func parseException(entry string) (string, bool) {
	if _, _, err := net.ParseCIDR(entry); err == nil || entry == "*" {
		return entry, true
	}
	host, port, err := net.SplitHostPort(entry)
	if err != nil {
		host, port = entry, ""
	} else if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", false
	} else {
		port = strconv.FormatUint(n, 10) // httpproxy compares the digits
	}
	host = strings.TrimSuffix(host, ".") // as no target has it
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host, ok = strings.CutSuffix(inner, "]")
		if !ok || net.ParseIP(host) == nil {
			return "", false
		}
	}
	name, ok := strings.CutPrefix(host, "*.")
	if !ok {
		name = strings.TrimPrefix(host, ".")
	}
	if net.ParseIP(host) == nil && !isName(name) {
		return "", false
	}
	if port != "" {
		return net.JoinHostPort(host, port), true
	}
	return host, true
}

// isName reports whether a target can have this name: labels that are not empty and
// neither begin nor end with a hyphen, the last one with a letter, as an address in
// digits is none.
func isName(name string) bool {
	if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil || strings.ContainsFunc(name, isSign) {
			return false
		}
		name = ascii
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || strings.Trim(label, "-") != label || strings.Trim(label, letters+"-_") != "" {
			return false
		}
	}
	return strings.ContainsFunc(labels[len(labels)-1], unicode.IsLetter)
}

// isSign reports what no label has, such as a typographic quote, which idna lets pass.
func isSign(r rune) bool {
	return r != '.' && r != '-' && !unicode.In(r, unicode.L, unicode.M, unicode.Nd)
}

// list is what is in force, in the form of its source: httpproxy's, or Windows'.
func (x exceptions) list() string { return strings.Join(x.entries, x.separator) }

// String goes on after the proxies: what is in force, and what is not. A user in the
// list, as in a proxy's URL, may have a password with separators in it, parts of which
// look like entries: then no entry is shown.
func (x exceptions) String() string {
	user := strings.Contains(x.list()+strings.Join(x.unread, ""), "@")
	text := ""
	switch {
	case len(x.entries) == 0:
	case user:
		text = ", except what is not shown, as there is a user in the list"
	default:
		text = fmt.Sprintf(", except %.200q", x.list())
	}
	switch {
	case len(x.unread) == 0:
	case user:
		text += ", without the exceptions that cannot be read and are not shown, as there is a user in the list"
	default:
		text += fmt.Sprintf(", without the exceptions that cannot be read: %.200q", strings.Join(x.unread, x.separator))
	}
	return text
}
