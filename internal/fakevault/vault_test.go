package fakevault_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"hash"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

func TestWrapAndUnwrapAgainstCryptoRSA(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := newUser(t, s)
	created := u.ok("POST", "/keys/Main/create", `{"kty":"RSA"}`)
	key := created["key"].(map[string]any)
	n := dec(t, key["n"])
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	assert.Len(t, n, 256, "2048 bits is the default")
	assert.Equal(t, "AQAB", key["e"])
	priv := s.PrivateKey("main", "")
	dek := []byte("0123456789abcdef0123456789abcdef")

	hashes := map[string]hash.Hash{"RSA-OAEP": sha1.New(), "RSA-OAEP-256": sha256.New(), "RSA1_5": nil}
	for alg, h := range hashes {
		for _, ops := range [][2]string{{"wrapkey", "unwrapkey"}, {"wrapKey", "unwrapKey"}, {"encrypt", "decrypt"}} {
			for _, path := range []string{"/keys/main/" + version(created) + "/", "/keys/MAIN//", "/keys/main/"} {
				// The vault wraps, crypto/rsa unwraps.
				got := u.ok("POST", path+ops[0], `{"alg":"`+alg+`","value":"`+enc(dek)+`"}`)
				assert.Equal(t, kid(created), got["kid"])
				var plain, wrapped []byte
				var err error
				if h == nil {
					//lint:ignore SA1019 RSA1_5 is what the service offers under that name
					//lint:ignore SA1019 the service offers it
					plain, err = rsa.DecryptPKCS1v15(nil, priv, dec(t, got["value"]))
				} else {
					plain, err = rsa.DecryptOAEP(h, nil, priv, dec(t, got["value"]), nil)
				}
				require.NoError(t, err)
				assert.Equal(t, dek, plain)

				// And the other way round.
				if h == nil {
					//lint:ignore SA1019 RSA1_5 is what the service offers under that name
					//lint:ignore SA1019 the service offers it
					wrapped, err = rsa.EncryptPKCS1v15(rand.Reader, pub, dek)
				} else {
					wrapped, err = rsa.EncryptOAEP(h, rand.Reader, pub, dek, nil)
				}
				require.NoError(t, err)
				got = u.ok("POST", path+ops[1], `{"alg":"`+alg+`","value":"`+enc(wrapped)+`"}`)
				assert.Equal(t, dek, dec(t, got["value"]))
			}
		}
	}
}

// The bodies are those of the recordings, member by member; only the values differ.
func TestBodiesHaveTheRecordedForm(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := newUser(t, s)
	raw := func(method, path, body string) string {
		res, b := u.do(u.request(method, s.VaultURL()+path+"?api-version=7.3", body))
		require.Less(t, res.StatusCode, 300, "%s", b)
		text := string(b)
		for _, r := range [][2]string{{`[0-9a-f]{32}`, "V"}, {`"n":"[\w-]{342}"`, `"n":"N"`}, {`\d{10}`, "T"}, {`"(x|y|value)":"[\w-]{43,}"`, `"$1":"B"`}} {
			text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
		}
		return text
	}
	const url = "https://fakevault.vault.azure.net"
	const attributes = `"attributes":{"enabled":true,"created":T,"updated":T,"recoveryLevel":"CustomizedRecoverable+Purgeable","recoverableDays":7}`
	const key = `"key":{"kid":"` + url + `/keys/k/V","kty":"RSA","key_ops":["encrypt","decrypt","sign","verify","wrapKey","unwrapKey"],"n":"N","e":"AQAB"}`
	assert.Equal(t, `{`+key+`,`+attributes+`}`, raw("POST", "/keys/k/create", `{"kty":"RSA"}`))
	assert.Equal(t, `{`+key+`,`+attributes+`}`, raw("GET", "/keys/k/", ""))
	assert.Equal(t, `{`+key+`,`+attributes+`,"tags":{}}`, raw("PATCH", "/keys/k/", `{"tags":{}}`))
	assert.Equal(t, `{"kid":"`+url+`/keys/k/V","value":"B"}`, raw("POST", "/keys/k//wrapkey", `{"alg":"RSA-OAEP","value":"YXJlcGE"}`))
	assert.Equal(t, `{"value":[{"kid":"`+url+`/keys/k",`+attributes+`,"tags":{}}],"nextLink":null}`, raw("GET", "/keys", ""))
	assert.Equal(t, `{"value":[{"kid":"`+url+`/keys/k/V",`+attributes+`,"tags":{}}],"nextLink":null}`, raw("GET", "/keys/k/versions", ""))
	assert.Equal(t, `{"lifetimeActions":[{"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"Notify"}}],"attributes":null}`, raw("GET", "/keys/k/rotationpolicy", ""))
	assert.Equal(t, `{"recoveryId":"`+url+`/deletedkeys/k","deletedDate":T,"scheduledPurgeDate":T,`+key+`,`+attributes+`,"tags":{}}`, raw("DELETE", "/keys/k", ""))
	assert.Equal(t, `{"key":{"kid":"`+url+`/keys/e/V","kty":"EC","key_ops":["sign","verify"],"crv":"P-256","x":"B","y":"B"},`+attributes+`}`,
		raw("POST", "/keys/e/create", `{"kty":"EC"}`))
	assert.Equal(t, `{"id":"`+url+`/keys/e/rotationpolicy","lifetimeActions":[{"trigger":{"timeAfterCreate":"P30D"},"action":{"type":"Rotate"}}],"attributes":{"expiryTime":"P90D","created":T,"updated":T}}`,
		raw("PUT", "/keys/e/rotationpolicy", `{"attributes":{"expiryTime":"P90D"},"lifetimeActions":[{"action":{"type":"rotate"},"trigger":{"timeAfterCreate":"P30D"}}]}`))
	rotated := raw("POST", "/keys/e/rotate", "")
	assert.Contains(t, rotated, `"attributes":{"enabled":true,"exp":T,`)
}

