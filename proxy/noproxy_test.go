package proxy_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/proxy"
)

func TestNoProxySeparators(t *testing.T) {
	entries := []string{"a.example", ".b.example", "*.c.example", "10.0.0.0/8", "d.example:8443", "2001:db8::1"}
	direct := []string{"https://a.example", "https://x.a.example", "https://x.b.example", "https://x.c.example", "https://10.1.2.3", "https://d.example:8443", "https://[2001:db8::1]"}
	past := []string{"https://b.example", "https://c.example", "https://11.1.2.3", "https://d.example", "https://e.example"}
	const shown = `, except "a.example,.b.example,*.c.example,10.0.0.0/8,d.example:8443,2001:db8::1"`
	for _, c := range []struct{ why, separator string }{
		{"as documented everywhere", ","},
		{"blanks, as curl takes them", " "},
		{"commas and blanks", ", "},
		{"semicolons, as Windows has them", ";"},
		{"semicolons and blanks", " ; "},
		{"bars, as Java has them", "|"},
		{"line breaks, as YAML leaves them", "\n"},
		{"some of each", ",;|\t ,"},
	} {
		list := strings.Join(entries, c.separator)
		for where, s := range map[string]*proxy.Selector{
			"explicit":    proxy.New(proxy.Settings{URL: "p:1", NoProxy: list}),
			"environment": new(proxy.Selector),
		} {
			t.Run(c.why+", "+where, func(t *testing.T) {
				environment(t, map[string]string{"HTTPS_PROXY": "p:1", "NO_PROXY": list})
				for _, target := range direct {
					assert.Empty(t, ask(t, s, target), target)
				}
				for _, target := range past {
					assert.Equal(t, "http://p:1", ask(t, s, target), target)
				}
				assert.Contains(t, s.String(), shown)
				assert.NotContains(t, s.String(), "cannot be read")
				assert.Contains(t, proxy.Settings{URL: "p:1", NoProxy: list}.String(), shown)
			})
		}
	}
}

// What is listed as in force is in force, and what is not is told.
func TestNoProxyListsWhatIsInForce(t *testing.T) {
	for _, c := range []struct {
		entry, target string // that it means
		listed        string // as in force; empty: not read
	}{
		{"*", "https://h.example", "*"},
		{"h.example", "https://h.example", "h.example"},
		{"h.example", "https://x.h.example", "h.example"},
		{"H.Example:443", "https://h.example", "H.Example:443"},
		{"h.example:0443", "https://h.example", "h.example:443"}, // httpproxy compares digits
		{"intranet", "https://intranet", "intranet"},
		{"bücher.example", "https://bücher.example", "bücher.example"},
		{"пример.рф", "https://x.xn--e1afmkfd.xn--p1ai", "пример.рф"},
		{"h_1.example", "https://h_1.example", "h_1.example"},
		{"h--1.example", "https://h--1.example", "h--1.example"},
		{"10.1.2.3.example", "https://10.1.2.3.example", "10.1.2.3.example"},
		{"10.1.2.3:8443", "https://10.1.2.3:8443", "10.1.2.3:8443"},
		{"[2001:db8::1]", "https://[2001:db8::1]", "2001:db8::1"}, // httpproxy takes brackets with a port alone
		{"[2001:db8::1]:8443", "https://[2001:db8::1]:8443", "[2001:db8::1]:8443"},
		{"2001:db8::/32", "https://[2001:db8::1]", "2001:db8::/32"},
		{"vault.azure.net.", "https://x.vault.azure.net", "vault.azure.net"}, // the dot of DNS
		{"*.vault.azure.net.:443", "https://x.vault.azure.net", "*.vault.azure.net:443"},
		{"10.0.0.1.", "https://10.0.0.1", "10.0.0.1"},

		{"10.*", "https://10.1.2.3", ""}, // Java's and Windows' wildcards
		{"h*.example", "https://h1.example", ""},
		{"*h.example", "https://xh.example", ""},
		{"*.", "https://h.example", ""},
		{"*:443", "https://h.example", ""},
		{"10.", "https://10.1.2.3", ""}, // prefixes, as in shells' and Python's lists
		{"192.168.", "https://192.168.1.1", ""},
		{"10.0.0", "https://10.0.0.1", ""},
		{"10.0.0.1-9", "https://10.0.0.1", ""},
		{"010.0.0.1", "https://10.0.0.1", ""},
		{".10.0.0.1", "https://10.0.0.1", ""},
		{"*.10.0.0.1", "https://10.0.0.1", ""},
		{"10.0.0.0/33", "https://10.0.0.1", ""},
		{"..vault.azure.net", "https://x.vault.azure.net", ""},
		{"*..azure.net", "https://x.vault.azure.net", ""},
		{"vault..azure.net", "https://vault.azure.net", ""},
		{"vault.azure.net..", "https://x.vault.azure.net", ""},
		{"-", "https://h.example", ""},
		{"-h.example", "https://h.example", ""},
		{"h-.example", "https://h.example", ""},
		{"h.example-", "https://h.example", ""},
		{"<local>", "https://intranet", ""},
		{"https://h.example", "https://h.example", ""},
		{"h.example/", "https://h.example", ""},
		{"h.example:https", "https://h.example", ""},
		{"h.example:0", "https://h.example", ""},
		{":8443", "https://h.example:8443", ""},
		{".", "https://h.example", ""},
		{"[h.example]", "https://h.example", ""},
		{`"h.example"`, "https://h.example", ""}, // with the quotes of an env file
		{"“h.example”", "https://h.example", ""}, // or of a word processor
		{"«h.example»", "https://h.example", ""},
		{"x.“h.example”", "https://h.example", ""},
	} {
		s := proxy.New(proxy.Settings{URL: "p:1", NoProxy: "first.example," + c.entry + ",last.example"})
		assert.Empty(t, ask(t, s, "https://first.example"), c.entry)
		assert.Empty(t, ask(t, s, "https://last.example"), c.entry)
		if c.listed == "" {
			assert.Equal(t, "http://p:1", ask(t, s, c.target), c.entry)
			assert.Equal(t, fmt.Sprintf(`explicit: through http://p:1, except "first.example,last.example", without the exceptions that cannot be read: %q`, c.entry), s.String())
			continue
		}
		assert.Empty(t, ask(t, s, c.target), c.entry)
		assert.Equal(t, fmt.Sprintf(`explicit: through http://p:1, except %q`, "first.example,"+c.listed+",last.example"), s.String())
	}
	alone := proxy.New(proxy.Settings{URL: "p:1", NoProxy: "10.*"})
	assert.Equal(t, `explicit: through http://p:1, without the exceptions that cannot be read: "10.*"`, alone.String())
}

