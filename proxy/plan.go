package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// A plan is what settings come to.
type plan struct {
	source      string   // where they were found, for people
	https, http *url.URL // the proxies for each kind of target; nil: direct
	except      string   // the targets to reach directly, as they were written
	note        string   // what else to know, for people

	choose func(target *url.URL) (*url.URL, error)
}

func directPlan(source string) *plan {
	return &plan{source: source, choose: func(*url.URL) (*url.URL, error) { return nil, nil }}
}

// configPlan leaves the choice to httpproxy.
func configPlan(source string, c *httpproxy.Config) (*plan, error) {
	p := &plan{source: source, except: c.NoProxy}
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
	switch used := p.https != nil || p.http != nil; {
	case used && strings.Contains(p.except, "@"):
		s += ", except what is not shown, as there is a user in it" // a proxy's URL in the wrong place
	case used && p.except != "":
		s += fmt.Sprintf(", except %.200q", p.except)
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
	u, err := url.Parse(address)
	if err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		if u, err = url.Parse("http://" + address); err != nil || strings.Contains(address, "://") {
			return nil, errors.New("the proxy address is not a URL with http, https, socks5 or socks5h, nor host:port")
		}
	}
	if u.Hostname() == "" {
		return nil, errors.New("the proxy address has no host")
	}
	// A password with a bare "/", "?" or "#" ends up there, and its beginning in the
	// place of the port.
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the proxy address goes on behind its host; in a password, write / as %2F, ? as %3F, # as %23")
	}
	return u, nil
}