func TestChallengeIsTheRecordedOne(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := &user{t: t, s: s, http: &http.Client{Transport: s.Transport()}}
	req := u.request("POST", s.VaultURL()+"/keys/k/create?api-version=7.3", "")
	req.Header.Set("x-ms-client-request-id", "abc")
	res, body := u.do(req)
	assert.Equal(t, 401, res.StatusCode)
	assert.Equal(t, `Bearer authorization="https://login.microsoftonline.com/`+s.Tenant()+`", resource="https://vault.azure.net"`, res.Header.Get("WWW-Authenticate"))
	assert.Equal(t, `{"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer or PoP token."}}`, string(body))
	assert.EqualValues(t, 97, res.ContentLength)
	assert.Equal(t, "97", res.Header.Get("Content-Length"))
	for name, want := range map[string]string{
		"Cache-Control": "no-cache", "Pragma": "no-cache", "Expires": "-1", "Content-Type": "application/json; charset=utf-8",
		"Strict-Transport-Security": "max-age=31536000;includeSubDomains", "X-Content-Type-Options": "nosniff",
		"X-Ms-Client-Request-Id": "abc", "X-Ms-Keyvault-Region": "westeurope",
		"X-Ms-Keyvault-Network-Info": "conn_type=Ipv4;addr=203.0.113.7;act_addr_fam=InterNetwork;",
	} {
		assert.Equal(t, want, res.Header.Get(name), name)
	}
	for _, name := range []string{"X-Ms-Request-Id", "X-Ms-Keyvault-Service-Version", "Date"} {
		assert.NotEmpty(t, res.Header.Get(name), name)
	}

	other := newServer(t, fakevault.Options{Challenge: []string{`Bearer scope="{resource}/.default"  authorization={authority}`, `PoP realm="{tenant}"`}})
	u = &user{t: t, s: other, http: &http.Client{Transport: other.Transport()}}
	res, _ = u.call("GET", "/keys/k", "")
	assert.Equal(t, []string{`Bearer scope="https://vault.azure.net/.default"  authorization=` + other.AuthorityURL(), `PoP realm="` + other.Tenant() + `"`},
		res.Header.Values("WWW-Authenticate"))
}

