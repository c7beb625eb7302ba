// Package proxy decides which proxy a request goes through.
//
// [Settings] are plain data. A [Selector] compiles them at its first use and
// keeps the result until [Selector.Reload], as the SQL Server connector keeps
// the settings that it found at its first request.
package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http/httpproxy"

	"github.com/akv-ekm/ekm"
)

// A Mode is where the settings come from.
type Mode string

// The modes. The zero Mode is Environment, or Explicit if a URL is set.
const (
	Environment Mode = "environment" // HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in either case
	Explicit    Mode = "explicit"    // Settings.URL
	None        Mode = "none"        // always direct
)

// Settings say which proxy to use. The zero value is the environment's.
type Settings struct {
	Mode Mode
	// URL is the proxy for Explicit: http, https, socks5 or socks5h, with user
	// and password where it asks for them (basic authentication only).
	URL string
	// NoProxy lists what to reach directly with Explicit, in the form of the
	// NO_PROXY variable: host names, with their subdomains, addresses and
	// networks (10.0.0.0/8), separated by commas. Loopback is always direct.
	NoProxy string
}

// A Selector chooses proxies by its Settings. It may be used by many goroutines
// at once. The zero Selector and a nil one follow the environment.
type Selector struct {
	settings Settings

	mu      sync.Mutex
	choose  func(*url.URL) (*url.URL, error) // nil: to be compiled
	failure error
}

// New makes a Selector. Nothing is read or checked before its first use.
func New(s Settings) *Selector { return &Selector{settings: s} }

// Proxy is the proxy for a request to target, or nil for none. Its error, of
// type [*ekm.Error], has the code 3101: the settings name no usable proxy.
func (s *Selector) Proxy(target *url.URL) (*url.URL, error) {
	if s == nil {
		s = New(Settings{})
	}
	s.mu.Lock()
	if s.choose == nil && s.failure == nil {
		s.choose, s.failure = s.settings.compile()
	}
	choose, failure := s.choose, s.failure
	s.mu.Unlock()
	if failure != nil {
		return nil, &ekm.Error{Code: ekm.ErrorHttpOpenSession, Party: ekm.Proxy, Phase: ekm.PhasePrepare, Err: failure}
	}
	return choose(target)
}

// Reload forgets what was read, so that the next use reads the settings anew.
// Connections that stand keep their proxy. A nil Selector keeps nothing anyway.
func (s *Selector) Reload() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.choose, s.failure = nil, nil
}

// compile reads the settings into a function that cannot fail.
func (s Settings) compile() (func(*url.URL) (*url.URL, error), error) {
	mode := s.Mode
	if mode == "" {
		mode = Environment
		if s.URL != "" {
			mode = Explicit
		}
	}
	var c *httpproxy.Config
	switch mode {
	case None:
		return func(*url.URL) (*url.URL, error) { return nil, nil }, nil
	case Environment:
		c = httpproxy.FromEnvironment()
	case Explicit:
		if s.URL == "" {
			return nil, errors.New("no proxy URL is given")
		}
		c = &httpproxy.Config{HTTPProxy: s.URL, HTTPSProxy: s.URL, NoProxy: s.NoProxy}
	default:
		return nil, fmt.Errorf("no such proxy mode: %.40q", mode)
	}
	// httpproxy passes over an address that it cannot parse, and would go direct.
	for _, address := range []string{c.HTTPSProxy, c.HTTPProxy} {
		if err := check(address); err != nil {
			return nil, err
		}
	}
	return c.ProxyFunc(), nil
}

// check accepts a proxy's URL, or host:port. Its errors do not hold the address,
// which may hold a password.
func check(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		if u, err = url.Parse("http://" + address); err != nil || strings.Contains(address, "://") {
			return errors.New("the proxy address is not a URL with http, https, socks5 or socks5h, nor host:port")
		}
	}
	if u.Hostname() == "" {
		return errors.New("the proxy address has no host")
	}
	return nil
}
