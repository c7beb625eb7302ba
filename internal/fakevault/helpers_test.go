package fakevault_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

// user is a client by hand: net/http, and nothing of the library.
type user struct {
	t     testing.TB
	s     *fakevault.Server
	http  *http.Client
	token string
}

// newUser has a good token and uses the in-process transport.
func newUser(t testing.TB, s *fakevault.Server) *user {
	t.Helper()
	u := &user{t: t, s: s, http: &http.Client{Transport: s.Transport()}}
	status, _, body := u.askToken(nil)
	require.Equal(t, http.StatusOK, status, "%v", body)
	u.token = body["access_token"].(string)
	return u
}

// askToken posts to the v2 endpoint; fields override or, if empty, remove those of a good request.
func (u *user) askToken(fields map[string]string) (int, http.Header, map[string]any) {
	u.t.Helper()
	form := url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {u.s.ClientID()},
		"client_secret": {u.s.ClientSecret()},
		"scope":         {u.s.Resource() + "/.default"},
	}
	for name, value := range fields {
		if form.Set(name, value); value == "" {
			form.Del(name)
		}
	}
	return u.postForm(u.s.AuthorityURL()+"/oauth2/v2.0/token", form)
}

func (u *user) postForm(address string, form url.Values) (int, http.Header, map[string]any) {
	u.t.Helper()
	req, err := http.NewRequestWithContext(u.t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	require.NoError(u.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, raw := u.do(req)
	return res.StatusCode, res.Header, asObject(raw)
}

// call does one vault operation. path is below the vault, without api-version; body is JSON text or nothing.
func (u *user) call(method, path, body string) (*http.Response, map[string]any) {
	u.t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	res, raw := u.do(u.request(method, u.s.VaultURL()+path+sep+"api-version=7.4", body))
	return res, asObject(raw)
}

// ok is call for an operation that must succeed.
func (u *user) ok(method, path, body string) map[string]any {
	u.t.Helper()
	res, v := u.call(method, path, body)
	require.Less(u.t, res.StatusCode, 300, "%s %s: %v", method, path, v)
	return v
}

// fails is call for an operation that must not; it checks status, code and inner code, and returns the message.
func (u *user) fails(method, path, body string, status int, code, inner string) string {
	u.t.Helper()
	res, v := u.call(method, path, body)
	require.Equal(u.t, status, res.StatusCode, "%s %s: %v", method, path, v)
	e, _ := v["error"].(map[string]any)
	require.Equal(u.t, code, e["code"], "%v", v)
	if inner == "" {
		require.NotContains(u.t, e, "innererror")
	} else {
		require.Equal(u.t, map[string]any{"code": inner}, e["innererror"], "%v", v)
	}
	return e["message"].(string)
}

func (u *user) request(method, address, body string) *http.Request {
	u.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, address, r)
	require.NoError(u.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if u.token != "" {
		req.Header.Set("Authorization", "Bearer "+u.token)
	}
	return req
}

func (u *user) do(req *http.Request) (*http.Response, []byte) {
	u.t.Helper()
	res, err := u.http.Do(req)
	require.NoError(u.t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(u.t, err)
	return res, raw
}

func asObject(raw []byte) map[string]any {
	var v map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	_ = dec.Decode(&v)
	return v
}

// kid digs out key.kid.
func kid(bundle map[string]any) string { return bundle["key"].(map[string]any)["kid"].(string) }

func version(bundle map[string]any) string {
	id := kid(bundle)
	return id[strings.LastIndex(id, "/")+1:]
}

func enc(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func dec(t testing.TB, v any) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(v.(string))
	require.NoError(t, err)
	return b
}

// sharedKeys are made once for all tests, because making RSA keys is slow.
var sharedKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	keys := make([]*rsa.PrivateKey, 4)
	for i := range keys {
		keys[i], _ = rsa.GenerateKey(rand.Reader, 2048)
	}
	return keys
})

// newServer has ready-made keys for the first creations, and is closed with the test.
func newServer(t testing.TB, opts fakevault.Options) *fakevault.Server {
	opts.Keys = sharedKeys()
	s := fakevault.New(opts)
	t.Cleanup(s.Close)
	return s
}
