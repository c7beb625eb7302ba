package wire_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/internal/wire"
)

// A proxy knows its password as well as we do, and writes it where HTTP allows it
// and where it does not.
func TestProxyEchoesItsPassword(t *testing.T) {
	const password = "hunter22/pass+word"
	target := nettest.ListenTLS(t, trusted().Config(t), nettest.Replying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false))
	both := base64.StdEncoding.EncodeToString([]byte("someone:" + password))
	for name, echo := range map[string]string{
		"password": password, "escaped": url.QueryEscape(password), "Basic": "Basic " + both, "base64 alone": strings.TrimRight(both, "="),
		"half": password[:9], "quoted": fmt.Sprintf("%q", password), "base64 of the header": base64.StdEncoding.EncodeToString([]byte("Proxy-Authorization: Basic " + both)),
	} {
		for place, answer := range map[string]string{
			"status code":    "HTTP/1.1 %s No\r\n\r\n",
			"protocol":       "%s 200 OK\r\n\r\n",
			"reason":         "HTTP/1.1 407 %s\r\n\r\n",
			"header line":    "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
			"header name":    "HTTP/1.1 200 OK\r\n%s\x01: x\r\n\r\n",
			"length":         "HTTP/1.1 407 No\r\nContent-Length: %s\r\n\r\n",
			"encoding":       "HTTP/1.1 407 No\r\nTransfer-Encoding: %s\r\n\r\n",
			"no HTTP at all": "%s\r\n\r\n",
		} {
			address := nettest.Listen(t, nettest.Replying(fmt.Sprintf(answer, echo), false))
			u := &url.URL{Scheme: "http", User: url.UserPassword("someone", password), Host: address}
			for transport, client := range map[string]*wire.Client{
				"our own": newClient(t, wire.NewTransport(func(*url.URL) (*url.URL, error) { return u, nil }, wire.Timeouts{}, wire.Limits{})),
				"foreign": newClient(t, &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: new(tls.Config)}),
			} {
				_, err := do(t, client, get(target))
				var e *ekm.Error
				require.ErrorAs(t, err, &e, "%s, %s, %s", name, place, transport)
				hides(t, e, token, password, echo, both, strings.TrimRight(both, "="), password[:8], "hunter22")
			}
		}
	}
}

// A proxy that ends TLS itself answers for the vault.
func TestInspectingProxyEchoesItsPassword(t *testing.T) {
	const password = "hunter22/pass+word"
	inspected := nettest.ListenTLS(t, trusted().Config(t), nettest.Replying("HTTP/1.1 400 No\r\nX-Ms-Request-Id: "+password+"\r\nContent-Length: 0\r\n\r\n", false))
	address := nettest.Listen(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		to, err := net.Dial("tcp", inspected)
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		relay(c, r, to)
	})
	u := &url.URL{Scheme: "http", User: url.UserPassword("someone", password), Host: address}
	client := newClient(t, wire.NewTransport(func(*url.URL) (*url.URL, error) { return u, nil }, wire.Timeouts{}, wire.Limits{}))
	r := get(inspected)
	resp := must(t, client, r)
	assert.Equal(t, "[redacted]", client.Refusal(r, resp).RequestID)
	assert.Equal(t, leftOut, r.Clean("you are someone:"+password, 200))
	assert.Equal(t, "you are someone", r.Clean("you are someone", 200), "a user's name is no secret")
}

// What of a proxy's credentials is looked for.
func TestProxyCredentials(t *testing.T) {
	for _, c := range []struct {
		user   *url.Userinfo
		text   string
		hidden bool
	}{
		{url.UserPassword("corporate-user", "hunter22"), "the user corporate-user is unknown", false},
		{url.UserPassword("corporate-user", "hunter22"), "the password hunter22 is wrong", true},
		{url.UserPassword("u", "pw1"), "a colon in u:pw1", true}, // of three letters, but not alone
		{url.UserPassword("u", "pw1"), "a pw1 alone", false},
		{url.User("ghp_token"), "who is ghp_token", true},
		{url.UserPassword("ghp_1234567890abcdef", "x-oauth"), "who is ghp_1234567890abcdef", true},
		{url.UserPassword("apikey", "x"), "the apikey is wrong", false},
	} {
		u := &url.URL{Scheme: "http", User: c.user, Host: "127.0.0.1:1"}
		client := &wire.Client{Transport: wire.NewTransport(func(*url.URL) (*url.URL, error) { return u, nil }, wire.Timeouts{}, wire.Limits{})}
		r := get("v.example")
		_, err := client.Do(t.Context(), r)
		require.Error(t, err)
		want := c.text
		if c.hidden {
			want = leftOut
		}
		assert.Equal(t, want, r.Clean(c.text, 200), c.user)
	}
}
