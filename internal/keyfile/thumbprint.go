package keyfile

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // x5t and Windows name certificates by SHA-1; nothing is trusted for it
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// ErrThumbprint is in the error of [Legacy] when the thumbprint option is
// missing or malformed. It carries no code: the caller, who cannot make a
// request body without a thumbprint, raises that code.
var ErrThumbprint = errors.New("thumbprint of the certificate")

// A thumbprint is a certificate's SHA-1 or SHA-256, told apart by length.
type thumbprint []byte

// parseThumbprint reads the option in the forms that portals and tools print:
// hex in either case, with colons, dashes or blanks between the bytes, or base64
// in either alphabet, with or without padding. Empty text is no thumbprint.
func parseThumbprint(text string) (thumbprint, error) {
	text = strings.Map(dropInvisible, text)
	if text == "" {
		return nil, nil
	}
	digits := strings.NewReplacer(":", "", "-", "").Replace(text)
	if b, err := hex.DecodeString(digits); err == nil && known(b) {
		return b, nil
	}
	std := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	if b, err := base64.RawStdEncoding.Strict().DecodeString(std); err == nil && known(b) {
		return b, nil
	}
	return nil, fmt.Errorf("the thumbprint option is neither hex nor base64 of a SHA-1 (20 bytes) or SHA-256 (32 bytes); "+
		"it has %d characters: copy it again from the certificate", len(text))
}

func known(b thumbprint) bool { return len(b) == sha1.Size || len(b) == sha256.Size }

// dropInvisible removes blanks and the left-to-right mark U+200E that the
// Windows certificate dialog puts in front of a copied thumbprint.
func dropInvisible(r rune) rune {
	if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || r == 0 {
		return -1
	}
	return r
}

// of says whether t is the thumbprint of the certificate with this DER.
func (t thumbprint) of(der []byte) bool {
	if len(t) == sha256.Size {
		sum := sha256.Sum256(der)
		return bytes.Equal(t, sum[:])
	}
	sum := sha1.Sum(der) //nolint:gosec // see the import
	return bytes.Equal(t, sum[:])
}

// String is the form that Windows shows: hex in upper case.
func (t thumbprint) String() string { return strings.ToUpper(hex.EncodeToString(t)) }