func TestManagedHSM(t *testing.T) {
	s := newServer(t, fakevault.Options{VaultHost: "fakehsm.managedhsm.azure.net"})
	assert.Equal(t, "https://managedhsm.azure.net", s.Resource())
	anonymous := &user{t: t, s: s, http: &http.Client{Transport: s.Transport()}}
	res, body := anonymous.do(anonymous.request("GET", s.VaultURL()+"/keys/k?api-version=7.3", ""))
	assert.Equal(t, 401, res.StatusCode)
	assert.Empty(t, body)
	assert.Equal(t, "0", res.Header.Get("Content-Length"))
	assert.Equal(t, `Bearer authorization="`+s.AuthorityURL()+`", resource="https://managedhsm.azure.net"`, res.Header.Get("WWW-Authenticate"))
	for name := range res.Header {
		assert.NotContains(t, name, "X-Ms-Keyvault")
	}
	assert.Equal(t, "default-src 'self'", res.Header.Get("Content-Security-Policy"))

	u := newUser(t, s)
	assert.Regexp(t, `^Key not found: https://fakehsm\.managedhsm\.azure\.net/keys/k \(Activity ID: [0-9a-f-]{36}\)$`, u.fails("GET", "/keys/k", "", 404, "KeyNotFound", ""))
	assert.Contains(t, u.fails("POST", "/keys/a_b/create", `{"kty":"RSA"}`, 400, "BadParameter", ""), "Invalid key identifier or name (Activity ID: ")
	u.fails("GET", "/deletedkeys/k", "", 404, "KeyNotFound", "")
	u.fails("PUT", "/keys/k", `{"key":{}}`, 400, "BadParameter", "")
	assert.Contains(t, s.AddKey("added", sharedKeys()[0]), "https://fakehsm.managedhsm.azure.net/keys/added/")
	assert.Equal(t, "RSA-HSM", u.ok("GET", "/keys/added", "")["key"].(map[string]any)["kty"])
	u.ok("DELETE", "/keys/added", "")
	assert.Contains(t, u.fails("POST", "/keys/restore", `{"value":"ZG9lc25vdGV4aXN0"}`, 400, "MalformedBackupBlob", ""), "different crypto domain")
	res, body = u.do(u.request("POST", s.VaultURL()+"/keys/k/create?api-version=7.3", `{"kty":"RSA"}`))
	require.Equal(t, 200, res.StatusCode)
	assert.Regexp(t, `^\{"attributes":\{"created":\d+,"enabled":true,"exportable":false,"recoverableDays":7,"recoveryLevel":"[^"]+","updated":\d+\},"key":\{"e":"AQAB","key_ops":.*,"kid":.*,"kty":"RSA-HSM","n":".*"\}\}$`, string(body))
	u.ok("POST", "/keys/l/create", `{"kty":"EC"}`)
	got := u.ok("POST", "/keys/k//wrapkey", `{"alg":"RSA-OAEP","value":"YXJlcGE"}`)
	assert.Equal(t, "RSA-OAEP", got["alg"])
	first := u.ok("GET", "/keys?maxresults=1", "")
	link := first["nextLink"].(string)
	assert.Regexp(t, `^https://fakehsm\.managedhsm\.azure\.net/keys\?maxresults=1&\$skiptoken=[\w-]+$`, link)
	res, body = u.do(u.request("GET", link, "")) // as it is: without api-version
	assert.Equal(t, 200, res.StatusCode)
	assert.NotContains(t, string(body), "nextLink")
	assert.Len(t, dec(t, u.ok("POST", "/rng", `{"count":128}`)["value"]), 128)
	assert.Contains(t, u.fails("POST", "/rng", `{"count":-1}`, 400, "BadParameter", ""), "count cannot be greater than 128")

	blob := u.ok("POST", "/keys/k/backup", "")["value"].(string)
	assert.True(t, strings.HasPrefix(string(dec(t, blob)), "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiYmFja3VwLXByb3RlY3Rpb24ta2V5In0.."))
	u.ok("DELETE", "/keys/k", "")
	u.ok("DELETE", "/deletedkeys/k", "")
	u.ok("POST", "/keys/restore", `{"value":"`+blob+`"}`)
}

