package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/akv-ekm/ekm/internal/unseen"
)

// A plan is what settings come to.
type plan struct {
	source      string   // where they were found, for people
	https, http *url.URL // the proxies for each kind of target; nil: direct
	except      exceptions
	note        string // what else to know, for people

	choose func(target *url.URL) (*url.URL, error)
}

func directPlan(source string) *plan {
	return &plan{source: source, choose: func(*url.URL) (*url.URL, error) { return nil, nil }}
}

// configPlan leaves the choice to httpproxy.
func configPlan(source string, c *httpproxy.Config) (*plan, error) {
	p := &plan{source: source, except: parseNoProxy(c.NoProxy)}
	c.NoProxy = p.except.list()
	var err error
	if p.https, err = parseAddress(c.HTTPSProxy); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	if p.http, err = parseAddress(c.HTTPProxy); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	// What was parsed here is handed on: an address that httpproxy cannot parse
	// it passes over, and would go direct.
	if p.https != nil {
		c.HTTPSProxy = p.https.String()
	}
	if p.http != nil {
		c.HTTPProxy = p.http.String()
		if c.CGI {
			p.note = "HTTP_PROXY is refused in a CGI program, whose caller can set it"
		}
	}
	p.choose = c.ProxyFunc()
	return p, nil
}

// String is one line, without credentials.
func (p *plan) String() string {
	https, http := show(p.https), show(p.http)
	s := p.source + ": " + https
	if https != http {
		s = p.source + ": https " + https + ", http " + http
	}
	if p.https != nil || p.http != nil {
		s += p.except.String()
	}
	if p.note != "" {
		s += "; " + p.note
	}
	return s
}

// show leaves the user out too, who may be a token.
func show(u *url.URL) string {
	if u == nil {
		return "direct"
	}
	s := "through " + (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
	if u.User != nil {
		s += " (with credentials)"
	}
	return s
}

// parseAddress reads a proxy's URL, or host:port; nil if there is none. Its errors
// do not hold the address, which may hold a password.
func parseAddress(address string) (*url.URL, error) {
	if address == "" {
		return nil, nil
	}
	if why := unseen.Around(address); why != "" {
		return nil, errors.New("the proxy address " + why)
	}
	if !encoded(address) {
		return nil, errors.New("the proxy address has characters before its @ that must be percent-encoded in user and password: " +
			"all but the letters a to z and A to Z, digits and -._~!$&'()*+,;=, " +
			`such as % as %25, # as %23, / as %2F, ? as %3F, \ as %5C, ^ as %5E, a blank as %20`)
	}
	u, err := url.Parse(address)
	if err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		if u, err = url.Parse("http://" + address); err != nil || strings.Contains(address, "://") {
			return nil, errors.New("the proxy address is not a URL with http, https, socks5 or socks5h, nor host:port")
		}
	}
	if u.Hostname() == "" {
		return nil, errors.New("the proxy address has no host")
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the proxy address goes on behind its host")
	}
	return u, nil
}

// encoded reports whether user and password in address, all that stands before its
// last @, are as RFC 3986, section 3.2.1, has them: any character that would end them
// early, and any other of no meaning there, is percent-encoded.
func encoded(address string) bool {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return true
	}
	user := address[:at]
	if scheme, rest, ok := strings.Cut(user, "://"); ok && strings.Trim(scheme, letters+"+-.") == "" {
		user = rest
	}
	if _, err := url.PathUnescape(user); err != nil { // a % that begins no escape
		return false
	}
	return strings.Trim(user, letters+"-._~!$&'()*+,;=:@%") == ""
}

// letters are those of ASCII, with its digits.
const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