// A proxy's URL in the wrong list is not shown, nor a part of its password that looks
// like an entry; but whether anything is in force is told.
func TestNoProxyWithAUser(t *testing.T) {
	const (
		inForce = ", except what is not shown, as there is a user in the list"
		unread  = ", without the exceptions that cannot be read and are not shown, as there is a user in the list"
	)
	for list, want := range map[string]string{
		"user:geheim@proxy":             unread,
		"http://user:geheim@p":          unread,
		"user:geheim @p":                unread,
		"a.example,user:geheim@p":       inForce + unread,
		"a.example;user:geheim|x@p":     inForce + unread,
		"user:pw;geheim.geheim;x@proxy": inForce + unread,
	} {
		settings := proxy.Settings{URL: "p:1", NoProxy: list}
		assert.Equal(t, "explicit: through http://p:1"+want, proxy.New(settings).String(), list)
		assert.NotContains(t, settings.String(), "geheim")
	}
}

// The same of Windows' list.
func TestProxyOverrideListsWhatIsInForce(t *testing.T) {
	const place = "system (here): through http://p:1"
	for list, want := range map[string]string{
		"<local>;*.x.example 10.*":    `, except "<local>;*.x.example;10.*"`,
		"a.example,b.example;<Local>": `, except "<Local>", without the exceptions that cannot be read: "a.example,b.example"`,
		"10.0.0.0/8;<other>":          `, without the exceptions that cannot be read: "10.0.0.0/8;<other>"`,
		":8080;h.example":             `, except "h.example", without the exceptions that cannot be read: ":8080"`,
		" ; ":                         "",
		"10.;h..example;“h.example”":  `, without the exceptions that cannot be read: "10.;h..example;“h.example”"`,
		"h.example:http;ftp://x.example;h.example:80;https://*.x.example:8*;[2001:db8:*];[::1]": `, except "h.example:80;https://*.x.example:8*;[2001:db8:*];[::1]", without the exceptions that cannot be read: "h.example:http;ftp://x.example"`,
	} {
		assert.Equal(t, place+want, proxy.Windows(proxy.Place{Name: "here", Server: "p:1", Bypass: list}).String())
	}
}

