package recipes_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
)

// A vault plays what a program that wraps keys asks of Key Vault and of Entra ID. It
// has the RSA key "tde" and the key "signing" on an elliptic curve. It is a round
// tripper, and a handler for a test server.
type vault struct {
	login string            // the authority's address
	keys  []*rsa.PrivateKey // the versions of "tde", the newest last
}

func newVault() *vault {
	v := &vault{login: "https://login.microsoftonline.com"}
	v.rotate()
	return v
}

// rotate makes a new version of the key "tde".
func (v *vault) rotate() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	v.keys = append(v.keys, key)
}

func (v *vault) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	v.ServeHTTP(w, r)
	return w.Result(), nil
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.Trim(r.URL.Path, "/")+"///", "/") // keys, name, version, action
	switch {
	case strings.HasSuffix(r.URL.Path, "/token"): // Entra ID
		answer(w, 200, `{"token_type":"Bearer","expires_in":3599,"access_token":"a-token"}`)
	case r.Header.Get("Authorization") != "Bearer a-token":
		resource := "https://vault.azure.net"
		if strings.HasSuffix(r.Host, ".managedhsm.azure.net") {
			resource = "https://managedhsm.azure.net"
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization="%s/contoso.onmicrosoft.com", resource="%s"`, v.login, resource))
		answer(w, 401, "")
	case path[1] == "signing" && r.Method == http.MethodGet:
		answer(w, 200, `{"key":{"kid":"https://%s/keys/signing/1","kty":"EC","crv":"P-256","key_ops":["sign","verify"],`+
			`"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}`, r.Host)
	case path[1] == "signing":
		answer(w, 403, `{"error":{"code":"Forbidden","message":"Operation %s is not permitted on this key.",`+
			`"innererror":{"code":"KeyOperationForbidden"}}}`, path[3])
	case path[1] == "tde":
		v.tde(w, r, path[2], path[3])
	default:
		answer(w, 404, `{"error":{"code":"KeyNotFound","message":"A key with (name/id) %s was not found in this key vault."}}`, path[1])
	}
}

// tde does an action with a version of the key "tde".
func (v *vault) tde(w http.ResponseWriter, r *http.Request, version, action string) {
	n, err := strconv.Atoi(version)
	if version == "" {
		n, err = len(v.keys), nil
	}
	if err != nil || n < 1 || n > len(v.keys) {
		answer(w, 404, `{"error":{"code":"KeyNotFound","message":"No such version."}}`)
		return
	}
	key, id := v.keys[n-1], fmt.Sprintf("https://%s/keys/tde/%d", r.Host, n)
	b64 := base64.RawURLEncoding
	var body struct{ Alg, Value string }
	_ = json.NewDecoder(r.Body).Decode(&body) // a GET has none
	value, _ := b64.DecodeString(body.Value)
	switch action {
	case "wrapkey":
		value, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, value, nil)
	case "unwrapkey":
		value, err = rsa.DecryptOAEP(sha256.New(), nil, key, value, nil)
	default:
		answer(w, 200, `{"key":{"kid":"%s","kty":"RSA","n":"%s","e":"%s","key_ops":["wrapKey","unwrapKey"]},"attributes":{"enabled":true}}`,
			id, b64.EncodeToString(key.N.Bytes()), b64.EncodeToString(big.NewInt(int64(key.E)).Bytes()))
		return
	}
	if err != nil || body.Alg != "RSA-OAEP-256" {
		answer(w, 400, `{"error":{"code":"BadParameter","message":"The parameter is incorrect."}}`)
		return
	}
	answer(w, 200, `{"kid":"%s","value":"%s"}`, id, b64.EncodeToString(value))
}

func answer(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, fmt.Sprintf(format, args...))
}
