package proxy_test

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/proxy"
)

func TestBypass(t *testing.T) {
	for _, c := range []struct {
		list         string
		direct, past []string // targets, https and 443 unless told
	}{
		{"", []string{"localhost", "LocalHost:8443", "x.localhost", "loopback", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "[fe80::1]", "[fe80::1%25eth0]"}, []string{"h.example", "10.0.0.1", "localhost.example", "x.loopback", "128.0.0.1", "[2001:db8::1]", "[fec0::1]"}},
		{"<-loopback>", nil, []string{"localhost", "127.0.0.1", "[::1]", "169.254.169.254"}},
		{"127.0.0.1; <-LOOPBACK>", []string{"127.0.0.1"}, []string{"localhost", "127.0.0.2"}},
		{"<local>", []string{"intranet", "INTRANET:8080"}, []string{"h.example", "intranet.", "10.0.0.1", "[2001:db8::1]"}}, // an address is no local name
		{"<LOCAL>", []string{"intranet"}, []string{"h.example"}},
		{"<other>", nil, []string{"intranet", "other"}},
		{"*", []string{"h.example", "intranet", "10.0.0.1", "[2001:db8::1]", "http://x:99"}, nil},
		{"h.example", []string{"h.example", "H.Example:8080", "http://h.example"}, []string{"x.h.example", "xh.example", "h.example.com"}}, // no subdomains: NO_PROXY has them
		{"*.contoso.com", []string{"a.contoso.com", "a.b.contoso.com"}, []string{"contoso.com", "acontoso.com", "a.contoso.com.evil.example"}},
		{"*contoso.com", []string{"contoso.com", "acontoso.com"}, []string{"contoso.org"}},
		{"*.VAULT.azure.net", []string{"c.vault.azure.net"}, []string{"vault.azure.net"}},
		{"c.*.net", []string{"c.vault.azure.net"}, []string{"c.net", "d.c.x.net"}},
		{"*a*b*", []string{"ab", "xaxbx"}, []string{"ba"}},
		{"a**b", []string{"ab", "axb"}, []string{"a"}},
		{"aba*aba", []string{"abaaba", "abaxaba"}, []string{"ababa"}}, // the two ends may not share
		{"a?c", nil, []string{"abc"}}, // "?" is no wildcard
		{"10.*", []string{"10.1.2.3", "10.example"}, []string{"110.1.2.3", "10", "1.10.1.1"}},
		{"192.168.1.*", []string{"192.168.1.77"}, []string{"192.168.10.1", "192.168.1"}},
		{"10.0.0.0/8", nil, []string{"10.1.2.3"}}, // Windows knows no networks here
		{"a.example;b.example c.example\t;\r\nd.example", []string{"a.example", "b.example", "c.example", "d.example"}, []string{"e.example"}},
		{"a.example,b.example", nil, []string{"a.example", "b.example"}}, // a comma does not separate
		{"h.example:8080", []string{"h.example:8080", "http://h.example:8080"}, []string{"h.example", "h.example:80"}},
		{"h.example:443", []string{"h.example", "h.example:443"}, []string{"http://h.example", "h.example:8443"}},
		{"h.example:80", []string{"http://h.example"}, []string{"h.example"}},
		{"*:8*", []string{"h.example:8080", "http://h.example"}, []string{"h.example"}},
		{"https://*.x.example", []string{"a.x.example", "a.x.example:1"}, []string{"http://a.x.example"}},
		{"HTTP://h.example/", []string{"http://h.example"}, []string{"h.example"}},
		{"https://h.example:8443", []string{"h.example:8443"}, []string{"h.example", "http://h.example:8443"}},
		{"[2001:db8::1]", []string{"[2001:db8::1]", "[2001:DB8:0::1]:99"}, []string{"[2001:db8::2]"}},
		{"[2001:DB8:0:0::1]:99", []string{"[2001:db8::1]:99"}, []string{"[2001:db8::1]"}},
		{"2001:db8::1", []string{"[2001:db8::1]"}, []string{"[2001:db8::1:1]"}},
		{"[2001:db8:*]", []string{"[2001:db8::1]:8080", "[2001:db8:1::]"}, []string{"[2001:db9::1]"}},
		{"https://[2001:db8::1]/", []string{"[2001:db8::1]"}, []string{"http://[2001:db8::1]"}},
		{"[; ]: ; :8080 ; :// ; h.example: ; a:b:c", []string{"h.example:99"}, []string{"x.example:8080", "a"}}, // nonsense, with one meaning in it
	} {
		for _, want := range []bool{true, false} {
			targets := c.direct
			if !want {
				targets = c.past
			}
			for _, target := range targets {
				assert.Equal(t, want, proxy.Bypassed(c.list, parseTarget(t, target)), "%s by %q", target, c.list)
			}
		}
	}
}

