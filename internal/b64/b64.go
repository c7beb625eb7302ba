// Package b64 reads base64 as Key Vault and Entra ID send it: URL alphabet
// without padding by the book (RFC 7515, section 2), in practice either alphabet,
// padded or not.
package b64

import (
	"encoding/base64"
	"errors"
	"strings"
)

var errLineBreak = errors.New("line break in base64")

// Decode decodes s. Unlike encoding/base64 it does not pass over line breaks.
func Decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errLineBreak
	}
	s = strings.TrimRight(s, "=")
	if strings.ContainsAny(s, "+/") {
		s = strings.NewReplacer("+", "-", "/", "_").Replace(s)
	}
	return base64.RawURLEncoding.DecodeString(s)
}
