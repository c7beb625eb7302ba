package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

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
		read          bool
	}{
		{"*", "https://h.example", true},
		{"h.example", "https://h.example", true},
		{"H.Example:443", "https://h.example", true},
		{"bücher.example", "https://bücher.example", true},
		{"h_1.example", "https://h_1.example", true},
		{"10.1.2.3:8443", "https://10.1.2.3:8443", true},
		{"[2001:db8::1]", "https://[2001:db8::1]", true}, // httpproxy takes brackets with a port alone
		{"[2001:db8::1]:8443", "https://[2001:db8::1]:8443", true},
		{"2001:db8::/32", "https://[2001:db8::1]", true},

		{"10.*", "https://10.1.2.3", false}, // Java's and Windows' wildcards
		{"h*.example", "https://h1.example", false},
		{"*h.example", "https://xh.example", false},
		{"10.0.0.0/33", "https://10.0.0.1", false},
		{"10.0.0.1-9", "https://10.0.0.1", true}, // a name, by its form
		{"<local>", "https://intranet", false},
		{"https://h.example", "https://h.example", false},
		{"h.example/", "https://h.example", false},
		{"h.example:https", "https://h.example", false},
		{"h.example:0", "https://h.example", false},
		{":8443", "https://h.example:8443", false},
		{".", "https://h.example", false},
		{"[h.example]", "https://h.example", false},
		{`"h.example"`, "https://h.example", false}, // with the quotes of an env file
	} {
		s := proxy.New(proxy.Settings{URL: "p:1", NoProxy: "first.example," + c.entry + ",last.example"})
		assert.Empty(t, ask(t, s, "https://first.example"), c.entry)
		assert.Empty(t, ask(t, s, "https://last.example"), c.entry)
		if !c.read {
			assert.Equal(t, "http://p:1", ask(t, s, c.target), c.entry)
			assert.Equal(t, fmt.Sprintf(`explicit: through http://p:1, except "first.example,last.example", without the exceptions that cannot be read: %q`, c.entry), s.String())
			continue
		}
		if c.entry != "10.0.0.1-9" {
			assert.Empty(t, ask(t, s, c.target), c.entry)
		}
		assert.NotContains(t, s.String(), "cannot be read", c.entry)
	}
	alone := proxy.New(proxy.Settings{URL: "p:1", NoProxy: "10.*"})
	assert.Equal(t, `explicit: through http://p:1, without the exceptions that cannot be read: "10.*"`, alone.String())
	for _, secret := range []string{"http://user:geheim@p", "a.example;user:geheim|x@p", "user:geheim @p"} {
		settings := proxy.Settings{URL: "p:1", NoProxy: secret}
		assert.NotContains(t, settings.String()+proxy.New(settings).String(), "geheim")
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
