package proxy_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/proxy"
)

// environment makes the variables exactly env: all others are empty.
func environment(t *testing.T, env map[string]string) {
	t.Helper()
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "REQUEST_METHOD"} {
		t.Setenv(name, "")
	}
	for name, value := range env { // afterwards, as on Windows both cases are one
		t.Setenv(name, value)
	}
}

func ask(t *testing.T, s *proxy.Selector, target string) string {
	t.Helper()
	u, err := url.Parse(target)
	require.NoError(t, err)
	p, err := s.Proxy(u)
	require.NoError(t, err)
	if p == nil {
		return ""
	}
	return p.String()
}

func TestProxy(t *testing.T) {
	const vault, plain = "https://contoso.vault.azure.net/keys", "http://169.254.169.254/metadata"
	const p = "http://proxy.example:8080"
	type env = map[string]string
	for _, c := range []struct {
		name         string
		env          env
		settings     proxy.Settings
		target, want string
	}{
		{"nothing set", nil, proxy.Settings{}, vault, ""},
		{"upper case", env{"HTTPS_PROXY": p}, proxy.Settings{}, vault, p},
		{"lower case", env{"https_proxy": p}, proxy.Settings{Mode: proxy.Environment}, vault, p},
		{"HTTP_PROXY is not for https", env{"HTTP_PROXY": p}, proxy.Settings{}, vault, ""},
		{"HTTP_PROXY", env{"HTTP_PROXY": p}, proxy.Settings{}, plain, p},
		{"NO_PROXY", env{"HTTPS_PROXY": p, "NO_PROXY": "vault.azure.net"}, proxy.Settings{}, vault, ""},
		{"environment wins over a URL if the mode says so", env{"HTTPS_PROXY": p}, proxy.Settings{Mode: proxy.Environment, URL: "http://other"}, vault, p},
		{"none", env{"HTTPS_PROXY": p}, proxy.Settings{Mode: proxy.None, URL: p}, vault, ""},
		{"a URL implies explicit", env{"HTTPS_PROXY": "http://other"}, proxy.Settings{URL: p}, vault, p},
		{"explicit serves http too", nil, proxy.Settings{Mode: proxy.Explicit, URL: p}, plain, p},
		{"https", nil, proxy.Settings{URL: "https://proxy.example"}, vault, "https://proxy.example"},
		{"socks5", nil, proxy.Settings{URL: "socks5://u:p@proxy.example:1080"}, vault, "socks5://u:p@proxy.example:1080"},
		{"host and port", nil, proxy.Settings{URL: "proxy.example:8080"}, vault, p},
		{"environment's NO_PROXY is not for explicit", env{"NO_PROXY": "*"}, proxy.Settings{URL: p}, vault, p},
		{"NoProxy: host", nil, proxy.Settings{URL: p, NoProxy: "x.example, contoso.vault.azure.net"}, vault, ""},
		{"NoProxy: domain", nil, proxy.Settings{URL: p, NoProxy: "azure.net"}, vault, ""},
		{"NoProxy: label boundary", nil, proxy.Settings{URL: p, NoProxy: "ure.net"}, vault, p},
		{"NoProxy: network", nil, proxy.Settings{URL: p, NoProxy: "10.0.0.0/8"}, "https://10.1.2.3/", ""},
		{"NoProxy: other network", nil, proxy.Settings{URL: p, NoProxy: "10.0.0.0/8"}, "https://11.1.2.3/", p},
		{"NoProxy: port", nil, proxy.Settings{URL: p, NoProxy: "h.example:8443"}, "https://h.example:8443/", ""},
		{"NoProxy: other port", nil, proxy.Settings{URL: p, NoProxy: "h.example:8443"}, "https://h.example/", p},
		{"loopback", nil, proxy.Settings{URL: p}, "https://127.0.0.1:8443/", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			environment(t, c.env)
			assert.Equal(t, c.want, ask(t, proxy.New(c.settings), c.target))
		})
	}
}

