package matrix_test

import (
	"slices"
	"strings"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// What client secrets and SQL Server's SECRET are made of here.
const (
	clientDigits = "5eedf00dc11e4d008a11fa4e00000002" // fakevault.DefaultClientID without its hyphens
	canarySecret = "Abc8Q~canary-Value.with-hyphens_1"
)

// secretScenarios are what is wrong with a client secret before anybody is asked:
// 2050, 2051, 3800, and 6 for the mistakes that SECRET invites.
func secretScenarios() []scenario {
	return slices.Concat(secretLengthScenarios(), misreadSecretScenarios(), clientSecretScenarios())
}

// parsing is a row about a SECRET, which nothing of may be told.
func parsing(code ekm.Code, how, says, text string) scenario {
	return scenario{code: code, how: how, party: ekm.Local, says: says, run: func(s *scene) error {
		s.secret("canary", "Abc8Q", clientDigits, fakevault.DefaultClientID, "0f3c5c3e")
		_, err := aad.ParseSecret(text)
		return err
	}}
}

// secretLengthScenarios are 2050 and 2051.
func secretLengthScenarios() []scenario {
	long := clientDigits + strings.Repeat("canary--", 1<<10) // 32 bytes too many
	return []scenario{
		parsing(ekm.SCPErrPasswordTooShort, "an empty SECRET", "has 0 characters", ""),
		parsing(ekm.SCPErrPasswordTooShort, "a client id and no secret as SECRET", "has 32 characters", clientDigits),
		parsing(ekm.SCPErrPasswordTooShort, "a short secret alone as SECRET", "has 12 characters", canarySecret[:12]),
		{
			code: ekm.SCPErrPasswordTooShort, how: "a SQL Server credential without SECRET", party: ekm.Local, says: "has 0 characters",
			run: func(*scene) error {
				_, err := akv.NewSQLClient("credential", "contoso", "", nil)
				return err
			},
		},
		parsing(ekm.SCPErrOutOfMemory, "a SECRET of more than 8 KiB", "has 8224 bytes, the limit is 8192", long),
	}
}

// misreadSecretScenarios are the mistakes that are explained each in its way.
func misreadSecretScenarios() []scenario {
	row := func(how, says, text string) scenario {
		r := parsing(ekm.SCPErrInvalidArgument, how, says, text)
		r.advice = "SECRET is the client id without hyphens"
		return r
	}
	const guid = fakevault.DefaultClientID
	return []scenario{
		row("hyphens left in the client id", "hyphens in the client id", guid+canarySecret),
		row("hyphens left in the client id, and no secret", "hyphens in the client id", guid),
		row("braces around the client id", "a brace before the client id", "{"+guid+"}"+canarySecret),
		row("the vault's address in place of SECRET", "the vault belongs into IDENTITY", "https://canary-canary.vault.azure.net/"),
		row("a blank before SECRET", "blanks or a line break", " "+clientDigits+canarySecret),
		row("a line break behind SECRET", "blanks or a line break", clientDigits+canarySecret+"\r\n"),
		row("a zero-width space behind SECRET", "invisible character", clientDigits+canarySecret+"\u200b"),
		row("a byte order mark before SECRET", "invisible character", "\ufeff"+clientDigits+canarySecret),
		row("a secret's id in place of its value", "a secret's id, not its value", clientDigits+"0f3c5c3e-95c5-4ab1-a3b1-4a1bcbe0d7a5"),
		row("an application's name in place of its client id", "32 hexadecimal digits", "canary-application-of-contoso-inc"+canarySecret),
	}
}

// clientSecretScenarios are 3800.
func clientSecretScenarios() []scenario {
	row := func(how, says, id, secret string) scenario {
		return scenario{
			code: ekm.ErrorSecretAuthParamsGetRequestBody, how: how, party: ekm.Local, says: says,
			run: func(s *scene) error {
				s.secret("canary")
				_, err := aad.NewClientSecret(id, secret)
				return err
			},
		}
	}
	const guid = fakevault.DefaultClientID
	return []scenario{
		row("a client id that is empty", "the client id is empty", "", canarySecret),
		row("a blank behind the client id", "the client id has blanks", guid+" ", canarySecret),
		row("a client id that is no text for a header", "characters that no client id has", "contoso app", canarySecret),
		row("a byte order mark before the client id", "the client id has an invisible character", "\ufeff"+guid, canarySecret),
		row("a client secret that is empty", "the client secret is empty", guid, ""),
		row("a line break behind the client secret", "the client secret has blanks or a line break", guid, canarySecret+"\n"),
		row("a byte order mark before the client secret", "the client secret has an invisible character", guid, "\ufeff"+canarySecret),
		row("NUL behind the client secret", "the client secret has a control character", guid, canarySecret+"\x00"),
		row("a secret's id as the client secret", "a secret's id, not its value", guid, "0f3c5c3e-95c5-4ab1-a3b1-4a1bcbe0d7a5"),
		parsing(ekm.ErrorSecretAuthParamsGetRequestBody, "a blank between client id and secret in SECRET", "the client secret has blanks",
			clientDigits+" "+canarySecret),
	}
}
