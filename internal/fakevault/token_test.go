package fakevault_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

func TestTokenReplies(t *testing.T) {
	s := newServer(t, fakevault.Options{RefreshIn: time.Hour})
	u := newUser(t, s)
	claims := jwt.MapClaims{}
	parsed, err := jwt.ParseWithClaims(u.token, claims, func(*jwt.Token) (any, error) { return s.TokenKey(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience("https://vault.azure.net"),
		jwt.WithIssuer("https://sts.windows.net/"+s.Tenant()+"/"), jwt.WithExpirationRequired())
	require.NoError(t, err)
	assert.NotEmpty(t, parsed.Header["kid"])
	assert.Equal(t, parsed.Header["kid"], parsed.Header["x5t"])
	assert.Equal(t, s.ClientID(), claims["appid"])
	assert.Equal(t, s.Tenant(), claims["tid"])
	assert.Equal(t, "1", claims["appidacr"])
	assert.Equal(t, "1.0", claims["ver"])

	status, header, v2 := u.askToken(nil)
	assert.Equal(t, 200, status)
	assert.Equal(t, json.Number("3599"), v2["expires_in"])
	assert.Equal(t, json.Number("3600"), v2["refresh_in"])
	assert.NotContains(t, v2, "expires_on")
	for name, want := range map[string]string{
		"Cache-Control": "no-store, no-cache", "Pragma": "no-cache", "Expires": "-1", "Content-Type": "application/json; charset=utf-8",
		"P3p": `CP="DSP CUR OTPi IND OTRi ONL FIN"`, "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
	} {
		assert.Equal(t, want, header.Get(name), name)
	}
	assert.Len(t, header.Values("Set-Cookie"), 3)

	status, _, v1 := u.postForm(s.AuthorityURL()+"/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {s.ClientID()}, "client_secret": {s.ClientSecret()}, "resource": {s.Resource()},
	})
	assert.Equal(t, 200, status)
	for _, name := range []string{"expires_in", "expires_on", "ext_expires_in", "not_before", "refresh_in", "resource", "token_type", "access_token"} {
		assert.IsType(t, "", v1[name], name)
	}
	assert.Equal(t, "https://vault.azure.net", v1["resource"])
	u.token = v1["access_token"].(string)
	u.ok("GET", "/keys", "")

	// client_secret_basic, another host of the cloud, MSAL's extra scopes
	req := u.request("POST", strings.Replace(s.AuthorityURL(), "microsoftonline.com", "windows.net", 1)+"/oauth2/v2.0/token",
		"grant_type=client_credentials&scope=https%3A%2F%2Fvault.azure.net%2F.default+openid+profile")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	req.SetBasicAuth(s.ClientID(), url.QueryEscape(s.ClientSecret()))
	res, body := u.do(req)
	assert.Equal(t, 200, res.StatusCode, string(body))
}

func TestTokenErrors(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := newUser(t, s)
	s.AddApp("expired-app", "old")
	s.ExpireSecret("expired-app")
	s.AddApp("disabled-app", "x")
	s.DisableApp("disabled-app")
	s.AddApp("gone-app", "x")
	s.RemoveApp("gone-app")
	s.AddApp("two-secrets", "one")
	s.AddApp("two-secrets", "two")
	for name, c := range map[string]struct {
		fields map[string]string
		status int
		code   string
		number string
	}{
		"wrong secret":      {map[string]string{"client_secret": "wrong"}, 401, "invalid_client", "7000215"},
		"expired secret":    {map[string]string{"client_id": "expired-app", "client_secret": "old"}, 401, "invalid_client", "7000222"},
		"unknown app":       {map[string]string{"client_id": "nobody"}, 400, "unauthorized_client", "700016"},
		"removed app":       {map[string]string{"client_id": "gone-app"}, 400, "unauthorized_client", "700016"},
		"disabled app":      {map[string]string{"client_id": "disabled-app", "client_secret": "x"}, 400, "unauthorized_client", "7000112"},
		"nothing sent":      {map[string]string{"client_secret": ""}, 401, "invalid_client", "7000218"},
		"no grant type":     {map[string]string{"grant_type": ""}, 400, "invalid_request", "900144"},
		"other grant type":  {map[string]string{"grant_type": "password"}, 400, "unsupported_grant_type", "70003"},
		"no client id":      {map[string]string{"client_id": ""}, 400, "invalid_request", "900144"},
		"no scope":          {map[string]string{"scope": ""}, 400, "invalid_request", "900144"},
		"only other scopes": {map[string]string{"scope": "openid"}, 400, "invalid_request", "900144"},
		"scope, no default": {map[string]string{"scope": "https://vault.azure.net"}, 400, "invalid_scope", "1002012"},
		"resource at v2":    {map[string]string{"resource": "https://vault.azure.net"}, 400, "invalid_request", "901002"},
		"unknown resource":  {map[string]string{"scope": "https://vault.azure.cn/.default"}, 400, "invalid_resource", "500011"},
	} {
		t.Run(name, func(t *testing.T) {
			v := *u
			v.t = t
			status, header, body := v.askToken(c.fields)
			assert.Equal(t, c.status, status)
			assert.Equal(t, c.code, body["error"])
			assert.Equal(t, []any{json.Number(c.number)}, body["error_codes"])
			assert.Regexp(t, `^AADSTS`+c.number+`: .* Trace ID: [0-9a-f-]{36} Correlation ID: [0-9a-f-]{36} Timestamp: [0-9-]{10} [0-9:]{8}Z$`, body["error_description"])
			assert.Equal(t, "https://login.microsoftonline.com/error?code="+c.number, body["error_uri"])
			assert.Equal(t, header.Get("x-ms-request-id"), body["trace_id"])
			assert.NotContains(t, body["error_description"], s.ClientSecret())
		})
	}
	for _, secret := range []string{"one", "two"} {
		status, _, _ := u.askToken(map[string]string{"client_id": "TWO-SECRETS", "client_secret": secret})
		assert.Equal(t, 200, status)
	}
	number := func(_ int, _ http.Header, body map[string]any) json.Number {
		return body["error_codes"].([]any)[0].(json.Number)
	}
	assert.EqualValues(t, "90002", number(u.postForm("https://login.microsoftonline.com/other-tenant/oauth2/v2.0/token", url.Values{})))
	assert.EqualValues(t, "900144", number(u.postForm(s.AuthorityURL()+"/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {s.ClientID()}, "client_secret": {s.ClientSecret()},
	})))
	res, body := u.do(u.request("GET", s.AuthorityURL()+"/oauth2/v2.0/token", ""))
	assert.Equal(t, 400, res.StatusCode)
	assert.Contains(t, string(body), "AADSTS900561")
	res, _ = u.do(u.request("GET", s.AuthorityURL()+"/.well-known/openid-configuration", ""))
	assert.Equal(t, 404, res.StatusCode)
	res, body = u.do(u.request("POST", s.AuthorityURL()+"/oauth2/token", `{"grant_type":"client_credentials"}`))
	assert.Contains(t, string(body), "AADSTS900144")
	assert.Equal(t, 400, res.StatusCode)
}

