package aad_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
)

// A secret is held against the same list wherever it comes from, and the answers
// differ in their code and in what they call it alone.
func TestSecretsAreCheckedAlike(t *testing.T) {
	const digits, value = "5eedf00dc11e4d008a11fa4e00000002", "canary~Value"
	file := filepath.Join(t.TempDir(), "secret")
	plain := func(secret string) error {
		_, err := aad.NewClientSecret("id", secret)
		return err
	}
	ways := map[string]func(secret string) error{
		"NewReloading": func(secret string) error {
			_, err := aad.NewReloading(func(context.Context) (aad.Credential, error) { return aad.NewClientSecret("id", secret) })
			return err
		},
		"NewReloadingFile": func(secret string) error {
			require.NoError(t, os.WriteFile(file, []byte(secret), 0o600))
			_, err := aad.NewReloadingFile(file, func(content []byte) (aad.Credential, error) { return aad.NewClientSecret("id", string(content)) })
			return err
		},
	}
	for _, c := range []struct{ why, secret, says string }{
		{"a byte order mark, as Notepad writes it", "\ufeff" + value, "invisible character"},
		{"a zero-width space, as of a chat program", value + "\u200b", "invisible character"},
		{"a zero-width joiner inside", "canary\u200dValue", "invisible character"},
		{"a soft hyphen, where a page broke the line", "canary\u00adValue", "invisible character"},
		{"NUL behind", value + "\x00", "control character"},
		{"a tab inside", "canary\tValue", "control character"},
		{"UTF-16, as PowerShell's > writes it", "\xff\xfec\x00a\x00n\x00", "UTF-8"},
		{"a line break behind", value + "\r\n", "blanks or a line break"},
		{"a no-break space behind", value + "\u00a0", "blanks or a line break"},
		{"a no-break space inside", "canary\u00a0Value", "no-break space"},
		{"what a decoder has put for a byte", "canary\ufffdValue", "U+FFFD"},
		{"in double quotes, as files of variables have it", `"` + value + `"`, "in quotes"},
		{"in single quotes", `'` + value + `'`, "in quotes"},
		{"in typographic quotes, as a word processor makes them", "\u201c" + value + "\u201d", "typographic quotes"},
		{"a quote at one end, as a selection leaves it", value + "\u201d", "typographic quotes"},
		{"in German ones", "\u201e" + value + "\u201c", "typographic quotes"},
		{"in French ones", "\u00ab" + value + "\u00bb", "typographic quotes"},
		{"in single typographic ones", "\u2018" + value + "\u2019", "typographic quotes"},
		{"the secret's id", "0f3c5c3e-95c5-4ab1-a3b1-4a1bcbe0d7a5", "a secret's id, not its value"},
		{"the same in upper case", "0F3C5C3E-95C5-4AB1-A3B1-4A1BCBE0D7A5", "a secret's id, not its value"},
		{"the same in braces", "{0f3c5c3e-95c5-4ab1-a3b1-4a1bcbe0d7a5}", "a secret's id, not its value"},
	} {
		t.Run(c.why, func(t *testing.T) {
			err := plain(c.secret)
			e := requireCode(t, ekm.ErrorSecretAuthParamsGetRequestBody, err)
			require.ErrorContains(t, err, c.says)
			for name, way := range ways {
				again := requireCode(t, ekm.ErrorSecretAuthParamsGetRequestBody, way(c.secret))
				assert.Equal(t, e.Err.Error(), again.Err.Error(), name)
			}
			_, err = aad.ParseSecret(digits + c.secret)
			parsed := requireCode(t, ekm.SCPErrInvalidArgument, err)
			assert.Equal(t, strings.TrimPrefix(e.Err.Error(), "the client secret "),
				strings.TrimPrefix(strings.TrimPrefix(parsed.Err.Error(), "the credential string "), "the client secret "))
			for _, told := range []string{fmt.Sprintf("%+v", e), fmt.Sprintf("%+v", parsed)} {
				for _, part := range []string{"canary", "0f3c", "0F3C", digits} {
					assert.NotContains(t, told, part)
				}
			}
		})
	}
}

