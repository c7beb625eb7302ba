// Package proxy decides which proxy a request goes through.
//
// [Settings] are plain data. A [Selector] compiles them at its first use and
// keeps the result until [Selector.Reload], as the SQL Server connector keeps
// the settings that it found at its first request.
//
// # What is not supported
//
// Automatic configuration: PAC scripts are not evaluated, and proxies are not
// searched for on the network (WPAD). Of the ways to prove oneself to a proxy
// only basic authentication: no NTLM, no Negotiate. The settings of macOS and of
// desktop environments are not read.
package proxy

import (
	"errors"
	"net/url"
	"sync"

	"golang.org/x/net/http/httpproxy"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/hidden"
)

// A Mode is where the settings come from.
type Mode string

// The modes. The zero Mode is Environment, or Explicit if a URL is set.
const (
	Environment Mode = "environment" // HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in either case
	Explicit    Mode = "explicit"    // Settings.URL
	None        Mode = "none"        // always direct

	// System is what the machine is set to. On Windows that is the static proxy
	// of the account that the process runs as, else the machine's for WinHTTP
	// (netsh winhttp set proxy), else none. Automatic detection, which Windows
	// has on by default, is passed over; an automatic configuration script with
	// no proxy named beside it is an error, as its proxies are unknown and going
	// past them is not for us to decide.
	//
	// Elsewhere there is no such setting for a service: System is Environment.
	System Mode = "system"
)

// Settings say which proxy to use. The zero value is the environment's. They do not
// show user and password where they are printed or logged; but package fmt shows
// URL if it prints a struct with Settings in an unexported field.
type Settings struct {
	Mode Mode
	// URL is the proxy for Explicit: http, https, socks5 or socks5h, with user
	// and password, percent-encoded, where it asks for them (basic authentication
	// only).
	URL string
	// NoProxy lists what to reach directly with Explicit, in the form of the
	// NO_PROXY variable: host names, with their subdomains, addresses and
	// networks (10.0.0.0/8), separated by commas, semicolons, bars or blanks.
	// Entries that cannot be read are passed over, which [Selector.String] tells.
	// Loopback is always direct.
	NoProxy string
}

// A Selector chooses proxies by its Settings. It may be used by many goroutines
// at once. The zero Selector and a nil one follow the environment.
type Selector struct {
	settings hidden.Value[Settings] // with a password, as the plan is

	mu      sync.Mutex
	plan    hidden.Value[*plan] // of nil: to be compiled, if failure is nil too
	failure error
}

// New makes a Selector. Nothing is read or checked before its first use.
func New(s Settings) *Selector { return &Selector{settings: hidden.New(s)} }

// Proxy is the proxy for a request to target, or nil for none; it is shared and
// not to be changed. It may hold a password: print its Redacted form. Its error, of type [*ekm.Error], has the code 3101: the
// settings name no usable proxy. No error holds a password.
func (s *Selector) Proxy(target *url.URL) (*url.URL, error) {
	plan, err := s.compiled()
	if err == nil {
		var u *url.URL
		if u, err = plan.choose(target); err == nil {
			return u, nil
		}
	}
	return nil, &ekm.Error{Code: ekm.ErrorHttpOpenSession, Party: ekm.Proxy, Phase: ekm.PhasePrepare, Err: err}
}

// Reload forgets what was read, so that the next use reads the settings anew.
// Connections that stand keep their proxy. A nil Selector keeps nothing anyway.
func (s *Selector) Reload() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.failure = hidden.Value[*plan]{}, nil
}

// compiled reads the settings at the first use; a failure is kept like a success.
func (s *Selector) compiled() (*plan, error) {
	if s == nil {
		return Settings{}.compile()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan.Reveal() == nil && s.failure == nil {
		plan, err := s.settings.Reveal().compile()
		s.plan, s.failure = hidden.New(plan), err
	}
	return s.plan.Reveal(), s.failure
}

// mode is s.Mode, or what takes its place where it is empty.
func (s Settings) mode() Mode {
	switch {
	case s.Mode != "":
		return s.Mode
	case s.URL != "":
		return Explicit
	default:
		return Environment
	}
}

func (s Settings) compile() (*plan, error) {
	switch s.mode() {
	case None:
		return directPlan("none"), nil
	case Environment:
		return configPlan("environment", httpproxy.FromEnvironment())
	case Explicit:
		if s.URL == "" {
			return nil, errors.New("explicit: no proxy URL is given")
		}
		return configPlan("explicit", &httpproxy.Config{HTTPProxy: s.URL, HTTPSProxy: s.URL, NoProxy: s.NoProxy})
	case System:
		return systemPlan()
	}
	// It is not shown: it may be a URL, with a password, in the wrong place.
	return nil, errors.New("no such proxy mode: there are environment, explicit, system and none")
}