// The wrong secret's answer, byte for byte as recorded but for ids and times, with the separator of that time.
func TestTokenErrorInTheOldStyle(t *testing.T) {
	s := newServer(t, fakevault.Options{OldErrorText: true, ClientID: "26790ce1-d05c-4de7-ba73-51837152f0bc"})
	u := newUser(t, s)
	req := u.request("POST", s.AuthorityURL()+"/oauth2/v2.0/token", "grant_type=client_credentials&client_id="+s.ClientID()+"&client_secret=no&scope=x")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("client-request-id", "781088e8-41a8-4b69-8d42-891673702834")
	res, body := u.do(req)
	assert.EqualValues(t, 632, res.ContentLength, "as recorded")
	assert.Regexp(t, `^\{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided\. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '26790ce1-d05c-4de7-ba73-51837152f0bc'\.\\r\\nTrace ID: [^\\]*\\r\\nCorrelation ID: 781088e8-41a8-4b69-8d42-891673702834\\r\\nTimestamp: [^"]*","error_codes":\[7000215\],"timestamp":"[^"]*","trace_id":"[^"]*","correlation_id":"781088e8-41a8-4b69-8d42-891673702834","error_uri":"https://login\.microsoftonline\.com/error\?code=7000215"\}$`, string(body))
}

