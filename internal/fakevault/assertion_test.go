package fakevault_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

func certificate(t *testing.T, key crypto.Signer, notAfter time.Time) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotBefore: notAfter.Add(-24 * time.Hour), NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// assertion is a good one; the changes are applied to header and claims, a nil value removes.
type assertion struct {
	method jwt.SigningMethod
	key    any
	header map[string]any
	claims map[string]any
}

func (a assertion) sign(t *testing.T, s *fakevault.Server, cert *x509.Certificate, jti string) string {
	t.Helper()
	sum := sha256.Sum256(cert.Raw)
	claims := jwt.MapClaims{
		"aud": s.AuthorityURL() + "/oauth2/v2.0/token", "iss": s.ClientID(), "sub": s.ClientID(), "jti": jti,
		"nbf": time.Now().Unix(), "exp": time.Now().Add(10 * time.Minute).Unix(),
	}
	method := a.method
	if method == nil {
		method = jwt.SigningMethodPS256
	}
	token := jwt.NewWithClaims(method, claims)
	token.Header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(sum[:])
	for target, changes := range map[*map[string]any]map[string]any{&token.Header: a.header, (*map[string]any)(&claims): a.claims} {
		for name, v := range changes {
			if (*target)[name] = v; v == nil {
				delete(*target, name)
			}
		}
	}
	key := a.key
	if key == nil {
		key = sharedKeys()[0]
	}
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

func TestClientAssertion(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := newUser(t, s)
	cert := certificate(t, sharedKeys()[0], time.Now().Add(time.Hour))
	expired := certificate(t, sharedKeys()[1], time.Now().Add(-time.Hour))
	s.AddCertificate(s.ClientID(), cert)
	s.AddCertificate(s.ClientID(), expired)
	one, two := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	expiredSum := sha256.Sum256(expired.Raw)
	stranger := [20]byte{0x8C, 0xA6}
	now := time.Now().Unix()
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)

	for name, c := range map[string]struct {
		a      assertion
		status int
		number string
		text   string
	}{
		"PS256, x5t#S256":        {assertion{}, 200, "", ""},
		"standard alphabet":      {assertion{header: map[string]any{"x5t#S256": base64.StdEncoding.EncodeToString(two[:])}}, 200, "", ""},
		"RS256, x5t":             {assertion{method: jwt.SigningMethodRS256, header: map[string]any{"x5t#S256": nil, "x5t": base64.RawURLEncoding.EncodeToString(one[:])}}, 200, "", ""},
		"x5t, standard alphabet": {assertion{header: map[string]any{"x5t#S256": nil, "x5t": base64.StdEncoding.EncodeToString(one[:])}}, 200, "", ""},
		"both thumbprints":       {assertion{header: map[string]any{"x5t": base64.RawURLEncoding.EncodeToString(one[:])}}, 200, "", ""},
		"v1 audience":            {assertion{claims: map[string]any{"aud": "https://login.windows.net/" + s.Tenant() + "/oauth2/token"}}, 200, "", ""},
		"issuer as audience":     {assertion{claims: map[string]any{"aud": []string{"https://sts.windows.net/" + s.Tenant() + "/"}}}, 200, "", ""},
		"clock a bit off":        {assertion{claims: map[string]any{"nbf": now + 200}}, 200, "", ""},

		"unknown key":         {assertion{header: map[string]any{"x5t#S256": nil, "x5t": base64.RawURLEncoding.EncodeToString(stranger[:])}}, 401, "700027", "[Reason - The key was not found., Thumbprint of key used by client: '8CA6000000000000000000000000000000000000', "},
		"thumbprints differ":  {assertion{header: map[string]any{"x5t": base64.RawURLEncoding.EncodeToString(stranger[:])}}, 401, "700027", "The key was not found."},
		"thumbprint no text":  {assertion{header: map[string]any{"x5t#S256": "***"}}, 401, "700027", "The key was not found."},
		"bad signature":       {assertion{key: sharedKeys()[2]}, 401, "700027", "did not match the expected signature value"},
		"other algorithm":     {assertion{method: jwt.SigningMethodRS384}, 401, "700027", "did not match the expected signature value"},
		"none":                {assertion{method: jwt.SigningMethodNone, key: jwt.UnsafeAllowNoneSignatureType}, 401, "700027", ""},
		"ES256":               {assertion{method: jwt.SigningMethodES256, key: ecKey}, 401, "700027", ""},
		"expired certificate": {assertion{key: sharedKeys()[1], header: map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(expiredSum[:])}}, 401, "700027", "The key used is expired."},
		"no thumbprint":       {assertion{header: map[string]any{"x5t#S256": nil}}, 400, "50027", "No certificate thumbprint specified in token header."},
		"other issuer":        {assertion{claims: map[string]any{"iss": "somebody"}}, 401, "700021", "doesn't match 'client_id'"},
		"other subject":       {assertion{claims: map[string]any{"sub": "somebody"}}, 401, "700021", ""},
		"other audience":      {assertion{claims: map[string]any{"aud": "https://login.microsoftonline.com/other/oauth2/v2.0/token"}}, 401, "700023", "does not match Realm issuer"},
		"expired":             {assertion{claims: map[string]any{"nbf": now - 4000, "exp": now - 400}}, 401, "700024", "Current time: "},
		"not yet valid":       {assertion{claims: map[string]any{"nbf": now + 400}}, 401, "700024", "expiry time of assertion "},
		"no exp":              {assertion{claims: map[string]any{"exp": nil}}, 400, "50027", ""},
		"no nbf":              {assertion{claims: map[string]any{"nbf": nil}}, 400, "50027", ""},
		"no jti":              {assertion{claims: map[string]any{"jti": nil}}, 400, "50027", ""},
		"no aud":              {assertion{claims: map[string]any{"aud": nil}}, 400, "50027", ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := *u
			v.t = t
			status, _, body := v.askToken(map[string]string{
				"client_secret": "", "client_assertion": c.a.sign(t, s, cert, name), "client_assertion_type": assertionType,
			})
			require.Equal(t, c.status, status, "%v", body)
			if status == 200 {
				v.token = body["access_token"].(string)
				v.ok("GET", "/keys", "")
				claims := jwt.MapClaims{}
				_, _, err := jwt.NewParser().ParseUnverified(v.token, claims)
				require.NoError(t, err)
				assert.Equal(t, "2", claims["appidacr"])
				return
			}
			assert.Equal(t, []any{json.Number(c.number)}, body["error_codes"])
			assert.Contains(t, body["error_description"], c.text)
		})
	}

	again := map[string]string{"client_secret": "", "client_assertion": assertion{}.sign(t, s, cert, "again"), "client_assertion_type": assertionType}
	status, _, _ := u.askToken(again)
	assert.Equal(t, 200, status)
	status, _, body := u.askToken(again)
	assert.Equal(t, 400, status)
	assert.Contains(t, body["error_description"], "AADSTS50027")

	for kind, number := range map[string]string{"": "900144", "other": "50027"} {
		_, _, body = u.askToken(map[string]string{"client_secret": "", "client_assertion": "x", "client_assertion_type": kind})
		assert.Equal(t, []any{json.Number(number)}, body["error_codes"])
	}
	for _, bad := range []string{"x", "a.b", "a.b.c", "e30.e30.", "e30.bm8.", "***.e30."} {
		_, _, body = u.askToken(map[string]string{"client_secret": "", "client_assertion": bad, "client_assertion_type": assertionType})
		assert.Equal(t, []any{json.Number("50027")}, body["error_codes"], bad)
	}
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func TestKeyThumbprints(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := newUser(t, s)
	cert := certificate(t, sharedKeys()[0], time.Now().Add(time.Hour))
	one, two := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	for i, thumbprint := range []string{
		hex.EncodeToString(two[:]), base64.RawURLEncoding.EncodeToString(two[:]), base64.StdEncoding.EncodeToString(one[:]), hex.EncodeToString(one[:]),
	} {
		app := "app-" + string(rune('a'+i))
		s.AddKeyThumbprint(app, &sharedKeys()[0].PublicKey, thumbprint)
		header := map[string]any{}
		if i >= 2 {
			header = map[string]any{"x5t#S256": nil, "x5t": base64.RawURLEncoding.EncodeToString(one[:])}
		}
		signed := assertion{header: header, claims: map[string]any{"iss": app, "sub": app}}.sign(t, s, cert, thumbprint)
		status, _, body := u.askToken(map[string]string{"client_id": app, "client_secret": "", "client_assertion": signed, "client_assertion_type": assertionType})
		assert.Equal(t, 200, status, "%v", body)
	}
	assert.Panics(t, func() { s.AddKeyThumbprint("x", &rsa.PublicKey{}, "abcd") })
}