// Quotes are refused around the whole of SECRET and around the secret in it. A single
// quote may belong to a secret.
func TestQuotesAroundSecrets(t *testing.T) {
	const secret = "5eedf00dc11e4d008a11fa4e00000002canary~Value"
	for _, quotes := range []string{`""`, "''", "\u201c\u201d", "\u2018\u2019"} {
		open, shut := []rune(quotes)[0], []rune(quotes)[1]
		_, err := aad.ParseSecret(string(open) + secret + string(shut))
		requireCode(t, ekm.SCPErrInvalidArgument, err)
		assert.ErrorContains(t, err, "quotes")
		assert.NotContains(t, err.Error(), "canary")
	}
	for _, secret := range []string{`"`, `'`, `"canary`, `canary"`, `"canary'`, `can"ar"y`, "`canary`", "can\u2019ary", `\"canary"`} {
		_, err := aad.NewClientSecret("id", secret)
		assert.NoError(t, err, secret)
	}
}

// A client id that was copied with something unseen is told for every kind of
// credential, before anybody is asked.
func TestClientIDsAreCheckedAlike(t *testing.T) {
	key := keyFile(t, "key.msblob")
	ways := map[string]struct {
		code ekm.Code
		make func(id string) error
	}{
		"secret": {3800, func(id string) error {
			_, err := aad.NewClientSecret(id, "x")
			return err
		}},
		"certificate": {3822, func(id string) error {
			_, err := aad.NewLegacyKey(id, key, &aad.CertificateOptions{Thumbprint: strings.Repeat("ab", 20)})
			return err
		}},
		"workload identity": {6, func(id string) error {
			_, err := aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: id, TokenFile: "/token"})
			return err
		}},
		"workload identity of the environment": {6, func(id string) error {
			t.Setenv("AZURE_CLIENT_ID", strings.ReplaceAll(id, "\x00", "\x01")) // variables hold no NUL
			_, err := aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{TokenFile: "/token"})
			return err
		}},
		"managed identity by client id": {6, func(id string) error {
			_, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.IMDS, ClientID: id})
			return err
		}},
		"managed identity by object id": {6, func(id string) error {
			_, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.IMDS, ObjectID: id})
			return err
		}},
		"managed identity by resource id": {6, func(id string) error {
			_, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.IMDS, ResourceID: id})
			return err
		}},
	}
	for name, way := range ways {
		require.NoError(t, way.make(application), name)
		switch {
		case name == "managed identity by resource id":
			assert.NoError(t, way.make("/subscriptions/1/resourceGroups/a b"), "a group's name may hold a blank")
		case strings.HasPrefix(name, "managed identity"):
			assert.ErrorContains(t, way.make("client b"), "has a blank in it")
		default:
			assert.ErrorContains(t, way.make("client b"), "characters that no client id has")
		}
		for id, says := range map[string]string{
			"\ufeff" + application: "invisible character", application + "\u200b": "invisible character",
			application + " ": "blanks or a line break", application + "\u00a0": "blanks or a line break",
			application + "\r\n": "blanks or a line break", application + "\x00": "control character",
		} {
			err := way.make(id)
			requireCode(t, way.code, err)
			assert.ErrorContains(t, err, says, "%s: %+q", name, id)
		}
		for _, id := range []string{
			"Abc8Q~Client-Secret-of-Mine", application + "Abc8Q~Client-Secret-of-Mine", // with a tilde, as Entra ID makes them
			application + "Client-Secret-of-Mine", strings.ReplaceAll(application, "-", "") + "Client-Secret-of-Mine", // SECRET
		} {
			err := way.make(id)
			requireCode(t, way.code, err)
			assert.ErrorContains(t, err, "was the secret given in its place?", "%s: %s", name, id)
			assert.NotContains(t, fmt.Sprintf("%v %#v", err, errors.Unwrap(err)), "Client-Secret", name)
		}
		for _, id := range []string{"https://adfs.example/app/1", "ekm_app.1", strings.Repeat("ab", 32)} {
			assert.NoError(t, way.make(id), "%s: AD FS takes any text: %s", name, id)
		}
	}
}

// A file that is not there because of how its path was written is told so.
func TestPathsWithUnseenCharacters(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "kept under an odd name ")
	require.NoError(t, os.WriteFile(odd, []byte("value"), 0o600))
	parse := func(content []byte) (aad.Credential, error) { return aad.NewClientSecret("id", string(content)) }
	_, err := aad.NewReloadingFile(odd, parse)
	require.NoError(t, err, "a file of such a name may be there")
	for path, says := range map[string]string{"secret ": "blanks or a line break", "\ufeffsecret": "invisible character"} {
		_, err := aad.NewReloadingFile(filepath.Join(dir, path), parse)
		assert.ErrorIs(t, err, os.ErrNotExist)
		assert.ErrorContains(t, err, "its path has ")
		assert.ErrorContains(t, err, says)
		assert.NotContains(t, err.Error(), dir)
	}
}
