package proxy_test

import (
	"fmt"
	"net/url"
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
		t.Setenv(name, env[name])
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
		"no URL":         {Mode: proxy.Explicit},
		"scheme":         {URL: "ftp://user:geheim@proxy.example"},
		"no host":        {URL: "http://user:geheim@"},
		"port":           {URL: "http://user:geheim@proxy.example:port"},
		"escape":         {URL: "http://user:geheim%zz@proxy.example"},
		"control":        {URL: "http://user:geheim@proxy\x01.example"},
		"opaque":         {URL: "http:geheim"},
		"no scheme left": {URL: "://geheim"},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := proxy.New(s).Proxy(&url.URL{Scheme: "https", Host: "h.example"})
			assert.Nil(t, u)
			require.ErrorIs(t, err, ekm.ErrorHttpOpenSession)
			assert.NotContains(t, fmt.Sprintf("%+v", err), "geheim")
		})
	}
	environment(t, map[string]string{"HTTPS_PROXY": "ftp://user:geheim@x"})
	_, err := new(proxy.Selector).Proxy(&url.URL{Scheme: "https", Host: "h.example"})
	require.ErrorIs(t, err, ekm.ErrorHttpOpenSession)
	assert.NotContains(t, err.Error(), "geheim")
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
