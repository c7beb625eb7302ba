package akv_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/retry"
)

func TestVaultAddresses(t *testing.T) {
	for _, c := range []struct{ vault, suffix, host, why string }{
		{"contoso", "", "contoso.vault.azure.net", ""},
		{"Contoso-1", "", "contoso-1.vault.azure.net", "names compare without case"},
		{"contoso", "vault.usgovcloudapi.net", "contoso.vault.usgovcloudapi.net", ""},
		{"contoso", ".managedhsm.azure.net", "contoso.managedhsm.azure.net", ""},
		{"contoso.vault.azure.cn", "", "contoso.vault.azure.cn", ""},
		{"contoso.vault.azure.net:443", "", "contoso.vault.azure.net", ""},
		{"contoso.vault.azure.net/", "", "contoso.vault.azure.net", "as the portal shows it, less the scheme"},
		{"https://Contoso.Vault.Azure.Net/", "", "contoso.vault.azure.net", "as the portal shows it"},
		{"https://localhost:8443", "", "localhost:8443", ""},
		{"https://hsm.managedhsm.azure.net", "", "hsm.managedhsm.azure.net", ""},
		{"https://fakevault", "", "fakevault", ""},
		{"", "", "", "empty"},
		{"co", "", "", "too short"},
		{strings.Repeat("a", 25), "", "", "too long"},
		{"a--b", "", "", "two hyphens"},
		{"-abc", "", "", ""},
		{"con toso", "", "", "blank"},
		{"contoso\n", "", "", "line break"},
		{"\ufeffcontoso", "", "", "byte order mark"},
		{"contoso\u200b.vault.azure.net", "", "", "zero-width space"},
		{"https://contoso.vault.azure.net/\u00a0", "", "", "no-break space"},
		{"contoso", "vault.azure.cn ", "", "a blank"},
		{"contoso", "vault.azure.cn\u200b", "", "zero-width space"},
		{"http://contoso.vault.azure.net", "", "", "no TLS"},
		{"https://contoso.vault.azure.net/keys/tde", "", "", "a key's URL"},
		{"https://user:pw@contoso.vault.azure.net", "", "", ""},
		{"https://contoso.vault.azure.net?x=1", "", "", ""},
		{"https://", "", "", ""},
		{"ftp://contoso.vault.azure.net", "", "", ""},
		{"https://contoso.vault.azure.net:", "", "", "empty port"},
		{"cöntoso", "", "", "not ASCII"},
	} {
		t.Run(c.vault, func(t *testing.T) {
			cred, err := aad.NewClientSecret("id", "secret")
			require.NoError(t, err)
			host := ""
			client, err := akv.NewClient(c.vault, cred, &akv.Options{
				VaultSuffix: c.suffix,
				Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					host = r.URL.Host
					return reply(r, 404, ""), nil
				}),
			})
			if c.host == "" {
				assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument, c.why)
				assert.NotContains(t, fmt.Sprint(err), "\n")
				return
			}
			require.NoError(t, err)
			_, err = client.GetKey(t.Context(), "tde", "")
			assert.ErrorIs(t, err, ekm.ErrorHttpResourceNotFound)
			assert.Equal(t, c.host, host)
		})
	}
	_, err := akv.NewClient("contoso", nil, nil)
	assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument)
	cred, err := aad.NewClientSecret("id", "secret")
	require.NoError(t, err)
	for _, authority := range []string{"http://login.windows.net/t", "https://login.windows.net", "login.windows.net/t", "https://u:p@login.windows.net/t"} {
		_, err = akv.NewClient("contoso", cred, &akv.Options{Authority: authority})
		assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument, authority)
	}
}

// unseenNames are names and versions that look right in an error, with what is wrong.
func unseenNames() map[string]string {
	const version = "78deebed173b48e48f55abf87ed4cf71"
	return map[string]string{
		" tde": "blanks or a line break around", "tde ": "blanks or a line break around", "tde\t": "blanks or a line break around",
		version + "\r\n": "blanks or a line break around", "tde\u00a0": "blanks or a line break around",
		"my key": "a blank in it", "my\u00a0key": "no-break space", " ": "blanks or a line break around",
		"\ufefftde": "invisible", version + "\u200b": "invisible", "td\u00ade": "invisible", "tde\u3164": "invisible",
		"a\r\nb": "control character", "a\x00b": "control character", "tde\xa0": "UTF-8",
	}
}