func TestFederatedTokens(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := newUser(t, s)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	s.AddFederated(s.ClientID(), "https://issuer.example/", "system:serviceaccount:db:sql", "", &sharedKeys()[0].PublicKey)
	s.AddFederated(s.ClientID(), "https://ec.example/", "sub", "aud", ecKey.Public())
	now := time.Now().Unix()
	good := jwt.MapClaims{"iss": "https://issuer.example/", "sub": "system:serviceaccount:db:sql", "aud": []string{"api://AzureADTokenExchange"}, "exp": now + 600}
	ask := func(method jwt.SigningMethod, key any, changes jwt.MapClaims) (int, map[string]any) {
		claims := jwt.MapClaims{}
		for _, m := range []jwt.MapClaims{good, changes} {
			for k, v := range m {
				claims[k] = v
			}
		}
		text, err := jwt.NewWithClaims(method, claims).SignedString(key)
		require.NoError(t, err)
		status, _, body := u.askToken(map[string]string{"client_secret": "", "client_assertion": text, "client_assertion_type": assertionType})
		return status, body
	}
	for range 2 { // a file is read many times before it changes
		status, body := ask(jwt.SigningMethodRS256, sharedKeys()[0], nil)
		assert.Equal(t, 200, status, "%v", body)
	}
	status, body := ask(jwt.SigningMethodES256, ecKey, jwt.MapClaims{"iss": "https://ec.example/", "sub": "sub", "aud": "aud"})
	assert.Equal(t, 200, status, "%v", body)
	for name, c := range map[string]struct {
		key     *rsa.PrivateKey
		changes jwt.MapClaims
		status  int
		number  string
	}{
		"issuer":    {sharedKeys()[0], jwt.MapClaims{"iss": "https://issuer.example"}, 400, "70021"},
		"subject":   {sharedKeys()[0], jwt.MapClaims{"sub": "system:serviceaccount:db:other"}, 400, "70021"},
		"audience":  {sharedKeys()[0], jwt.MapClaims{"aud": "api://other"}, 400, "70021"},
		"signature": {sharedKeys()[1], nil, 401, "50013"},
		"expired":   {sharedKeys()[0], jwt.MapClaims{"exp": now - 301}, 401, "700024"},
	} {
		status, body := ask(jwt.SigningMethodRS256, c.key, c.changes)
		assert.Equal(t, c.status, status, name)
		assert.Equal(t, []any{json.Number(c.number)}, body["error_codes"], name)
	}
}