func TestVaultErrors(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateKey("k", 0)
	s.CreateECKey("ec", "P-256")
	u := newUser(t, s)
	const wrap = `{"alg":"RSA-OAEP","value":"YXJlcGE"}`
	long := strings.Repeat("a", 128)
	for _, c := range []struct {
		method, path, body string
		status             int
		code, inner, text  string
	}{
		{"GET", "/keys/none", "", 404, "KeyNotFound", "", "A key with (name/id) none was not found in this key vault. If you recently deleted this key you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"},
		{"GET", "/keys/k/0123456789abcdef0123456789abcdef", "", 404, "KeyNotFound", "", "A key with (name/id) k/0123456789abcdef0123456789abcdef was not found"},
		{"POST", "/keys/none//wrapkey", wrap, 404, "KeyNotFound", "", "none was not found"},
		{"PATCH", "/keys/none/", `{}`, 404, "KeyNotFound", "", ""},
		{"PATCH", "/keys/k/00", `{}`, 404, "KeyNotFound", "", ""},
		{"POST", "/keys/none/rotate", "", 404, "KeyNotFound", "", ""},
		{"POST", "/keys/none/backup", "", 404, "KeyNotFound", "", ""},
		{"GET", "/keys/none/rotationpolicy", "", 404, "KeyNotFound", "", ""},
		{"PUT", "/keys/none/rotationpolicy", `{}`, 404, "KeyNotFound", "", ""},
		{"DELETE", "/keys/none", "", 404, "KeyNotFound", "", ""},
		{"GET", "/deletedkeys/none", "", 404, "KeyNotFound", "", "Deleted Key not found: none"},
		{"DELETE", "/deletedkeys/none", "", 404, "KeyNotFound", "", "Deleted Key not found: none"},
		{"POST", "/deletedkeys/none/recover", "", 404, "KeyNotFound", "", "Deleted Key not found: none"},
		{"GET", "/keys/invalid%5B%5D%28%29", "", 400, "BadParameter", "", "The request URI contains an invalid name: invalid[]()"},
		{"POST", "/keys/key%21@%23$/create", `{"kty":"EC"}`, 400, "BadParameter", "", "The request URI contains an invalid name: key!@#$"},
		{"GET", "/keys/" + long, "", 400, "BadParameter", "", "The request URI contains an invalid name: " + long},
		{"POST", "/keys//create", `{"kty":"EC"}`, 400, "BadParameter", "", "invalid name"},
		{"POST", "/keys/n/create", `{"kty":"oct"}`, 400, "BadParameter", "", "Property  has invalid value\r\n"},
		{"POST", "/keys/n/create", `{"kty":"RSA","key_size":1024}`, 400, "BadParameter", "", ""},
		{"POST", "/keys/n/create", `{"kty":"EC","crv":"P-256K"}`, 400, "BadParameter", "", ""},
		{"POST", "/keys/n/create", `{"kty":"EC","key_ops":["fly"]}`, 400, "BadParameter", "", ""},
		{"POST", "/keys/n/create", `{"kty":`, 400, "BadParameter", "", ""},
		{"POST", "/keys/n/create", "", 400, "BadParameter", "", ""},
		{"PUT", "/keys/n", `{"key":{}}`, 400, "BadParameter", "", `The property "key" must be a valid JsonWebKey object.`},
		{"PUT", "/keys/n", `{}`, 400, "BadParameter", "", ""},
		{"POST", "/keys/k//wrapkey", `{"alg":"RSA-OAEP","value":"a+b="}`, 400, "BadParameter", "", "Content of 'value' is not base64url.\r\nProperty 'value' is required.\r\n"},
		{"POST", "/keys/k//wrapkey", `{"alg":"RSA-OAEP"}`, 400, "BadParameter", "", "Property 'value' is required"},
		{"POST", "/keys/k//wrapkey", `{"alg":"A256KW","value":"YXJlcGE"}`, 400, "BadParameter", "", "Property  has invalid value\r\n"},
		{"POST", "/keys/k//unwrapkey", `{"alg":"A256KW","value":"YXJlcGE"}`, 400, "BadParameter", "", "Property  has invalid value\r\n"},
		{"POST", "/keys/k//unwrapkey", wrap, 400, "BadParameter", "", "Error occurred while decoding OAEP padding."},
		{"POST", "/keys/k//unwrapkey", `{"alg":"RSA1_5","value":"YXJlcGE"}`, 400, "BadParameter", "", "The parameter is incorrect.\r\n"},
		{"POST", "/keys/k//wrapkey", `{"alg":"RSA-OAEP","value":"` + enc(make([]byte, 300)) + `"}`, 400, "BadParameter", "", ""},
		{"POST", "/keys/ec//wrapkey", wrap, 403, "Forbidden", "KeyOperationForbidden", "Operation wrapKey is not permitted on this key."},
		{"POST", "/keys/k//sign", `{"alg":"RS256","value":"YXJlcGE"}`, 400, "BadParameter", "", ""},
		{"GET", "/keys?maxresults=26", "", 400, "BadParameter", "", ""},
		{"GET", "/keys?maxresults=0", "", 400, "BadParameter", "", ""},
		{"GET", "/keys?$skiptoken=nonsense", "", 400, "BadParameter", "", ""},
		{"POST", "/keys/restore", `{"value":"ZG9lc25vdGV4aXN0"}`, 400, "Malformed backup blob", "", "Backup blob is corrupt."},
		{"POST", "/keys/k/fly", wrap, 405, "MethodNotAllowed", "", ""},
		{"POST", "/secrets", "{}", 405, "MethodNotAllowed", "", ""},
		{"POST", "/rng", `{"count":1}`, 404, "NotFound", "", ""},
	} {
		t.Run(fmt.Sprintf("%s %.40s", c.method, c.path), func(t *testing.T) {
			v := *u
			v.t = t
			assert.Contains(t, v.fails(c.method, c.path, c.body, c.status, c.code, c.inner), c.text)
		})
	}
}

