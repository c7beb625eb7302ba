// Package secret keeps values out of whatever prints the structs that hold them.
//
// Methods such as Format and LogValue are not enough. Package fmt calls none of
// them on the unexported fields of a struct, and the dumpers that tests and
// debuggers use read every field and follow every pointer. None of them looks
// into a function, so a [Value] keeps what it holds in a closure.
package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Mask is what stands in the place of a secret.
const Mask = "[secret]"

// A Value holds a T that nothing but Reveal gives away. The zero Value holds the
// zero T. Values cannot be compared with ==: compare what they reveal.
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

// Format writes [Mask], for any verb.
func (v Value[T]) Format(f fmt.State, _ rune) { Format(f, Mask) }

// LogValue returns [Mask].
func (v Value[T]) LogValue() slog.Value { return slog.StringValue(Mask) }

// MarshalText returns [Mask]. Packages encoding/json and encoding/xml call it.
func (v Value[T]) MarshalText() ([]byte, error) { return []byte(Mask), nil }

// GobEncode returns an error, see [Unstorable].
func (v Value[T]) GobEncode() ([]byte, error) { return nil, Unstorable(v) }

// Format writes text to f, for a Format method that shows the same text for every
// verb. Width and flags are ignored.
func Format(f fmt.State, text string) { _, _ = io.WriteString(f, text) }

// Unstorable returns the error of encoding v for storage. Text in the place of a
// secret does in a log, but what reads it back would take it for the secret.
func Unstorable(v any) error {
	return fmt.Errorf("%T: %w", v, errUnstorable)
}

var errUnstorable = errors.New("a value that holds a secret cannot be encoded")