func TestArguments(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	client := clientOf(t, fake, akv.Options{})
	var noContext context.Context
	operations := map[string]func(ctx context.Context, name, version string) error{
		"GetKey": func(ctx context.Context, name, version string) error {
			_, err := client.GetKey(ctx, name, version)
			return err
		},
		"WrapKey": func(ctx context.Context, name, version string) error {
			_, err := client.WrapKey(ctx, name, version, akv.RSAOAEP, []byte("key"))
			return err
		},
		"UnwrapKey": func(ctx context.Context, name, version string) error {
			_, err := client.UnwrapKey(ctx, name, version, akv.RSAOAEP, []byte("key"))
			return err
		},
		"BackupKey": func(ctx context.Context, name, _ string) error {
			_, err := client.BackupKey(ctx, name)
			return err
		},
		"RotateKey": func(ctx context.Context, name, _ string) error {
			_, err := client.RotateKey(ctx, name)
			return err
		},
		"KeyVersions": func(ctx context.Context, name, _ string) error {
			for _, err := range client.KeyVersions(ctx, name) {
				return err
			}
			return errors.New("no iteration")
		},
	}
	for name, do := range operations {
		t.Run(name, func(t *testing.T) {
			fake.ResetJournal()
			for _, bad := range []string{"", ".", ".."} {
				assert.ErrorIs(t, do(t.Context(), bad, ""), ekm.SCPErrInvalidArgument, "%q", bad)
			}
			assert.ErrorIs(t, do(noContext, "tde", ""), ekm.SCPErrInvalidArgument)
			assert.Empty(t, fake.Journal())
			for odd, says := range unseenNames() {
				err := do(t.Context(), odd, "")
				assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument, "%+q", odd)
				assert.ErrorContains(t, err, fmt.Sprintf("the key's name %+q ", odd))
				assert.ErrorContains(t, err, says)
				if versioned := []string{"GetKey", "WrapKey", "UnwrapKey"}; slices.Contains(versioned, name) {
					err = do(t.Context(), "tde", odd)
					assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument, "%+q", odd)
					assert.ErrorContains(t, err, fmt.Sprintf("the key's version %+q ", odd))
					assert.ErrorContains(t, err, says)
				}
				assert.Empty(t, fake.Journal())
			}
			// No key has such a name; none may reach another resource.
			for _, odd := range []string{"a/b", "tde/wrapkey", "../keys", "a?b", "a#b", "tde%2F", "ключ", "a_b", strings.Repeat("k", 128)} {
				err := do(t.Context(), odd, "")
				assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument, "%q", odd)
				assert.ErrorContains(t, err, "the key's name has other characters than", odd)
				assert.NotContains(t, err.Error(), odd)
			}
			assert.Empty(t, fake.Journal())
			// These names are valid, but the vault has no such keys.
			for _, odd := range []string{
				"-", "0", strings.Repeat("k", 127), "0f3c5c3e-95c5-4ab1-a3b1-4a1bcbe0d7a5", "0f3c5c3e-95c5-4ab1-a3b1-4a1bcbe0d7a5-tde",
				strings.Repeat("0123456789abcdef", 4), "tde-0f3c5c3e95c54ab1a3b14a1bcbe0d7a5x",
			} {
				assert.NotErrorIs(t, do(t.Context(), odd, ""), ekm.SCPErrInvalidArgument, odd)
			}
		})
	}
	for _, c := range []struct {
		alg akv.Algorithm
		key []byte
		w   ekm.Code
		u   ekm.Code
	}{
		{"", []byte("k"), ekm.SCPErrNotSupported, ekm.SCPErrNotSupported},
		{`RSA","x":"`, []byte("k"), ekm.SCPErrNotSupported, ekm.SCPErrNotSupported},
		{akv.RSAOAEP, nil, ekm.ErrorWrapKeyBase64EncodeKey, ekm.ErrorUnwrapKeyBase64EncodeKey},
		{akv.RSAOAEP, make([]byte, 7<<10), ekm.ErrorWrapKeyOutOfMemoryConvertEncodedBody, ekm.ErrorUnwrapKeyOutOfMemoryConvertEncodedBody},
		{akv.RSAOAEP, make([]byte, 1000), ekm.ErrorHttpResponseCodeClientError, ekm.ErrorHttpResponseCodeClientError},
	} {
		_, err := client.WrapKey(t.Context(), "tde", "", c.alg, c.key)
		assert.ErrorIs(t, err, c.w)
		_, err = client.UnwrapKey(t.Context(), "tde", "", c.alg, c.key)
		assert.ErrorIs(t, err, c.u)
	}
	_, err := client.RestoreKey(t.Context(), nil)
	assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument)
	narrow := clientOf(t, fake, akv.Options{Limits: akv.Limits{Path: 100}})
	_, err = narrow.GetKey(t.Context(), strings.Repeat("k", 127), "")
	assert.ErrorIs(t, err, ekm.ErrorGetKeyByNameOutOfMemoryConcatPath)
	_, err = narrow.BackupKey(t.Context(), strings.Repeat("k", 127))
	assert.ErrorIs(t, err, ekm.ErrorBackupKeyOutOfMemoryConcatPath)
}

