package proxy_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv-ekm/ekm/proxy"
)

func TestServers(t *testing.T) {
	for _, c := range []struct{ list, https, http string }{
		{"", "", ""},
		{" ; ;", "", ""},
		{"p:8080", "http://p:8080", "http://p:8080"},
		{"p", "http://p", "http://p"}, // port 80, as in Windows
		{"http://p:8080", "http://p:8080", "http://p:8080"},
		{"https://p", "https://p", "https://p"}, // TLS to the proxy: Windows cannot, but browsers can
		{"[2001:db8::1]:8080", "http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"},
		{"http=a:1;https=b:2;ftp=c:3;socks=d:4", "http://b:2", "http://a:1"},
		{"http=a:1 https=b:2", "http://b:2", "http://a:1"},
		{"http=a:1;\t;\r\nhttps=b:2;", "http://b:2", "http://a:1"},
		{"HTTP=a:1;Https=http://b:2", "http://b:2", "http://a:1"},
		{"http=a:1", "", "http://a:1"}, // https is direct, as in Windows
		{"https=a:1", "http://a:1", ""},
		{"socks=d:4", "socks5://d:4", "socks5://d:4"},
		{"socks=d:4;http=a:1", "socks5://d:4", "http://a:1"}, // what nothing else serves
		{"socks=socks5h://d", "socks5h://d", "socks5h://d"},
		{"p:1;http=a:1", "http://p:1", "http://a:1"},
		{"p:1;socks=d:4", "http://p:1", "http://p:1"},
		{"p:1 q:2", "http://p:1", "http://p:1"}, // the others are for a failure of the first: not supported
		{"https=a:1;https=b:2", "http://a:1", ""},
		{"https=;p:1", "http://p:1", "http://p:1"},
		{"ftp=c:3;gopher=x:70", "", ""},
		{"ftp=ftp://what ever=;https=a:1", "http://a:1", ""}, // not ours, not judged
		{"http://u:pass=word@p:1", "http://u:pass=word@p:1", "http://u:pass=word@p:1"},
	} {
		s := proxy.Windows(proxy.Place{Server: c.list})
		assert.Equal(t, c.https, ask(t, s, "https://h.example"), "https, %q", c.list)
		assert.Equal(t, c.http, ask(t, s, "http://h.example"), "http, %q", c.list)
	}
	for _, list := range []string{
		"ftp://u:geheim@p", "u:geheim", "https=u:geheim@:1", "http=a:1;https=ftp://geheim", "a b:geheim;http=b:geheim",
		"socks=socks4://p", // said, not guessed
		"http = p:1",       // http would be taken for a host
		"http=a:1;=geheim:2",
	} {
		reason := refused(t, proxy.Windows(proxy.Place{Name: "here", Server: list}), "https://h.example")
		assert.Contains(t, reason, "system (here): the ", list)
	}
}

// FuzzServers writes what was read and reads it again.
func FuzzServers(f *testing.F) {
	for _, s := range []string{"p:1", "http=a:1;https=b:2 socks=c:3", "https://u:p@[::1%25eth0]:1/x?y#z", "socks=socks5h://d", "=", "http = p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		s := proxy.Windows(proxy.Place{Server: list})
		var written string
		for _, scheme := range []string{"https", "http"} {
			u, err := s.Proxy(&url.URL{Scheme: scheme, Host: "h.example"})
			if err != nil {
				return
			}
			if u != nil {
				assert.Contains(t, []string{"http", "https", "socks5", "socks5h"}, u.Scheme)
				assert.NotEmpty(t, u.Hostname())
				written += scheme + "=" + u.String() + ";"
			}
		}
		again := proxy.Windows(proxy.Place{Server: written})
		assert.Equal(t, s.String(), again.String())
		assert.Equal(t, ask(t, s, "https://h.example"), ask(t, again, "https://h.example"))
	})
}

func TestWindows(t *testing.T) {
	type places []proxy.Place
	const account, machine = "account", "WinHTTP"
	for _, c := range []struct {
		name   string
		places places
		want   string // as String tells it
	}{
		{"nothing", places{{Name: account}, {Name: machine}}, "system: direct"},
		{"account", places{{Name: account, Server: "p:1"}, {Name: machine}}, "system (account): through http://p:1"},
		{"WinHTTP", places{{Name: account}, {Name: machine, Server: "q:2", Bypass: "<local>"}}, `system (WinHTTP): through http://q:2, except "<local>"`},
		{"account first", places{{Name: account, Server: "p:1"}, {Name: machine, Server: "q:2", Bypass: "*"}}, "system (account): through http://p:1"},
		{"for one protocol", places{{Name: account, Server: "http=p:1"}, {Name: machine, Server: "q:2"}}, "system (account): https direct, http through http://p:1"},
		{"for none of ours", places{{Name: account, Server: "ftp=p:1"}, {Name: machine, Server: "q:2"}}, "system (WinHTTP): through http://q:2"},
		{"a list without a proxy", places{{Name: account, Bypass: "<local>"}, {Name: machine, Bypass: "x"}}, "system: direct"},
		{
			"script and proxy",
			places{{Name: account, Server: "p:1", Script: "http://geheim/"}, {Name: machine}},
			"system (account): through http://p:1; the automatic configuration script (PAC) of the account is not evaluated",
		},
		{
			"script, and WinHTTP to fall back on",
			places{{Name: account, Script: "http://geheim/"}, {Name: machine, Server: "q:2"}},
			"system (WinHTTP): through http://q:2; the automatic configuration script (PAC) of the account is not evaluated",
		},
		{"a script further on", places{{Name: account, Server: "p:1"}, {Name: machine, Script: "http://geheim/"}}, "system (account): through http://p:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, proxy.Windows(c.places...).String())
		})
	}

	t.Run("script only", func(t *testing.T) {
		for _, at := range []places{{{Name: account, Script: "http://geheim/"}, {}}, {{}, {Name: account, Script: "http://geheim/"}}} {
			reason := refused(t, proxy.Windows(at...), "https://h.example")
			assert.Contains(t, reason, "system (account): an automatic configuration script (PAC) is set, which is not evaluated")
			assert.Contains(t, reason, "explicit")
		}
	})
	t.Run("unreadable, though WinHTTP has one", func(t *testing.T) {
		refused(t, proxy.Windows(proxy.Place{Server: "ftp://p"}, proxy.Place{Server: "q:2"}), "https://h.example")
	})
	t.Run("except", func(t *testing.T) {
		s := proxy.Windows(proxy.Place{Server: "https=p:1", Bypass: "*.contoso.example;<local>"})
		assert.Equal(t, "http://p:1", ask(t, s, "https://contoso.vault.azure.net"))
		assert.Empty(t, ask(t, s, "https://vault.contoso.example"))
		assert.Empty(t, ask(t, s, "http://contoso.vault.azure.net"))
	})
}
