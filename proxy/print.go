package proxy

import (
	"fmt"
	"log/slog"

	"github.com/akv-ekm/ekm/internal/hidden"
)

// String tells in one line what is in force, where it comes from, and what is
// wrong with it, for logs and diagnosis. It holds no user and no password. It is
// a first use, if there was none before: the settings are read for it.
func (s *Selector) String() string {
	plan, err := s.compiled()
	if err != nil {
		return "unusable: " + err.Error()
	}
	return plan.String()
}

// Format writes what String returns, for any verb.
func (s *Selector) Format(f fmt.State, _ rune) { hidden.Format(f, s.String()) }

// LogValue is what String returns.
func (s *Selector) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns what String returns. Packages encoding/json and encoding/xml
// call it.
func (s *Selector) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String tells in one line what the settings are, without user and password. It
// does not read what they refer to, as [Selector.String] does.
func (s Settings) String() string {
	text := "proxy.Settings("
	switch mode := s.mode(); mode {
	case Environment, None, System:
		text += string(mode)
	case Explicit:
		text += string(mode) + ": "
		if u, err := parseAddress(s.URL); err != nil || u == nil {
			text += "no usable URL"
		} else {
			text += show(u)
		}
		text += parseNoProxy(s.NoProxy).String()
	default: // perhaps a URL, with a password, in the wrong place
		text += "no such mode"
	}
	return text + ")"
}

// Format writes what String returns, for any verb.
func (s Settings) Format(f fmt.State, _ rune) { hidden.Format(f, s.String()) }

// LogValue is what String returns.
func (s Settings) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns what String returns. Packages encoding/json and encoding/xml
// call it, so that Settings can be read from JSON, but not written to it.
func (s Settings) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// GobEncode returns an error: Settings cannot be stored without the password.
func (s Settings) GobEncode() ([]byte, error) { return nil, hidden.Unstorable("proxy.Settings") }
