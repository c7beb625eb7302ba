// Package hidden keeps secrets out of whatever prints the values that hold them.
//
// Methods such as Format and LogValue are not enough. Package fmt calls none of
// them on the unexported fields of a struct, and the dumpers that tests and
// debuggers use read every field and follow every pointer. None of them looks
// into a function, so a [Value] keeps what it holds in a closure.
//
// A type that holds a Value still has methods, which show what it is:
//
//	func (t Token) String() string                 { return "aad.Token(...)" }
//	func (t Token) Format(f fmt.State, _ rune)     { hidden.Format(f, t.String()) }
//	func (t Token) LogValue() slog.Value           { return slog.StringValue(t.String()) }
//	func (t Token) MarshalText() ([]byte, error)   { return []byte(t.String()), nil }
//	func (t Token) GobEncode() ([]byte, error)     { return nil, hidden.Unstorable("aad.Token") }
//
// encoding/json and encoding/xml call MarshalText. Only a type with exported fields
// needs GobEncode: encoding/gob refuses others by itself. If a secret is in an
// exported field, which the type's users set or read, the methods are all there is
// to protect it.
package hidden

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/akv-ekm/ekm"
)

// A Value holds a T that only Reveal gives away. The zero Value holds the zero T.
// Values cannot be compared with ==: compare what they reveal.
type Value[T any] struct{ reveal func() T }

// New returns a Value that holds v.
func New[T any](v T) Value[T] {
	return Value[T]{func() T { return v }}
}

// Reveal returns what v holds.
func (v Value[T]) Reveal() T {
	if v.reveal == nil {
		var zero T
		return zero
	}
	return v.reveal()
}

// Given returns the type of a struct of options and the names of the exported fields that
// are set, such as "akv.Options(Transport, V1)". It shows no values: a caller's transport
// or logger may hold secrets, and a text may be a secret in the wrong place.
func Given(options any) string {
	v := reflect.ValueOf(options)
	var names []string
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && !v.Field(i).IsZero() {
			names = append(names, f.Name)
		}
	}
	return v.Type().String() + "(" + strings.Join(names, ", ") + ")"
}

// Format writes text to f, for a Format method that shows the same text for every
// verb. Width and flags are ignored.
func Format(f fmt.State, text string) { _, _ = io.WriteString(f, text) }

// Unstorable returns the error of encoding a value of the type called name for
// storage: 3 (SCPErrNotSupported). A description in place of a secret does for a log,
// but whoever reads it back would take it for the secret.
func Unstorable(name string) error {
	return &ekm.Error{
		Code: ekm.SCPErrNotSupported, Party: ekm.Local, Time: time.Now(),
		Err: fmt.Errorf("%s is not encoded, since it holds a secret: encode its parts where that is what you want", name),
	}
}
