package aad_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// sqlServerForm is what T-SQL's REPLACE(CONVERT(varchar(36), @id), '-', ”) + @secret makes.
func sqlServerForm(id, secret string) string { return strings.ReplaceAll(id, "-", "") + secret }

func TestParseSecret(t *testing.T) {
	const (
		guid   = fakevault.DefaultClientID
		digits = "5eedf00dc11e4d008a11fa4e00000002"
		value  = "Abc8Q~canary-Value.with-hyphens_1"
	)
	for _, c := range []struct {
		why    string
		secret string
		code   ekm.Code // 0: it reads, as guid and
		value  string
		says   string
	}{
		{"as it should be", digits + value, 0, value, ""},
		{"upper case, as CONVERT writes a uniqueidentifier", strings.ToUpper(digits) + value, 0, value, ""},
		{"mixed case", "5EEDf00dC11E4d008a11FA4e00000002" + value, 0, value, ""},
		{"one character of a secret", digits + "x", 0, "x", ""},
		{"a secret of hexadecimal digits: where the id ends is counted", digits + digits, 0, digits, ""},
		{"a secret that begins with a hyphen", digits + "-" + value, 0, "-" + value, ""},
		{"blanks inside the secret", digits + "a b", 0, "a b", ""},
		{"signs that a form has to escape", digits + "~+=/&%25ü", 0, "~+=/&%25ü", ""},
		{"an address inside the secret", digits + "https://x", 0, "https://x", ""},
		{"an id in the secret, but not the whole of it", digits + guid + "x", 0, guid + "x", ""},
		{"the longest", digits + strings.Repeat("s", 8<<10-32), 0, strings.Repeat("s", 8<<10-32), ""},

		{"nothing", "", ekm.SCPErrPasswordTooShort, "", "has 0 characters"},
		{"one digit short, and no secret", digits[1:], ekm.SCPErrPasswordTooShort, "", "has 31 characters"},
		{"an id and no secret", digits, ekm.SCPErrPasswordTooShort, "", "32 digits of client id and the secret's value"},
		{"a secret alone", "canary-canary", ekm.SCPErrPasswordTooShort, "", "has 13 characters"},

		{"hyphens left in", guid + value, ekm.SCPErrInvalidArgument, "", "hyphens in the client id"},
		{"hyphens left in, upper case", strings.ToUpper(guid) + value, ekm.SCPErrInvalidArgument, "", "hyphens in the client id"},
		{"hyphens left in, no secret", guid, ekm.SCPErrInvalidArgument, "", "hyphens in the client id"},
		{"the vault's address", "https://canary-canary.vault.azure.net/", ekm.SCPErrInvalidArgument, "", "IDENTITY"},
		{"the vault's address, short", "HTTPS://canary", ekm.SCPErrInvalidArgument, "", "IDENTITY"},
		{"http", "http://canary-canary.vault.azure.net:443/keys/and/more", ekm.SCPErrInvalidArgument, "", "IDENTITY"},
		{"a blank in front", " " + digits + value, ekm.SCPErrInvalidArgument, "", "blanks or a line break"},
		{"a blank behind, as of char(128)", digits + value + "   ", ekm.SCPErrInvalidArgument, "", "blanks or a line break"},
		{"a tab", "\t" + digits + value, ekm.SCPErrInvalidArgument, "", "blanks or a line break"},
		{"a line break", digits + value + "\r\n", ekm.SCPErrInvalidArgument, "", "blanks or a line break"},
		{"a no-break space, as from a web page", digits + value + "\u00a0", ekm.SCPErrInvalidArgument, "", "blanks or a line break"},
		{"blanks only", strings.Repeat(" ", 40), ekm.SCPErrInvalidArgument, "", "blanks or a line break"},
		{"a secret's id in place of its value", digits + "0f3c5c3e-95c5-4ab1-a3b1-4a1bcbe0d7a5", ekm.SCPErrInvalidArgument, "", "a secret's id, not its value"},
		{"braces, as Windows writes a GUID", "{" + guid + "}" + value, ekm.SCPErrInvalidArgument, "", "brace"},
		{"a byte order mark", "\ufeff" + digits + value, ekm.SCPErrInvalidArgument, "", "invisible"},
		{"a zero-width space behind, as of a chat program", digits + value + "\u200b", ekm.SCPErrInvalidArgument, "", "invisible"},
		{"not hexadecimal", "g" + digits[1:] + value, ekm.SCPErrInvalidArgument, "", "32 hexadecimal digits"},
		{"a name for an id", "canary-canary-canary-canary-canary", ekm.SCPErrInvalidArgument, "", "32 hexadecimal digits"},
		{"digits that are two bytes each", strings.Repeat("ü", 32), ekm.SCPErrInvalidArgument, "", "32 hexadecimal digits"},

		{"a blank between the two", digits + " " + value, ekm.ErrorSecretAuthParamsGetRequestBody, "", "blanks"},

		{"one byte too long", digits + strings.Repeat("s", 8<<10-31), ekm.SCPErrOutOfMemory, "", "the limit is 8192"},
		{"far too long", strings.Repeat(" ", 1<<20), ekm.SCPErrOutOfMemory, "", "the limit is 8192"},
	} {
		t.Run(c.why, func(t *testing.T) {
			cred, err := aad.ParseSecret(c.secret)
			if c.code != 0 {
				assert.Nil(t, cred)
				e := requireCode(t, c.code, err)
				assert.Equal(t, ekm.Local, e.Party)
				assert.ErrorContains(t, err, c.says)
				for _, part := range []string{"canary", "Abc8Q", digits, guid, "0f3c5c3e", "sssss"} {
					assert.NotContains(t, err.Error(), part)
				}
				return
			}
			require.NoError(t, err)
			fake, tap := entra(t)
			fake.AddApp(guid, c.value)
			_, err = exchanging(t, cred, tap).Get(t.Context(), vaultDemand(fake))
			require.NoError(t, err)
			assert.Equal(t, guid, tap.forms[0].Get("client_id"), "with its hyphens, which Entra ID wants")
			assert.Equal(t, c.value, tap.forms[0].Get("client_secret"))
		})
	}
}

// A secret that reads and is not accepted is not told either.
func TestParsedSecretRefused(t *testing.T) {
	fake, tap := entra(t)
	cred, err := aad.ParseSecret(sqlServerForm(fake.ClientID(), "Abc8Q~not_the_secret"))
	require.NoError(t, err)
	_, err = exchanging(t, cred, tap).Get(t.Context(), vaultDemand(fake))
	e := requireCode(t, ekm.ErrorGetTokenBadCredentials, err)
	assert.Equal(t, "AADSTS7000215", e.AADSTS)
	untold(t, err, "Abc8Q~not_the_secret")
}
