package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// A connection is what one place on a Windows machine says.
type connection struct {
	place  string // for people
	server string // ProxyServer; empty if it is switched off
	bypass string // ProxyOverride
	script string // AutoConfigURL
}

// windowsPlan follows the first of the places that names a proxy for us.
//
// A script found on the way is passed over, as Windows itself falls back on the
// static proxy where it cannot get the script; but with no proxy to fall back on
// the choice would be ours, between a wrong one and none.
func windowsPlan(places []connection) (*plan, error) {
	scripted := ""
	for _, c := range places {
		if c.script != "" && scripted == "" {
			scripted = c.place
		}
		https, http, err := parseServers(c.server)
		if err != nil {
			return nil, fmt.Errorf("system (%s): %w", c.place, err)
		}
		if https == nil && http == nil {
			continue
		}
		p := &plan{source: "system (" + c.place + ")", https: https, http: http, except: bypassed(c.bypass)}
		if scripted != "" {
			p.note = "the automatic configuration script (PAC) of the " + scripted + " is not evaluated"
		}
		p.choose = p.unless(parseBypass(c.bypass))
		return p, nil
	}
	if scripted != "" {
		return nil, fmt.Errorf("system (%s): an automatic configuration script (PAC) is set, which is not evaluated, "+
			"and no proxy is named beside it: name one in the mode explicit or with netsh winhttp set proxy, "+
			"or choose the mode none", scripted)
	}
	return directPlan("system"), nil
}

// unless chooses by the target's scheme whatever is not bypassed.
func (p *plan) unless(b bypass) func(*url.URL) (*url.URL, error) {
	return func(target *url.URL) (*url.URL, error) {
		proxy := p.http
		if target.Scheme == "https" {
			proxy = p.https
		}
		if proxy == nil || b.match(target) {
			return nil, nil
		}
		return proxy, nil
	}
}

// parseServers reads ProxyServer: one address for all, or protocol=address for
// each, the first of a kind. Protocols of no use here, like ftp, are passed over.
// Microsoft has the form under "WINHTTP_PROXY_INFO structure".
//
// socks= serves what nothing else serves, as in Windows. There it means SOCKS 4;
// it is taken for SOCKS 5, which servers of today speak too: a plain failure to
// connect is better than going past the proxy.
func parseServers(list string) (https, http *url.URL, err error) {
	first := make(map[string]string) // by protocol; the one for all has none
	for _, entry := range strings.FieldsFunc(list, separates) {
		protocol, address := "", entry
		// A "=" further on is part of an address: http://user:pass=word@host.
		if i := strings.IndexAny(entry, "=:/@"); i >= 0 && entry[i] == '=' {
			protocol, address = strings.ToLower(entry[:i]), entry[i+1:]
			if protocol == "" { // as in "http = host", where http would pass for a host
				return nil, nil, errors.New("the list of proxies has an address without a protocol")
			}
		}
		if protocol == "socks" && address != "" && !strings.Contains(address, "://") {
			address = "socks5://" + address
		}
		if first[protocol] == "" {
			first[protocol] = address
		}
	}
	if https, err = firstOf(first, "https", "", "socks"); err != nil {
		return nil, nil, err
	}
	if http, err = firstOf(first, "http", "", "socks"); err != nil {
		return nil, nil, err
	}
	return https, http, nil
}

func firstOf(addresses map[string]string, protocols ...string) (*url.URL, error) {
	for _, p := range protocols {
		if a := addresses[p]; a != "" {
			return parseAddress(a)
		}
	}
	return nil, nil
}

// separates is what stands between the entries of both lists of Windows.
func separates(r rune) bool { return r == ';' || unicode.IsSpace(r) }