func TestInvalid(t *testing.T) {
	for name, s := range map[string]proxy.Settings{
		"mode":           {Mode: "auto"},
		"URL as mode":    {Mode: "http://user:geheim@proxy.example"},
		"no URL":         {Mode: proxy.Explicit},
		"scheme":         {URL: "ftp://user:geheim@proxy.example"},
		"no host":        {URL: "http://user:geheim@"},
		"port":           {URL: "http://user:geheim@proxy.example:port"},
		"escape":         {URL: "http://user:geheim%zz@proxy.example"},
		"control":        {URL: "http://user:geheim@proxy\x01.example"},
		"opaque":         {URL: "http:geheim"},
		"slash":          {URL: "http://user:12/geheim@proxy.example:8080"},
		"question mark":  {URL: "http://user:12?geheim@proxy.example:8080"},
		"number sign":    {URL: "http://user:12#geheim@proxy.example:8080"},
		"no scheme left": {URL: "://geheim"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, proxy.New(s), "https://h.example")
		})
	}
	environment(t, map[string]string{"HTTPS_PROXY": "ftp://user:geheim@x"})
	refused(t, new(proxy.Selector), "https://h.example")
	refused(t, nil, "https://h.example")
	environment(t, map[string]string{"HTTP_PROXY": "ftp://user:geheim@x"})
	refused(t, nil, "https://h.example") // whether or not this target needs it
}

// refused expects the one error of the package, without password, and the same
// reason in the description.
func refused(t *testing.T, s *proxy.Selector, target string) string {
	t.Helper()
	to, err := url.Parse(target)
	require.NoError(t, err)
	u, err := s.Proxy(to)
	assert.Nil(t, u)
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, ekm.ErrorHttpOpenSession, e.Code)
	assert.Equal(t, ekm.Proxy, e.Party)
	assert.Equal(t, ekm.PhasePrepare, e.Phase)
	assert.NotContains(t, fmt.Sprintf("%+v", err), "geheim")
	assert.Equal(t, "unusable: "+e.Err.Error(), s.String())
	return e.Err.Error()
}

// A CGI program gets HTTP_PROXY from whoever sends it a "Proxy:" header.
func TestCGI(t *testing.T) {
	environment(t, map[string]string{"REQUEST_METHOD": "GET", "HTTP_PROXY": "http://u:geheim@evil.example", "HTTPS_PROXY": "http://good.example"})
	s := new(proxy.Selector)
	_, err := s.Proxy(&url.URL{Scheme: "http", Host: "h.example"})
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, ekm.ErrorHttpOpenSession, e.Code)
	assert.NotContains(t, err.Error(), "geheim")
	assert.Equal(t, "http://good.example", ask(t, s, "https://h.example"))
	assert.Equal(t, "environment: https through http://good.example, http through http://evil.example (with credentials); "+
		"HTTP_PROXY is refused in a CGI program, whose caller can set it", s.String())
}

func TestString(t *testing.T) {
	for _, c := range []struct {
		env      map[string]string
		settings proxy.Settings
		want     string
	}{
		{nil, proxy.Settings{}, "environment: direct"},
		{map[string]string{"NO_PROXY": "a"}, proxy.Settings{}, "environment: direct"}, // nothing to except from
		{map[string]string{"HTTPS_PROXY": "p:1"}, proxy.Settings{}, "environment: https through http://p:1, http direct"},
		{map[string]string{"HTTP_PROXY": "p:1", "HTTPS_PROXY": "p:1", "NO_PROXY": "a,b"}, proxy.Settings{}, `environment: through http://p:1, except "a,b"`},
		{nil, proxy.Settings{Mode: proxy.None, URL: "http://p"}, "none: direct"},
		{nil, proxy.Settings{URL: "https://user:geheim@p:1/"}, "explicit: through https://p:1 (with credentials)"},
		{nil, proxy.Settings{URL: "socks5://token-geheim@p"}, "explicit: through socks5://p (with credentials)"},
		{nil, proxy.Settings{URL: "p", NoProxy: "a\n2026 all is well"}, `explicit: through http://p, except "a,all,is,well", without the exceptions that cannot be read: "2026"`}, // one line of log
		{nil, proxy.Settings{URL: "p", NoProxy: "http://user:pw@p"}, `explicit: through http://p, without the exceptions that cannot be read and are not shown, as there is a user in the list`},
		{nil, proxy.Settings{URL: "p", NoProxy: strings.Repeat("é", 999)}, `explicit: through http://p, except "` + strings.Repeat("é", 200) + `"`},
	} {
		environment(t, c.env)
		assert.Equal(t, c.want, proxy.New(c.settings).String())
		assert.Equal(t, c.want, fmt.Sprint(proxy.New(c.settings)))
	}
	environment(t, nil)
	assert.Equal(t, "environment: direct", (*proxy.Selector)(nil).String())
}

