package akv

import (
	"fmt"
	"log/slog"

	"github.com/akv-ekm/ekm/internal/hidden"
)

// String tells the key's id and how long the value is.
func (r Result) String() string {
	return fmt.Sprintf("akv.Result(%d bytes, key %q)", len(r.Value), r.KeyID)
}

// Format writes what String returns, for any verb.
func (r Result) Format(f fmt.State, _ rune) { hidden.Format(f, r.String()) }

// LogValue is what String returns.
func (r Result) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText returns an error, see [Result]. Packages encoding/json and
// encoding/xml call it.
func (r Result) MarshalText() ([]byte, error) { return nil, hidden.Unstorable("akv.Result") }

// GobEncode returns an error, see [Result].
func (r Result) GobEncode() ([]byte, error) { return nil, hidden.Unstorable("akv.Result") }

// String tells which options are set, by name. It shows none of their values: a
// Transport or Logger may hold any secret, and a text may be one in the wrong place.
//
// Package fmt calls no methods on unexported fields, so a struct that keeps Options in
// one prints what its Transport holds.
func (o Options) String() string { return hidden.Given(o) }

// Format writes what String returns, for any verb.
func (o Options) Format(f fmt.State, _ rune) { hidden.Format(f, o.String()) }

// LogValue is what String returns.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalText returns what String returns. Packages encoding/json and encoding/xml
// call it. Package encoding/gob encodes no Options.
func (o Options) MarshalText() ([]byte, error) { return []byte(o.String()), nil }