func parseTarget(t *testing.T, target string) *url.URL {
	t.Helper()
	if !strings.Contains(target, "://") {
		target = "https://" + target
	}
	u, err := url.Parse(target)
	require.NoError(t, err)
	return u
}

// FuzzBypass compares a rule with a regular expression for the whole target.
func FuzzBypass(f *testing.F) {
	f.Add([]byte("*.a.b"), uint8(0), uint8(0), false, []byte("b.a.b"), uint8(1), true)
	f.Add([]byte("1.*"), uint8(1), uint8(2), true, []byte("1.2.1.2"), uint8(2), false)
	f.Add([]byte("ab*ab*"), uint8(2), uint8(1), true, []byte("abb"), uint8(0), true)
	f.Fuzz(func(t *testing.T, pattern []byte, scheme, port uint8, local bool, host []byte, targetPort uint8, upper bool) {
		if len(pattern) == 0 || len(host) == 0 {
			return
		}
		// Few letters, so that they meet.
		rule, name := spell(pattern, "ab.1*"), spell(host, "ab.1")
		schemes, ports := []string{"", "https://", "http://", "h*s://"}, []string{"", ":443", ":8080", ":8*"}
		before, after := schemes[int(scheme)%4], ports[int(port)%4]

		list := before + rule + after
		if upper {
			list = strings.ToUpper(list)
		}
		if local {
			list = "<local>;" + list
		}
		target := &url.URL{Scheme: "https", Host: name}
		full := "https://" + name + ":443"
		if targetPort != 0 {
			target.Host += ":" + strconv.Itoa(int(targetPort))
			full = "https://" + target.Host
		}

		if before == "" {
			before = "*://"
		}
		if after == "" {
			after = ":*"
		}
		slow := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(before+rule+after), `\*`, ".*") + "$")
		want := slow.MatchString(full) || local && !strings.Contains(name, ".")
		assert.Equal(t, want, proxy.Bypassed(list, target), "%s by %q", full, list)
	})
}

// spell writes data in an alphabet.
func spell(data []byte, alphabet string) string {
	s := make([]byte, len(data))
	for i, b := range data {
		s[i] = alphabet[int(b)%len(alphabet)]
	}
	return string(s)
}

// FuzzBypassList: neither case nor order matters, and a further rule takes nothing
// away.
func FuzzBypassList(f *testing.F) {
	f.Add("<local>;*.x ; https://[::1]:8080", "https://a.x")
	f.Add("10.*;<-loopback> *:*", "http://10.1.1.1:80")
	f.Add("[;]:;://;", "https://[::1%25x]")
	f.Fuzz(func(t *testing.T, list, target string) {
		u, err := url.Parse(target)
		if err != nil {
			return
		}
		direct := proxy.Bypassed(list, u)
		assert.True(t, proxy.Bypassed(list+" *", u))
		if direct {
			assert.True(t, proxy.Bypassed(list+" other.example", u))
		}
		parts := strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == ';' })
		slices.Reverse(parts)
		assert.Equal(t, direct, proxy.Bypassed(strings.Join(parts, " ; "), u))
		if !strings.ContainsFunc(list, func(r rune) bool { return r >= 0x80 }) {
			assert.Equal(t, direct, proxy.Bypassed(strings.ToUpper(list), u))
		}
	})
}