func TestAPIVersionsAndBodies(t *testing.T) {
	s := newServer(t, fakevault.Options{MaxBody: 1000})
	s.CreateECKey("k", "P-256")
	u := newUser(t, s)
	for version, want := range map[string]int{
		"7.0": 200, "7.3-preview": 200, "7.4": 200, "7.6": 200, "7.6-preview.2": 200, "2025-07-01": 200, "2026-01-01-preview": 200, "2016-10-01": 200,
		"": 400, "7.9": 400, "8.0": 400, "latest": 400, "2030-01-01": 400,
	} {
		res, body := u.do(u.request("GET", s.VaultURL()+"/keys/k?api-version="+version, ""))
		assert.Equal(t, want, res.StatusCode, version)
		if version == "7.9" {
			assert.JSONEq(t, `{"error":{"code":"BadParameter","message":"The specified version (7.9) is not recognized. Consider using the latest supported version (2025-07-01)."}}`, string(body))
		}
	}
	req := u.request("POST", s.VaultURL()+"/keys/n/create?api-version=7.4", `{"kty":"EC"}`)
	req.Header.Set("Content-Type", "text/plain")
	res, _ := u.do(req)
	assert.Equal(t, 400, res.StatusCode)
	res, _ = u.do(u.request("POST", s.VaultURL()+"/keys/n/create?api-version=7.4", `{"kty":"EC","x":"`+strings.Repeat("x", 1000)+`"}`))
	assert.Equal(t, 413, res.StatusCode)
	req = u.request("POST", s.VaultURL()+"/keys/k?api-version=7.4", "")
	req.Header.Set("X-HTTP-METHOD", "GET")
	res, _ = u.do(req)
	assert.Equal(t, 200, res.StatusCode)
}