// One row for each way in which an answer with status 200 can be of no use.
func TestReplies(t *testing.T) {
	const kid = `"kid":"https://contoso.vault.azure.net/keys/tde/1"`
	wrap := func(c *akv.Client) error {
		_, err := c.WrapKey(context.Background(), "tde", "", akv.RSAOAEP, []byte("k3y-bytes"))
		return err
	}
	unwrap := func(c *akv.Client) error {
		_, err := c.UnwrapKey(context.Background(), "tde", "", akv.RSAOAEP, []byte("k3y-bytes"))
		return err
	}
	backup := func(c *akv.Client) error {
		_, err := c.BackupKey(context.Background(), "tde")
		return err
	}
	get := func(c *akv.Client) error {
		_, err := c.GetKey(context.Background(), "tde", "")
		return err
	}
	list := func(c *akv.Client) error {
		for _, err := range c.Keys(context.Background()) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	tiny := akv.Limits{Key: 100, Backup: 100, Result: 100}
	long := `{"value":"` + strings.Repeat("A", 200) + `"}`
	for _, c := range []struct {
		name   string
		do     func(*akv.Client) error
		body   string
		limits akv.Limits
		want   ekm.Code
	}{
		{"wrap, empty", wrap, ``, akv.Limits{}, ekm.ErrorWrapKeyNoResponse},
		{"wrap, no JSON", wrap, `SECRET-ECHO`, akv.Limits{}, ekm.ErrorWrapKeyJsonParser},
		{"wrap, no value", wrap, `{` + kid + `}`, akv.Limits{}, ekm.ErrorWrapKeyExtractValue},
		{"wrap, no kid", wrap, `{"value":"AA"}`, akv.Limits{}, ekm.ErrorWrapKeyExtractValue},
		{"wrap, value no string", wrap, `{` + kid + `,"value":5}`, akv.Limits{}, ekm.ErrorWrapKeyExtractValue},
		{"wrap, value no base64", wrap, `{` + kid + `,"value":"*SECRET-ECHO*"}`, akv.Limits{}, ekm.ErrorWrapKeyBase64DecodeValue},
		{"wrap, long", wrap, long, tiny, ekm.ErrorWrapKeyOutOfMemoryConvertResponseString},
		{"wrap, Authorization too long", wrap, long, akv.Limits{Authorization: 10}, ekm.ErrorWrapKeyOutOfMemoryConcatHeader},
		{"wrap, request too long", wrap, long, akv.Limits{Request: 30}, ekm.ErrorWrapKeyOutOfMemoryConcatBody},
		{"wrap, path too long", wrap, long, akv.Limits{Path: 10}, ekm.ErrorWrapKeyOutOfMemoryConcatPath},
		{"unwrap, empty", unwrap, ``, akv.Limits{}, ekm.ErrorUnwrapKeyNoResponse},
		{"unwrap, no JSON", unwrap, `SECRET-ECHO`, akv.Limits{}, ekm.ErrorUnwrapKeyJsonParser},
		{"unwrap, no value", unwrap, `{` + kid + `}`, akv.Limits{}, ekm.ErrorUnwrapKeyExtractValue},
		{"unwrap, value no base64", unwrap, `{` + kid + `,"value":"*SECRET-ECHO*"}`, akv.Limits{}, ekm.ErrorUnwrapKeyBase64DecodeValue},
		{"unwrap, long", unwrap, long, tiny, ekm.ErrorUnwrapKeyOutOfMemoryConvertResponseString},
		{"unwrap, Authorization too long", unwrap, long, akv.Limits{Authorization: 10}, ekm.ErrorUnwrapKeyOutOfMemoryConcatHeader},
		{"unwrap, request too long", unwrap, long, akv.Limits{Request: 30}, ekm.ErrorUnwrapKeyOutOfMemoryConcatBody},
		{"unwrap, path too long", unwrap, long, akv.Limits{Path: 10}, ekm.ErrorUnwrapKeyOutOfMemoryConcatPath},
		{"backup, empty", backup, ``, akv.Limits{}, ekm.ErrorBackupKeyNoResponse},
		{"backup, no JSON", backup, `[`, akv.Limits{}, ekm.ErrorBackupKeyJsonParser},
		{"backup, no value", backup, `{}`, akv.Limits{}, ekm.ErrorBackupKeyExtractValue},
		{"backup, null", backup, `{"value":null}`, akv.Limits{}, ekm.ErrorBackupKeyExtractValue},
		{"backup, value no base64", backup, `{"value":"*"}`, akv.Limits{}, ekm.ErrorBackupKeyBase64DecodeValue},
		{"backup, long", backup, long, tiny, ekm.ErrorBackupKeyOutOfMemoryConvertResponseString},
		{"backup, Authorization too long", backup, long, akv.Limits{Authorization: 10}, ekm.ErrorBackupKeyOutOfMemoryConcatHeader},
		{"get, empty", get, ``, akv.Limits{}, ekm.ErrorGetKeyByNameNoResponse},
		{"get, no JSON", get, `<html>`, akv.Limits{}, ekm.ErrorGetKeyByNameJsonParser},
		{"get, no key", get, `{}`, akv.Limits{}, ekm.ErrorGetKeyByNameExtractKeyNode},
		{"get, oct", get, `{"key":{` + kid + `,"kty":"oct-HSM"}}`, akv.Limits{}, ekm.SCPErrNotSupported},
		{"get, long", get, long, tiny, ekm.ErrorGetKeyByNameOutOfMemoryConvertResponseString},
		{"get, Authorization too long", get, long, akv.Limits{Authorization: 10}, ekm.ErrorGetKeyByNameOutOfMemoryConcatHeader},
		{"get, the probe's URL too long", get, long, akv.Limits{URL: 20}, ekm.ErrorGetAADValuesOutOfMemoryConcatPath},
		{"get, over the body limit", get, strings.Repeat(" ", 2<<20), akv.Limits{}, ekm.ErrorHttpGetResponseOutOfMemoryCreateTempBuffer},
		{"list, no list", list, `{}`, akv.Limits{}, ekm.ErrorGetKeyByNameJsonParser},
		{"list, no kid", list, `{"value":[{}]}`, akv.Limits{}, ekm.ErrorGetKeyByNameExtractKeyId},
		{"list, kid of a secret", list, `{"value":[{"kid":"https://x/secrets/y"}]}`, akv.Limits{}, ekm.ErrorGetKeyByNameExtractKeyUri},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := scriptedClient(t, akv.Options{Limits: c.limits}, func(r *http.Request) *http.Response {
				return reply(r, 200, c.body, "x-ms-request-id", "req-7", "x-ms-keyvault-region", "westus2")
			})
			err := c.do(client)
			var e *ekm.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.want, e.Code, "%v", err)
			assert.NotEmpty(t, e.Op)
			assert.False(t, e.Time.IsZero())
			if e.Phase == ekm.PhaseDecode {
				assert.Equal(t, []any{200, "req-7", "westus2", "contoso.vault.azure.net"}, []any{e.Status, e.RequestID, e.Region, e.Host})
			}
			for _, secret := range []string{"SECRET-ECHO", "k3y-bytes", "azN5LWJ5dGVz", "t0ken-value", "s3cret~value"} {
				assert.NotContains(t, fmt.Sprintf("%v %+v", err, err), secret)
			}
		})
	}
}

