package aad_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/retry"
)

func answering(status int, body string) *authority {
	return &authority{answer: func(int64, *http.Request, url.Values) (int, string) { return status, body }}
}

// In a bubble the clock begins at midnight UTC of 2000-01-01.
func TestExpiry(t *testing.T) {
	const start = 946684800
	for _, c := range []struct {
		members string
		want    time.Duration // 0: code 3308
		why     string
	}{
		{`"expires_in":3599`, 3599 * time.Second, "v2"},
		{`"expires_in":"3599"`, 3599 * time.Second, "v1 and IMDS: every number is a string"},
		{`"expires_in":3599.5`, 3599500 * time.Millisecond, ""},
		{fmt.Sprintf(`"expires_on":%d`, start+600), 10 * time.Minute, ""},
		{fmt.Sprintf(`"expires_on":"%d"`, start+600), 10 * time.Minute, "App Service sends only this"},
		{`"expires_on":"2000-01-01T00:10:00Z"`, 10 * time.Minute, "RFC 3339"},
		{`"expires_on":"2000-01-01 00:10:00"`, 10 * time.Minute, ""},
		{`"expires_on":"01/01/2000 00:10:00"`, 10 * time.Minute, "month first"},
		{`"expires_on":"1/1/2000 12:10:00 AM +00:00"`, 10 * time.Minute, "App Service, api-version 2017-09-01"},
		{fmt.Sprintf(`"expires_in":600,"expires_on":"%d"`, start+9999), 10 * time.Minute, "expires_in does not depend on anybody's clock"},
		{`"expires_in":99999999999999`, 30 * 24 * time.Hour, "no overflow"},
		{`"expires_in":null,"expires_on":"x"`, 0, ""},
		{`"expires_in":"-5"`, 0, ""},
		{`"expires_in":"NaN"`, 0, ""},
		{`"x":1`, 0, "neither"},
	} {
		t.Run(c.members, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tok, err := newTokens(t, answering(200, `{"access_token":"abc","token_type":"Bearer",`+c.members+`}`), aad.Options{}).Get(t.Context(), demand())
				if c.want == 0 {
					require.ErrorIs(t, err, ekm.ErrorGetTokenExtractToken)
					return
				}
				require.NoError(t, err, c.why)
				assert.Equal(t, "abc", tok.Reveal())
				assert.Equal(t, c.want, tok.Expires.Sub(time.Unix(start, 0)))
			})
		})
	}
}