func TestVaultChecksTheToken(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := newUser(t, s)
	now := time.Now().Unix()
	good := map[string]any{"aud": s.Resource(), "iss": "https://sts.windows.net/" + s.Tenant() + "/", "nbf": now, "exp": now + 60, "appid": "x"}
	with := func(changes map[string]any) string {
		claims := map[string]any{}
		for _, m := range []map[string]any{good, changes} {
			for k, v := range m {
				claims[k] = v
			}
		}
		return s.SignToken(claims)
	}
	_, _, v1 := u.postForm(s.AuthorityURL()+"/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {s.ClientID()}, "client_secret": {s.ClientSecret()}, "resource": {s.Resource() + "/"},
	})
	tampered := u.token[:len(u.token)-5] + "AAAAA"
	foreign := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(good))
	foreignToken, err := foreign.SignedString(sharedKeys()[0])
	require.NoError(t, err)
	hmac, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(good)).SignedString([]byte("secret"))
	require.NoError(t, err)
	for name, c := range map[string]struct{ header, want string }{
		"none":           {"", "AKV10000: Request is missing a Bearer or PoP token."},
		"basic":          {"Basic abc", "AKV10000: Request is missing a Bearer or PoP token."},
		"empty":          {"Bearer ", "AKV10000: Request is missing a Bearer or PoP token."},
		"no jwt":         {"Bearer abc", "AKV10000: Request is missing a Bearer or PoP token."},
		"signature":      {"Bearer " + tampered, "AKV10046: Unable to resolve the key used for signature validation. EncodedJwtHeader: '" + strings.Split(tampered, ".")[0] + "'."},
		"other signer":   {"Bearer " + foreignToken, "AKV10046: Unable to resolve the key used for signature validation. EncodedJwtHeader: '" + strings.Split(foreignToken, ".")[0] + "'."},
		"hmac":           {"Bearer " + hmac, "AKV10046: Unable to resolve the key used for signature validation. EncodedJwtHeader: '" + strings.Split(hmac, ".")[0] + "'."},
		"wrong resource": {"Bearer " + s.IssueToken("https://management.azure.com/"), "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com/."},
		"slash too many": {"Bearer " + v1["access_token"].(string), "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://vault.azure.net/."},
		"other tenant":   {"Bearer " + with(map[string]any{"iss": "https://sts.windows.net/other/"}), "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/" + s.Tenant() + "/, found https://sts.windows.net/other/."},
		"expired":        {"Bearer " + with(map[string]any{"exp": now - 301}), "[TokenExpired] Error validating token: 'S2S12086'."},
		"not yet valid":  {"Bearer " + with(map[string]any{"nbf": now + 330}), "Token not yet valid"},
	} {
		req := u.request("GET", s.VaultURL()+"/keys?api-version=7.4", "")
		req.Header.Set("Authorization", c.header)
		res, body := u.do(req)
		assert.Equal(t, 401, res.StatusCode, name)
		assert.Contains(t, res.Header.Get("WWW-Authenticate"), `resource="https://vault.azure.net"`, name)
		e := asObject(body)["error"].(map[string]any)
		assert.Equal(t, map[string]any{"code": "Unauthorized", "message": c.want}, e, name)
	}
	for _, token := range []string{
		s.IssueToken(""), s.IssueToken("cfa8b339-82a2-471a-a3c9-0fc0be7a4093"), with(nil),
		with(map[string]any{"exp": now - 200}), with(map[string]any{"nbf": now + 200}),
	} {
		u.token = token
		u.ok("GET", "/keys", "")
	}
	req := u.request("GET", s.VaultURL()+"/keys?api-version=7.4", "")
	req.Header.Set("Authorization", "bearer  "+u.token)
	res, _ := u.do(req)
	assert.Equal(t, 200, res.StatusCode, "the scheme compares without case")
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, fakevault.Options{TokenLifetime: 10 * time.Minute, ClockSkew: -1})
		u := newUser(t, s)
		time.Sleep(10 * time.Minute)
		u.ok("GET", "/keys", "")
		time.Sleep(2 * time.Second)
		assert.Contains(t, u.fails("GET", "/keys", "", 401, "Unauthorized", ""), "[TokenExpired]")
	})
}

func TestRevocation(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := newUser(t, s)
	s.RevokeTokens()
	u.fails("GET", "/keys", "", 401, "Unauthorized", "")
	u = newUser(t, s)
	u.ok("GET", "/keys", "")

	want := s.RevokeTokensWithClaims()
	res, _ := u.call("GET", "/keys", "")
	assert.Equal(t, 401, res.StatusCode)
	header := res.Header.Get("WWW-Authenticate")
	assert.Regexp(t, `^Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="[A-Za-z0-9+/]+=*"$`, header)
	encoded := header[strings.Index(header, `claims="`)+8 : len(header)-1]
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	require.NoError(t, err)
	assert.Equal(t, want, string(decoded))

	u = newUser(t, s)
	res, _ = u.call("GET", "/keys", "")
	assert.Contains(t, res.Header.Get("WWW-Authenticate"), "insufficient_claims", "a new token without the claims does not help")
	for claims, ok := range map[string]bool{
		string(decoded): true,
		strings.Replace(want, `{"access_token":{`, `{"access_token":{"xms_cc":{"values":["cp1"]},`, 1): true,
		`{"access_token":{"xms_cc":{"values":["cp1"]}}}`:                                               false,
		`nonsense`: false,
	} {
		_, _, body := u.askToken(map[string]string{"claims": claims})
		u.token = body["access_token"].(string)
		res, _ = u.call("GET", "/keys", "")
		assert.Equal(t, ok, res.StatusCode == 200, claims)
	}
	s.RevokeTokens()
	u.token = s.IssueToken("")
	u.ok("GET", "/keys", "")
}

func TestDiscoveryDocuments(t *testing.T) {
	s := newServer(t, fakevault.Options{AuthorityHost: "login.fake.example"})
	u := newUser(t, s)
	res, body := u.do(u.request("GET", s.AuthorityURL()+"/v2.0/.well-known/openid-configuration", ""))
	assert.Equal(t, 200, res.StatusCode)
	assert.Equal(t, s.AuthorityURL()+"/oauth2/v2.0/token", asObject(body)["token_endpoint"])
	res, body = u.do(u.request("GET", "https://"+s.AuthorityHost()+"/common/discovery/instance?api-version=1.1", ""))
	assert.Equal(t, 200, res.StatusCode)
	assert.Len(t, asObject(body)["metadata"], 5)
	assert.Equal(t, s.AuthorityURL()+"/v2.0/.well-known/openid-configuration", asObject(body)["tenant_discovery_endpoint"])
	res, body = u.do(u.request("GET", "https://login.fake.example/other/v2.0/.well-known/openid-configuration", ""))
	assert.Equal(t, 400, res.StatusCode)
	assert.Contains(t, string(body), "AADSTS90002")
}