// A password is told to need percent-encoding whatever character it has, and nothing
// of it is shown.
func TestPasswordsMustBeEncoded(t *testing.T) {
	const tip = "must be percent-encoded in user and password"
	for _, c := range []struct{ why, user, encoded string }{
		{"a number sign, which begins a fragment", "user:geh#eim", "user:geh%23eim"},
		{"a slash, which begins a path", "user:geh/eim", "user:geh%2Feim"},
		{"a question mark, which begins a query", "user:geh?eim", "user:geh%3Feim"},
		{"a port's digits before it", "user:12/geheim", "user:12%2Fgeheim"},
		{"a percent sign", "user:geh%eim", "user:geh%25eim"},
		{"a percent sign and two other signs", "user:geheim%zz", "user:geheim%25zz"},
		{"a percent sign at the end", "user:geheim%", "user:geheim%25"},
		{"a circumflex", "user:geh^eim", "user:geh%5Eeim"},
		{"a domain of Windows", `CORP\user:geheim`, "CORP%5Cuser:geheim"},
		{"a blank", "user:geh eim", "user:geh%20eim"},
		{"a quote", `user:geh"eim`, "user:geh%22eim"},
		{"angle brackets", "user:geh<e>im", "user:geh%3Ce%3Eim"},
		{"square brackets", "user:[geheim]", "user:%5Bgeheim%5D"},
		{"braces and a bar", "user:{geh|eim}", "user:%7Bgeh%7Ceim%7D"},
		{"a grave accent", "user:geh`eim", "user:geh%60eim"},
		{"a letter that is not ASCII's", "user:gehäeim", "user:geh%C3%A4eim"},
		{"typographic quotes", "user:“geheim”", "user:%E2%80%9Cgeheim%E2%80%9D"},
		{"no ASCII", "user:gehéim-geheim", "user:geh%C3%A9im-geheim"},
		{"an address in it", "user:geheim://x", "user:geheim%3A%2F%2Fx"},
		{"an at sign and a number sign", "user:geh@eim#x", "user:geh%40eim%23x"},
	} {
		for _, scheme := range []string{"http://", "https://", "socks5://", ""} {
			address := scheme + c.user + "@proxy.example:8080"
			t.Run(c.why+" "+scheme, func(t *testing.T) {
				environment(t, map[string]string{"HTTPS_PROXY": address})
				for _, s := range []*proxy.Selector{proxy.New(proxy.Settings{URL: address}), new(proxy.Selector)} {
					reason := refused(t, s, "https://h.example")
					assert.Contains(t, reason, tip)
					// Whatever the character is, it is none of those that may stay.
					assert.Contains(t, reason, "all but the letters a to z and A to Z, digits and -._~!$&'()*+,;=, such as")
					assert.NotContains(t, reason, "geh")
					assert.NotContains(t, reason, "CORP")
					assert.NotContains(t, reason, "user:")
				}
				settings := proxy.Settings{URL: scheme + c.encoded + "@proxy.example:8080"}
				shown := scheme
				if scheme == "" {
					shown = "http://"
				}
				assert.Equal(t, "explicit: through "+shown+"proxy.example:8080 (with credentials)", proxy.New(settings).String())
			})
		}
	}
	environment(t, nil)
	for _, address := range []string{
		"http://user:p@ss@proxy.example:8080",    // the last @ counts
		"http://user:-._~!$&'()*+,;=:@p.example", // all that RFC 3986 allows there
		"user@proxy.example", "http://CORP%5Cuser:p%25@proxy.example",
	} {
		assert.Contains(t, proxy.New(proxy.Settings{URL: address}).String(), "(with credentials)", address)
	}
	for address, says := range map[string]string{
		"http://proxy.example:8080/path":     "goes on behind its host",
		"http://user:geheim@proxy.example/x": "goes on behind its host",
		"ftp://user:geheim@proxy.example":    "is not a URL with http",
		"http://user:geheim@":                "has no host",
		"http://proxy.example:8080 ":         "has blanks or a line break around it",
		"\ufeffhttp://proxy.example:8080":    "has an invisible character",
	} {
		reason := refused(t, proxy.New(proxy.Settings{URL: address}), "https://h.example")
		assert.Contains(t, reason, says)
		assert.NotContains(t, reason, tip)
	}
}

// FuzzNoProxyListsWhatIsInForce: whatever is listed as in force, a target under it
// bypasses the proxy.
func FuzzNoProxyListsWhatIsInForce(f *testing.F) {
	for _, seed := range []string{"h.example", ".h.example:8443", "*.h.example.", "10.0.0.1", "[2001:db8::1]:1", "bücher.example", "“h”", "10.", "h..x", "*."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		if len(entry) > 64 || strings.ContainsAny(entry, "@,;|/") || strings.Join(strings.Fields(entry), "") != entry {
			t.Skip("a user, several entries, or a network")
		}
		s := proxy.New(proxy.Settings{URL: "p:1", NoProxy: entry})
		_, quoted, inForce := strings.Cut(s.String(), ", except ")
		if !inForce {
			return
		}
		listed, err := strconv.Unquote(quoted)
		require.NoError(t, err)
		host, port, err := net.SplitHostPort(listed)
		if err != nil {
			host, port = listed, "443"
		}
		if host = strings.TrimPrefix(host, "*"); host == "" || host[0] == '.' {
			host = "x" + host
		}
		assert.Empty(t, ask(t, s, "https://"+net.JoinHostPort(host, port)), listed)
	})
}