// Every refusal of the authority's, with the code it leads to.
func TestReplies(t *testing.T) {
	const ids = `\r\nTrace ID: 6f6c4645-0202-4486-b625-fa957dfc4700\r\nCorrelation ID: 5fc87507-4086-4e77-b415-cee677eb232e\r\nTimestamp: 2023-05-06 06:03:00Z`
	for _, c := range []struct {
		name   string
		status int
		body   string
		code   ekm.Code
		aadsts string
		says   string
	}{
		{"wrong secret", 401, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.` + ids + `","error_codes":[7000215],"trace_id":"6f6c4645-0202-4486-b625-fa957dfc4700","correlation_id":"5fc87507-4086-4e77-b415-cee677eb232e"}`, ekm.ErrorGetTokenBadCredentials, "AADSTS7000215", "Invalid client secret provided."},
		{"number in the text alone", 401, `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired. Trace ID: x"}`, ekm.ErrorGetTokenBadCredentials, "AADSTS7000222", "are expired."},
		{"invalid_client with 400", 400, `{"error":"invalid_client","error_codes":[50027]}`, ekm.ErrorGetTokenBadCredentials, "AADSTS50027", ""},
		{"unknown application", 400, `{"error":"unauthorized_client","error_description":"AADSTS700016: Application was not found","error_codes":[700016]}`, ekm.ErrorHttpResponseCodeClientError, "AADSTS700016", "not found"},
		{"unknown tenant", 400, `{"error":"invalid_request","error_codes":[90002]}`, ekm.ErrorHttpResponseCodeClientError, "AADSTS90002", ""},
		{"401 without a reason", 401, ``, ekm.ErrorHttpResponseCodeUnauthorized, "", ""},
		{"401 from a portal", 401, `<html>sign in</html>`, ekm.ErrorHttpResponseCodeUnauthorized, "", ""},
		{"a redirect is not followed", 307, ``, ekm.ErrorUnknown, "", ""},
		{"throttled, in plain text", 429, `Too Many Requests`, ekm.ErrorHttpResponseCodeThrottled, "", ""},
		{"transient", 503, `{"error":"temporarily_unavailable","error_codes":[90033]}`, ekm.ErrorHttpResponseCodeServerError, "AADSTS90033", ""},
		{"not found", 404, ``, ekm.ErrorHttpResourceNotFound, "", ""},
		{"forbidden", 403, ``, ekm.ErrorHttpOperationForbidden, "", ""},
		{"no JSON", 200, `<html>`, ekm.ErrorGetTokenJsonParser, "", ""},
		{"empty", 200, ``, ekm.ErrorGetTokenJsonParser, "", ""},
		{"broken JSON quoting the token", 200, `{"access_token":"s3cret-token"`, ekm.ErrorGetTokenJsonParser, "", ""},
		{"an array", 200, `[]`, ekm.ErrorGetTokenJsonParser, "", ""},
		{"no token", 200, `{"expires_in":1}`, ekm.ErrorGetTokenNotFound, "", ""},
		{"null token", 200, `{"access_token":null,"expires_in":1}`, ekm.ErrorGetTokenNotFound, "", ""},
		{"empty token", 200, `{"access_token":"","expires_in":3599}`, ekm.ErrorGetTokenExtractToken, "", ""},
		{"a number for a token", 200, `{"access_token":5,"expires_in":3599}`, ekm.ErrorGetTokenExtractToken, "", ""},
		{"a line break in the token", 200, `{"access_token":"a\r\nb","expires_in":3599}`, ekm.ErrorGetTokenExtractToken, "", ""},
		{"expired on arrival", 200, `{"access_token":"s3cret-token","expires_in":0}`, ekm.ErrorGetTokenFailedToGetToken, "", "clock"},
		{"proof of possession", 200, `{"access_token":"s3cret-token","expires_in":3599,"token_type":"pop"}`, ekm.ErrorGetTokenFailedToGetToken, "", "pop"},
		{"an error with status 200", 200, `{"error":"server_error"}`, ekm.ErrorGetTokenFailedToGetToken, "", "server_error"},
		{"too long", 200, `{"access_token":"` + strings.Repeat("a", 70<<10) + `","expires_in":3599}`, ekm.ErrorGetTokenOutOfMemoryConvertResponseString, "", "limit"},
		{"the secret echoed", 400, `{"error":"s3cret~value","error_description":"you sent s3cret~value and s3cret%7Evalue","error_codes":[900144]}`, ekm.ErrorHttpResponseCodeClientError, "AADSTS900144", "HTTP 400 [redacted]/AADSTS900144: [redacted] (the server's text repeats what was sent)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newTokens(t, answering(c.status, c.body), aad.Options{Retry: retry.Policy{Attempts: 1}}).Get(t.Context(), demand())
			var e *ekm.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.code, e.Code)
			assert.Equal(t, c.aadsts, e.AADSTS)
			assert.Equal(t, ekm.Authority, e.Party)
			assert.Equal(t, "acquireToken", e.Op)
			assert.Equal(t, "login.microsoftonline.com", e.Host)
			assert.Contains(t, err.Error(), c.says)
			for _, secret := range []string{"s3cret", "Trace ID"} {
				assert.NotContains(t, fmt.Sprintf("%v %+v", err, err), secret)
			}
			if strings.Contains(c.body, "trace_id") {
				assert.Equal(t, "6f6c4645-0202-4486-b625-fa957dfc4700", e.TraceID)
				assert.Equal(t, "5fc87507-4086-4e77-b415-cee677eb232e", e.CorrelationID)
			}
		})
	}
}

func TestRequestLimits(t *testing.T) {
	long := demand()
	long.Authority = "https://login.windows.net/" + strings.Repeat("a", 5<<10)
	a := answering(200, ``)
	_, err := newTokens(t, a, aad.Options{}).Get(t.Context(), long)
	assert.ErrorIs(t, err, ekm.ErrorGetTokenOutOfMemoryConcatPath)
	_, err = newTokens(t, a, aad.Options{MaxRequest: 100}).Get(t.Context(), demand())
	assert.ErrorIs(t, err, ekm.ErrorGetTokenOutOfMemoryConcatBody)
	secret := func(n int) aad.Credential {
		cred, err := aad.NewClientSecret("id", strings.Repeat("s", n))
		require.NoError(t, err)
		return cred
	}
	_, err = tokensOf(t, secret(1<<20), a).Get(t.Context(), demand())
	assert.ErrorIs(t, err, ekm.ErrorGetTokenOutOfMemoryConcatBody)
	assert.Zero(t, a.requests.Load(), "checked before anything is sent")

	// The defaults are those of package akv.
	good := &authority{answer: numbered(3599)}
	long.Authority = "https://login.windows.net/" + strings.Repeat("a", 3<<10)
	_, err = tokensOf(t, secret(1<<19), good).Get(t.Context(), long)
	assert.NoError(t, err)
}

func TestRetriedWithinOneExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{answer: func(n int64, _ *http.Request, _ url.Values) (int, string) {
			if n < 3 {
				return 429, "Too Many Requests"
			}
			return 200, `{"access_token":"abc","expires_in":"3599"}`
		}}
		_, err := newTokens(t, a, aad.Options{}).Get(t.Context(), demand())
		require.NoError(t, err)
		assert.EqualValues(t, 3, a.requests.Load())
	})
}