// FuzzSecret puts a password where a proxy's address may have one.
func FuzzSecret(f *testing.F) {
	for _, s := range [][2]string{
		{"http://", "p:8080"},
		{"socks5://", "[::1]:1"},
		{"", "p"},
		{"ftp://", "p"},
		{"http://", ":port"},
		{"https=", "p"},
		{"http=a;https://", "p"},
		{"http://[", "p"},
		{"http:", ""},
		{"://", ""},
		{"http://", "@p"},
		{"http://p/", "x"},
		{"", "%zz"},
		{"\x00", ""},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "0geheim0"
		if strings.Contains(before+after, "0") {
			return
		}
		address := before + "user:" + secret + "@" + after
		for _, s := range []*proxy.Selector{proxy.New(proxy.Settings{URL: address}), proxy.Windows(proxy.Place{Server: address})} {
			assert.NotContains(t, s.String(), secret)
			_, err := s.Proxy(&url.URL{Scheme: "https", Host: "h.example"})
			if err != nil {
				assert.Equal(t, ekm.ErrorHttpOpenSession, ekm.CodeOf(err))
				assert.NotContains(t, fmt.Sprintf("%+v", err), secret)
			}
		}
	})
}

func TestReadOnce(t *testing.T) {
	const target = "https://h.example/"
	environment(t, map[string]string{"HTTPS_PROXY": "http://early"})
	s := new(proxy.Selector)
	t.Setenv("HTTPS_PROXY", "http://first")
	assert.Equal(t, "http://first", ask(t, s, target), "read at first use, not before")
	t.Setenv("HTTPS_PROXY", "http://second")
	assert.Equal(t, "http://first", ask(t, s, target), "kept")
	s.Reload()
	assert.Equal(t, "http://second", ask(t, s, target))

	t.Setenv("HTTPS_PROXY", "ftp://x")
	s.Reload()
	for range 2 {
		_, err := s.Proxy(&url.URL{Scheme: "https", Host: "h.example"})
		require.ErrorIs(t, err, ekm.ErrorHttpOpenSession)
		t.Setenv("HTTPS_PROXY", "http://third") // a failure is kept too
	}
	s.Reload()
	assert.Equal(t, "http://third", ask(t, s, target))

	var none *proxy.Selector
	assert.Equal(t, "http://third", ask(t, none, target))
	assert.NotPanics(t, none.Reload)
}

func TestConcurrent(t *testing.T) {
	s := proxy.New(proxy.Settings{URL: "http://proxy.example"})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			if i%8 == 0 {
				s.Reload()
			}
			u, err := s.Proxy(&url.URL{Scheme: "https", Host: "h.example"})
			assert.NoError(t, err)
			assert.Equal(t, "http://proxy.example", u.String())
		})
	}
	wg.Wait()
}

func ExampleSelector() {
	s := proxy.New(proxy.Settings{URL: "proxy.contoso.example:8080", NoProxy: "vault.contoso.example"})
	for _, host := range []string{"contoso.vault.azure.net", "vault.contoso.example"} {
		p, err := s.Proxy(&url.URL{Scheme: "https", Host: host})
		fmt.Println(p, err)
	}
	// Output:
	// http://proxy.contoso.example:8080 <nil>
	// <nil> <nil>
}

func ExampleSelector_String() {
	fmt.Println(proxy.New(proxy.Settings{URL: "http://user:password@proxy.contoso.example:8080", NoProxy: "contoso.example"}))
	fmt.Println(proxy.New(proxy.Settings{URL: "ftp://user:password@proxy.contoso.example"}))
	fmt.Println(proxy.New(proxy.Settings{Mode: proxy.None}))
	// Output:
	// explicit: through http://proxy.contoso.example:8080 (with credentials), except "contoso.example"
	// unusable: explicit: the proxy address is not a URL with http, https, socks5 or socks5h, nor host:port
	// none: direct
}

// What a machine is set to depends on the machine: a log should tell.
func ExampleSettings_system() {
	s := proxy.New(proxy.Settings{Mode: proxy.System})
	inForce := s.String() // such as "system (WinHTTP settings): through http://proxy.contoso.example:8080"
	fmt.Println(strings.Contains(inForce, "system"))
	s.Reload() // once an administrator has changed it
	// Output: true
}
