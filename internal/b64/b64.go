// Package b64 reads base64 as Key Vault and Entra ID send it: URL alphabet
// without padding by the book (RFC 7515, section 2), in practice either alphabet,
// padded or not.
package b64

import (
	"encoding/base64"
	"errors"
	"strings"
)

var (
	errLineBreak = errors.New("line break in base64")

	unpadded = base64.RawURLEncoding.Strict()
	padded   = base64.URLEncoding.Strict()
)

// Decode decodes s. It accepts only what an encoder writes: no line breaks, which
// encoding/base64 passes over; padding that completes the last group, or none; and
// no bits set behind the last byte. So "=" is not an encoding of nothing, and no
// two texts of one alphabet and padding mean the same bytes.
func Decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errLineBreak
	}
	if strings.ContainsAny(s, "+/") {
		s = strings.NewReplacer("+", "-", "/", "_").Replace(s)
	}
	if strings.HasSuffix(s, "=") {
		return padded.DecodeString(s)
	}
	return unpadded.DecodeString(s)
}
