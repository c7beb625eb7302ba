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