// A server that sends back what it was sent must not make its caller log it.
func TestEchoesAreRedacted(t *testing.T) {
	client := scriptedClient(t, akv.Options{Retry: retry.Policy{Attempts: 1}}, func(r *http.Request) *http.Response {
		body := make([]byte, 200)
		n, _ := r.Body.Read(body)
		echo := strings.ReplaceAll(string(body[:n]), `"`, "'") + " " + r.Header.Get("Authorization")
		return reply(r, 400, fmt.Sprintf(`{"error":{"code":%q,"message":%q,"innererror":{"code":%q}}}`, echo, echo, echo), "x-ms-request-id", echo, "x-ms-keyvault-region", echo)
	})
	_, err := client.WrapKey(t.Context(), "tde", "", akv.RSAOAEP, []byte("k3y-bytes"))
	require.ErrorIs(t, err, ekm.ErrorHttpResponseCodeClientError)
	var e *ekm.Error
	require.ErrorAs(t, err, &e)
	text, jsonErr := e.MarshalJSON()
	require.NoError(t, jsonErr)
	for _, s := range []string{fmt.Sprintf("%v", err), fmt.Sprintf("%+v", err), string(text), e.LogValue().String()} {
		assert.NotContains(t, s, "azN5LWJ5dGVz")
		assert.NotContains(t, s, "t0ken-value")
	}
	assert.Equal(t, "[redacted] (the server's text repeats what was sent)", e.Message)
	assert.Equal(t, []string{"[redacted]", "[redacted]", "[redacted]", "[redacted]"}, []string{e.ServiceCode, e.InnerCode, e.RequestID, e.Region})
}