func TestAttributesAreEnforced(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateKey("k", 0)
	u := newUser(t, s)
	const value = `{"alg":"RSA-OAEP","value":"YXJlcGE"}`
	wrapped := u.ok("POST", "/keys/k//wrapkey", value)["value"].(string)
	unwrap := `{"alg":"RSA-OAEP","value":"` + wrapped + `"}`

	now := time.Now().Unix()
	set := func(attributes string) { u.ok("PATCH", "/keys/k/", `{"attributes":`+attributes+`}`) }
	set(fmt.Sprintf(`{"exp":%d}`, now-10))
	assert.Equal(t, "Operation wrapKey is not allowed on an expired key.", u.fails("POST", "/keys/k//wrapkey", value, 403, "Forbidden", "KeyExpired"))
	u.ok("POST", "/keys/k//unwrapkey", unwrap) // what was wrapped in time can always be unwrapped
	set(fmt.Sprintf(`{"exp":%d,"nbf":%d}`, now+2000, now+1000))
	u.fails("POST", "/keys/k//encrypt", value, 403, "Forbidden", "KeyNotYetValid")
	u.ok("POST", "/keys/k//decrypt", unwrap)
	set(fmt.Sprintf(`{"exp":%d,"nbf":%d}`, now+2000, now-1000))
	u.ok("POST", "/keys/k//wrapkey", value)

	u.ok("PATCH", "/keys/k/", `{"key_ops":["wrapKey"],"tags":{"a":"b"}}`)
	assert.Equal(t, "Operation unwrapKey is not permitted on this key.", u.fails("POST", "/keys/k//unwrapkey", unwrap, 403, "Forbidden", "KeyOperationForbidden"))
	bundle := u.ok("GET", "/keys/k", "")
	assert.Equal(t, map[string]any{"a": "b"}, bundle["tags"])
	assert.Equal(t, []any{"wrapKey"}, bundle["key"].(map[string]any)["key_ops"])

	s.DisableKey("k", "")
	assert.Equal(t, "Operation wrapKey is not allowed on a disabled key.", u.fails("POST", "/keys/k//wrapkey", value, 403, "Forbidden", "KeyDisabled"))
	assert.Equal(t, false, u.ok("GET", "/keys/k", "")["attributes"].(map[string]any)["enabled"])

	at := time.Now().Add(time.Hour)
	yes := true
	s.UpdateKey("k", version(bundle), fakevault.KeyUpdate{Enabled: &yes, NotBefore: &at, Expires: &at, Ops: []string{"sign"}})
	u.fails("POST", "/keys/k//sign", `{"alg":"RS256","value":"`+enc(make([]byte, 32))+`"}`, 403, "Forbidden", "KeyNotYetValid")
	assert.Panics(t, func() { s.DisableKey("none", "") })
	assert.Panics(t, func() { s.CreateKey("a_b", 0) })
	assert.Nil(t, s.PrivateKey("none", ""))
}

func TestDenials(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateKey("k", 0)
	u := newUser(t, s)
	s.Deny(fakevault.OpGet)
	text := u.fails("GET", "/keys/k", "", 403, "Forbidden", "ForbiddenByRbac")
	assert.True(t, strings.HasPrefix(text, "Caller is not authorized to perform action on resource.\r\nIf role assignments"), text)
	assert.Contains(t, text, "Caller: appid="+s.ClientID()+";oid=")
	assert.Contains(t, text, "Action: 'Microsoft.KeyVault/vaults/keys/read'")
	u.ok("GET", "/keys", "")
	s.Allow(fakevault.OpGet)
	u.ok("GET", "/keys/k", "")
	for why, inner := range map[fakevault.Refusal]string{
		fakevault.ForbiddenByRbac: "ForbiddenByRbac", fakevault.ForbiddenByPolicy: "ForbiddenByPolicy", fakevault.ForbiddenByFirewall: "ForbiddenByFirewall",
		fakevault.ForbiddenByConnection: "ForbiddenByConnection", fakevault.KeyOperationForbidden: "KeyOperationForbidden", fakevault.AccessDenied: "AccessDenied",
	} {
		s.DenyAs(why)
		assert.NotEmpty(t, u.fails("GET", "/keys", "", 403, "Forbidden", inner))
	}
	s.Allow()
	u.ok("GET", "/keys", "")
}

func TestSignAndVerify(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateKey("rsa", 0)
	u := newUser(t, s)
	for name, algs := range map[string][]string{"rsa": {"RS256", "PS256", "RS512", "PS384"}, "P-256": {"ES256"}, "P-384": {"ES384"}, "P-521": {"ES512"}} {
		if name != "rsa" {
			s.CreateECKey(name, name)
		}
		for _, alg := range algs {
			digest := enc(make([]byte, map[string]int{"256": 32, "384": 48, "512": 64}[alg[2:]]))
			sig := u.ok("POST", "/keys/"+name+"//sign", `{"alg":"`+alg+`","value":"`+digest+`"}`)["value"].(string)
			got := u.ok("POST", "/keys/"+name+"//verify", `{"alg":"`+alg+`","digest":"`+digest+`","value":"`+sig+`"}`)
			assert.Equal(t, map[string]any{"value": true}, got, alg)
			wrong := enc(append(dec(t, sig)[1:], 1))
			got = u.ok("POST", "/keys/"+name+"//verify", `{"alg":"`+alg+`","digest":"`+digest+`","value":"`+wrong+`"}`)
			assert.Equal(t, false, got["value"], alg)
		}
	}
	u.fails("POST", "/keys/P-256//sign", `{"alg":"ES384","value":"`+enc(make([]byte, 48))+`"}`, 400, "BadParameter", "")
}