func TestClientSecret(t *testing.T) {
	const guid = "0f3c5c3e-95c5-4ab1-a3b1-4a1bcbe0d7a5"
	for _, c := range []struct{ id, secret, says string }{
		{"", "canary", "client id is empty"},
		{"id", "", "secret is empty"},
		{" id", "canary", "client id has blanks"},
		{"\ufeffid", "canary", "client id has an invisible character"},
		{"id\u200b", "canary", "client id has an invisible character"},
		{"id\u00a0", "canary", "client id has blanks"},
		{"id\x00", "canary", "client id has a control character"},
		{"i d", "canary", "characters that no client id has"},
		{"id", "canary\n", "secret has blanks or a line break"},
	} {
		_, err := aad.NewClientSecret(c.id, c.secret)
		assert.ErrorIs(t, err, ekm.ErrorSecretAuthParamsGetRequestBody, "%+q", c)
		assert.ErrorContains(t, err, c.says)
		assert.NotContains(t, fmt.Sprintf("%+v", err), "canary")
	}
	for _, secret := range []string{"with blanks and ~+=/ inside", strings.ReplaceAll(guid, "-", ""), guid + "x"} {
		_, err := aad.NewClientSecret("id", secret)
		assert.NoError(t, err, "a secret may hold anything inside that is seen")
	}
}

// FuzzReply: whatever the authority answers, there is no panic, a token is usable
// or the error has a code of the token's, and it does not quote the reply.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		`{"token_type":"Bearer","expires_in":3599,"access_token":"abc"}`,
		`{"access_token":"abc","expires_on":"1/1/2000 12:10:00 AM +00:00"}`,
		`{"error":"invalid_client","error_codes":[7000215]}`, `{"expires_in":1e309,"access_token":"a"}`, `null`, `{`,
	} {
		f.Add(200, s)
		f.Add(401, s)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		tok, err := newTokens(t, answering(status, strings.ReplaceAll(body, "abc", "CANARY-CANARY")), aad.Options{Retry: retry.Policy{Attempts: 1}}).Get(t.Context(), demand())
		if err == nil {
			if tok.Reveal() == "" || strings.ContainsAny(tok.Reveal(), "\r\n ") || !tok.Expires.After(time.Now()) || tok.Expires.After(time.Now().AddDate(100, 0, 0)) {
				t.Fatalf("unusable token %v", tok)
			}
			return
		}
		if code := ekm.CodeOf(err); code < 3001 || code > 3308 {
			t.Fatalf("code %v", code)
		}
		if status == 200 && strings.Contains(err.Error(), "CANARY") && !strings.Contains(body, "error") && !strings.Contains(body, "token_type") {
			t.Fatalf("the reply is quoted: %v", err)
		}
	})
}

// An authority may take an assertion that it has seen for a replay.
func TestEachTryHasAnAssertionOfItsOwn(t *testing.T) {
	pem, err := os.ReadFile("../internal/keyfile/testdata/pkcs8.pem")
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))) // when the certificate is good
		cred, err := aad.NewPEM("id", pem, nil)
		require.NoError(t, err)
		a := &authority{answer: func(n int64, _ *http.Request, _ url.Values) (int, string) {
			if n == 1 {
				return 503, ""
			}
			return 200, `{"access_token":"abc","expires_in":3599}`
		}}
		tokens := aad.NewTokens(cred, &aad.Options{Transport: a})
		defer tokens.Close()
		_, err = tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		require.Len(t, a.forms, 2)
		assert.NotEqual(t, a.forms[0].Get("client_assertion"), a.forms[1].Get("client_assertion"))
	})
}

func TestSecretEchoedWithStatus200(t *testing.T) {
	_, err := newTokens(t, answering(200, `{"error":"you sent s3cret~value","token_type":"s3cret~value"}`), aad.Options{}).Get(t.Context(), demand())
	require.ErrorIs(t, err, ekm.ErrorGetTokenFailedToGetToken)
	assert.NotContains(t, err.Error(), "s3cret")
}

// A refusal that does not say what it is made of is shown if it is text, but JSON is
// not text.
func TestRefusalWithoutContentType(t *testing.T) {
	for body, want := range map[string]string{
		"connecting to 169.254.169.254: forbidden": "connecting to 169.254.169.254: forbidden", // as Docker Desktop answers
		"":                               "",
		"\x00\x01\x02 binary":            "",
		"<html>Blocked</html>":           "",
		`{"message":"no such identity"}`: "no such identity", // App Service
		`{"reason":"unknown"}`:           "",
	} {
		_, err := tokensOf(t, made(t)(aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.IMDS})), roundTrip(func(r *http.Request) (*http.Response, error) {
			return replyWith(r, 403, http.Header{}, body), nil
		})).Get(t.Context(), demand())
		e, ok := errors.AsType[*ekm.Error](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, want, e.Message, "%q", body)
	}
}
