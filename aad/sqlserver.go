package aad

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/unseen"
)

// ParseSecret is an application given as the SECRET of a SQL Server credential:
// the client id as 32 hexadecimal digits, immediately followed by the client
// secret's value.
//
// Errors are 2050 if secret is shorter than an id and one character, 2051 if it
// is longer than 8 KiB, and 6 (SCPErrInvalidArgument) for the mistakes that are
// usual: hyphens or braces left in the id, an address pasted in place of it, and
// what [NewClientSecret] refuses of a secret: blanks or quotes around it, invisible
// characters, a secret's id in place of its value. 3800 is NewClientSecret's, for a blank between
// the two.
func ParseSecret(secret string) (Credential, error) {
	const limit = 8 << 10
	if len(secret) > limit {
		return nil, unparsed(ekm.SCPErrOutOfMemory, fmt.Errorf("the credential string has %d bytes, the limit is %d", len(secret), limit))
	}
	if why := misread(secret); why != nil {
		return nil, unparsed(ekm.SCPErrInvalidArgument, why)
	}
	if len(secret) <= 32 {
		return nil, unparsed(ekm.SCPErrPasswordTooShort,
			fmt.Errorf("the credential string has %d characters: 32 digits of client id and the secret's value behind them are needed", len(secret)))
	}
	id, err := uuid.Parse(secret[:32])
	if err != nil {
		return nil, unparsed(ekm.SCPErrInvalidArgument, errors.New("the credential string does not begin with the 32 hexadecimal digits of a client id"))
	}
	return NewClientSecret(id.String(), secret[32:])
}

// misread recognises what people put into SECRET by mistake. Nothing of it gets
// into the explanation.
func misread(s string) error {
	hyphens := len(s) >= 36 && uuid.Validate(s[:36]) == nil
	switch why := unseen.Around(s); {
	case why != "":
		return errors.New("the credential string " + why)
	case quotes(s) != "":
		return errors.New("the credential string " + quotes(s))
	case len(s) > 32 && quotes(s[32:]) != "":
		return errors.New("the client secret " + quotes(s[32:]))
	case strings.Contains(strings.ToLower(s[:min(len(s), 12)]), "://"):
		return errors.New("the credential string begins with an address: the vault belongs into IDENTITY, here go client id and secret")
	case hyphens:
		return errors.New("there are hyphens in the client id: take them away, but leave those of the secret")
	case strings.HasPrefix(s, "{"):
		return errors.New("there is a brace before the client id: take the braces and the hyphens away")
	case len(s) > 32 && secretID(s[32:]):
		return errSecretID
	}
	return nil
}

func unparsed(code ekm.Code, err error) error {
	return &ekm.Error{Code: code, Party: ekm.Local, Credential: ekm.CredentialSecret, Time: time.Now(), Err: err}
}