func TestImport(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := newUser(t, s)
	k := sharedKeys()[0]
	request, err := json.Marshal(map[string]any{"key": map[string]any{
		"kty": "RSA", "n": enc(k.N.Bytes()), "e": "AQAB", "d": enc(k.D.Bytes()), "p": enc(k.Primes[0].Bytes()), "q": enc(k.Primes[1].Bytes()),
	}, "tags": map[string]string{"from": "test"}})
	require.NoError(t, err)
	got := u.ok("PUT", "/keys/mine", string(request))
	assert.Equal(t, enc(k.N.Bytes()), got["key"].(map[string]any)["n"])
	assert.True(t, k.Equal(s.PrivateKey("mine", "")))
	u.fails("PUT", "/keys/mine", strings.Replace(string(request), `"d":"`, `"d":"AA`, 1), 400, "BadParameter", "")
	u.fails("PUT", "/keys/mine", `{"key":{"kty":"EC","crv":"P-256","d":"AA"}}`, 400, "BadParameter", "")
	got = u.ok("PUT", "/keys/ec", `{"key":{"kty":"EC","crv":"P-256","d":"`+enc([]byte{7})+`"},"Hsm":true}`)
	assert.Equal(t, "EC-HSM", got["key"].(map[string]any)["kty"])
}

// Without a pool the server makes its keys.
func TestKeysOfAllSizes(t *testing.T) {
	s := fakevault.New(fakevault.Options{KeyBits: 1024})
	s.CreateKey("small", 0)
	u := newUser(t, s)
	u.ok("POST", "/keys/small/rotate", "")
	assert.Equal(t, 1024, s.PrivateKey("small", "").N.BitLen())
	u.ok("POST", "/keys/big/create", `{"kty":"RSA","key_size":3072}`)
	assert.Equal(t, 3072, s.PrivateKey("big", "").N.BitLen())
}

func TestRotationPolicies(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateECKey("k", "P-256")
	u := newUser(t, s)
	for period, days := range map[string]float64{"P90D": 90, "P2Y": 730, "P18M": 547} {
		u.ok("PUT", "/keys/k/rotationpolicy", `{"attributes":{"expiryTime":"`+period+`"},"lifetimeActions":[{"action":{"type":"NOTIFY"},"trigger":{"timeBeforeExpiry":"P30D"}}]}`)
		exp, err := u.ok("POST", "/keys/k/rotate", "")["attributes"].(map[string]any)["exp"].(json.Number).Int64()
		require.NoError(t, err)
		assert.InDelta(t, days, time.Until(time.Unix(exp, 0)).Hours()/24, 4, period)
	}
	u.ok("PUT", "/keys/k/rotationpolicy", `{}`)
	assert.NotContains(t, u.ok("POST", "/keys/k/rotate", "")["attributes"], "exp")
	u.fails("PUT", "/keys/k/rotationpolicy", `{"attributes":{"expiryTime":"soon"}}`, 400, "BadParameter", "")
	u.fails("PUT", "/keys/k/rotationpolicy", `{"lifetimeActions":[{"action":{"type":"fly"}}]}`, 400, "BadParameter", "")
}

func TestRotationAndVersions(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := newUser(t, s)
	first := u.ok("POST", "/keys/k/create", `{"kty":"RSA","tags":{"a":"b"}}`)
	second := u.ok("POST", "/keys/K/rotate", "")
	assert.NotEqual(t, kid(first), kid(second))
	assert.Equal(t, first["tags"], second["tags"])
	assert.True(t, strings.HasPrefix(kid(second), s.VaultURL()+"/keys/k/"), "the name stays as it was first written")
	assert.Equal(t, kid(second), kid(u.ok("GET", "/keys/k", "")))
	assert.Equal(t, kid(first), kid(u.ok("GET", "/keys/k/"+strings.ToUpper(version(first)), "")))
	assert.Len(t, u.ok("GET", "/keys/k/versions", "")["value"], 2)
	assert.Len(t, version(first), 32)

	again := newServer(t, fakevault.Options{})
	assert.Equal(t, kid(first), again.CreateKey("k", 0), "ids repeat from run to run")
	der := x509.MarshalPKCS1PrivateKey(again.PrivateKey("k", ""))
	assert.Equal(t, der, x509.MarshalPKCS1PrivateKey(sharedKeys()[0]))
}