// Not only in a refusal: in the answer that rejects a fresh token, and in the
// header of one that cannot be decoded.
func TestEchoesInTheLastAnswer(t *testing.T) {
	for _, answer := range []func(*http.Request) *http.Response{
		func(r *http.Request) *http.Response {
			echo := r.Header.Get("Authorization")
			return reply(r, 401, fmt.Sprintf(`{"error":{"code":%q,"message":%q}}`, echo, echo), "WWW-Authenticate", usualChallenge, "x-ms-request-id", echo)
		},
		func(r *http.Request) *http.Response {
			return reply(r, 200, `{"value":""}`, "x-ms-request-id", r.Header.Get("Authorization"), "x-ms-keyvault-region", r.Header.Get("Authorization"))
		},
	} {
		client := scriptedClient(t, akv.Options{Retry: retry.Policy{Attempts: 1}}, answer)
		_, err := client.WrapKey(t.Context(), "tde", "", akv.RSAOAEP, []byte("k3y-bytes"))
		var e *ekm.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "[redacted]", e.RequestID)
		assert.NotContains(t, fmt.Sprintf("%v %+v", err, err), "t0ken-value")
	}
}

// A refusal that does not say what it is made of is shown if it is text.
func TestRefusalWithoutContentType(t *testing.T) {
	for body, want := range map[string]string{
		"403 Forbidden by the gateway":      "403 Forbidden by the gateway",
		"":                                  "",
		"\x00\x01\x02 binary":               "",
		"<html><body>Blocked</body></html>": "the answer is an HTML page of 33 bytes, from something in front of the vault",
		`{"error":{"code":"Forbidden","message":"no permission"}}`:  "no permission",
		"the token that you sent, t0ken-value, is not welcome here": "[redacted] (the server's text repeats what was sent)",
	} {
		client := scriptedClient(t, akv.Options{Retry: retry.Policy{Attempts: 1}}, func(r *http.Request) *http.Response {
			resp := reply(r, 403, body)
			resp.Header.Del("Content-Type")
			return resp
		})
		_, err := client.GetKey(t.Context(), "tde", "")
		e, ok := errors.AsType[*ekm.Error](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, want, e.Message)
	}
}

// FuzzErrorBody: whatever a vault answers with an error status, the error has its
// status's code and bounded, clean text without the token.
func FuzzErrorBody(f *testing.F) {
	f.Add(403, "application/json", `{"error":{"code":"Forbidden","message":"no","innererror":{"code":"ForbiddenByRbac"}}}`)
	f.Add(400, "text/html", `<html>`)
	f.Add(429, "text/plain", "Too Many\x00 Requests t0ken-value")
	f.Add(500, "application/json", `{"error":{"message":"t0ken-value eyJhbGciOi"}}`)
	f.Fuzz(func(t *testing.T, status int, kind, body string) {
		if status < 400 || status > 599 || status == 401 {
			return
		}
		client := scriptedClient(t, akv.Options{Retry: retry.Policy{Attempts: 1}}, func(r *http.Request) *http.Response {
			resp := reply(r, status, body)
			resp.Header.Set("Content-Type", kind)
			return resp
		})
		_, err := client.GetKey(t.Context(), "tde", "")
		var e *ekm.Error
		if !errors.As(err, &e) || e.Status != status {
			t.Fatalf("%v", err)
		}
		if len(e.Message) > 512 || len(e.ServiceCode) > 100 || len(e.InnerCode) > 100 || strings.Contains(err.Error(), "t0ken-value") || strings.ContainsAny(err.Error(), "\x00\r\n\x1b") {
			t.Fatalf("%q", err.Error())
		}
	})
}
