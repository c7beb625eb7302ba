// Package misplaced finds client secrets that were given in place of a name or an id.
// Names and ids are shown in errors and logs, so such a secret must be refused.
package misplaced

import (
	"strings"

	"github.com/google/uuid"
)

// Secret reports whether s, which should be a name or an id, looks like a client secret.
// There are two signs of one:
//
//   - a tilde, which every secret that Entra ID makes has;
//   - the beginning of SQL Server's SECRET: the 32 hexadecimal digits of a client id, or
//     its GUID, and more directly behind it. A digest, which has digits alone, and a GUID
//     with a hyphen behind it may be names.
func Secret(s string) bool {
	if strings.Contains(s, "~") {
		return true
	}
	for _, n := range [...]int{32, 36} {
		if len(s) > n && uuid.Validate(s[:n]) == nil && s[n] != '-' && strings.Trim(s[n:], "0123456789abcdefABCDEF") != "" {
			return true
		}
	}
	return false
}
