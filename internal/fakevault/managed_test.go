package fakevault_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

// identities are a system-assigned and a user-assigned one.
var identities = []fakevault.Identity{
	{ClientID: "system-client", ObjectID: "system-object"},
	{ClientID: "user-client", ObjectID: "user-object", ResourceID: "/subscriptions/x/id"},
}

func (u *user) ask(address string, header map[string]string) (*http.Response, map[string]any) {
	u.t.Helper()
	req, err := http.NewRequestWithContext(u.t.Context(), "GET", address, nil)
	require.NoError(u.t, err)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, body := u.do(req)
	return res, asObject(body)
}

func TestIMDS(t *testing.T) {
	s := newServer(t, fakevault.Options{Identities: identities})
	u := newUser(t, s)
	metadata := map[string]string{"Metadata": "true"}
	base := s.IMDSURL() + "?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net"
	res, body := u.ask(base, metadata)
	require.Equal(t, 200, res.StatusCode)
	for _, name := range []string{"access_token", "client_id", "expires_in", "expires_on", "ext_expires_in", "not_before", "resource", "token_type"} {
		assert.IsType(t, "", body[name], name)
	}
	assert.Len(t, body, 8, "as recorded")
	assert.Equal(t, "system-client", body["client_id"])
	u.token = body["access_token"].(string)
	u.ok("GET", "/keys", "")

	for _, selector := range []string{"client_id=USER-client", "object_id=user-object", "msi_res_id=/subscriptions/x/id", "mi_res_id=%2Fsubscriptions%2Fx%2Fid"} {
		_, body = u.ask(base+"&"+selector, metadata)
		assert.Equal(t, "user-client", body["client_id"], selector)
	}
	for name, c := range map[string]struct {
		address string
		header  map[string]string
		status  int
		code    string
		text    string
	}{
		"no header":        {base, nil, 400, "bad_request_102", "Required metadata header not specified"},
		"unknown identity": {base + "&client_id=nobody", metadata, 400, "invalid_request", "Identity not found"},
		"no resource":      {s.IMDSURL() + "?api-version=2018-02-01", metadata, 400, "invalid_request", "resource"},
		"unknown resource": {strings.Replace(base, "vault.azure.net", "vault.example", 1), metadata, 400, "invalid_resource", "AADSTS500011"},
		"no api-version":   {s.IMDSURL() + "?resource=https://vault.azure.net", metadata, 400, "invalid_request", "api-version"},
	} {
		res, body := u.ask(c.address, c.header)
		assert.Equal(t, c.status, res.StatusCode, name)
		assert.Equal(t, c.code, body["error"], name)
		assert.Contains(t, body["error_description"], c.text, name)
	}
	res, _ = u.ask("http://169.254.169.254/metadata/instance", metadata)
	assert.Equal(t, 404, res.StatusCode)
	res, _ = u.do(u.request("POST", base, ""))
	assert.Equal(t, 405, res.StatusCode)

	s.Script(fakevault.Fault{Operation: fakevault.OpIMDS, Status: 410, Times: 2}, fakevault.Fault{Operation: fakevault.OpIMDS, Status: 404})
	for _, want := range []int{410, 410, 404, 200} {
		res, _ = u.ask(base, metadata)
		assert.Equal(t, want, res.StatusCode)
	}
	none := newServer(t, fakevault.Options{NoIdentity: true})
	res, body = newUser(t, none).ask(base, metadata)
	assert.Equal(t, 400, res.StatusCode)
	assert.Equal(t, "Identity not found", body["error_description"])
}

func TestAppService(t *testing.T) {
	s := newServer(t, fakevault.Options{Identities: identities})
	u := newUser(t, s)
	secret := map[string]string{"X-IDENTITY-HEADER": s.IdentityHeader()}
	base := s.AppServiceURL() + "?api-version=2019-08-01&resource=https://vault.azure.net"
	res, body := u.ask(base, secret)
	require.Equal(t, 200, res.StatusCode)
	assert.NotContains(t, body, "expires_in")
	assert.Regexp(t, `^\d{10}$`, body["expires_on"])
	u.token = body["access_token"].(string)
	u.ok("GET", "/keys", "")
	for _, selector := range []string{"client_id=user-client", "principal_id=user-object", "object_id=user-object", "mi_res_id=/subscriptions/x/id"} {
		_, body = u.ask(base+"&"+selector, secret)
		assert.Equal(t, "user-client", body["client_id"], selector)
	}
	for address, want := range map[string]int{
		base + "&client_id=nobody": 400, s.AppServiceURL() + "?resource=https://vault.azure.net": 400,
		s.AppServiceURL() + "?api-version=2019-08-01":                                400,
		s.AppServiceURL() + "?api-version=2019-08-01&resource=https://vault.example": 400,
	} {
		res, body = u.ask(address, secret)
		assert.Equal(t, want, res.StatusCode, address)
		assert.NotEmpty(t, body["message"])
	}
	res, _ = u.ask(base, map[string]string{"X-IDENTITY-HEADER": "wrong"})
	assert.Equal(t, 401, res.StatusCode)
	res, _ = u.do(u.request("POST", base, ""))
	assert.Equal(t, 405, res.StatusCode)

	old := s.AppServiceURL() + "?api-version=2017-09-01&clientid=user-client&resource=https://vault.azure.net"
	res, body = u.ask(old, map[string]string{"secret": s.IdentityHeader()})
	require.Equal(t, 200, res.StatusCode)
	assert.Equal(t, "user-client", body["client_id"])
	_, err := time.Parse("01/02/2006 15:04:05", body["expires_on"].(string))
	assert.NoError(t, err)
}

func TestArc(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, fakevault.Options{ArcKeyDir: dir})
	u := newUser(t, s)
	address := s.ArcURL() + "?api-version=2020-06-01&resource=https://vault.azure.net"
	challenge := func() string {
		res, _ := u.ask(address, map[string]string{"Metadata": "true"})
		require.Equal(t, 401, res.StatusCode)
		path, ok := strings.CutPrefix(res.Header.Get("WWW-Authenticate"), "Basic realm=")
		require.True(t, ok)
		assert.Equal(t, dir, filepath.Dir(path))
		assert.Equal(t, ".key", filepath.Ext(path))
		return path
	}
	content, err := os.ReadFile(challenge())
	require.NoError(t, err)
	header := map[string]string{"Metadata": "true", "Authorization": "Basic " + string(content)}
	res, body := u.ask(address, header)
	require.Equal(t, 200, res.StatusCode)
	u.token = body["access_token"].(string)
	u.ok("GET", "/keys", "")
	res, _ = u.ask(address, header)
	assert.Equal(t, 401, res.StatusCode, "a content is good once")
	res, _ = u.ask(address, map[string]string{"Metadata": "true", "Authorization": "Basic guess"})
	assert.Equal(t, 401, res.StatusCode)
	res, _ = u.ask(address, nil)
	assert.Equal(t, 400, res.StatusCode)
	require.NoError(t, os.RemoveAll(dir))
	res, _ = u.ask(address, map[string]string{"Metadata": "true"})
	assert.Equal(t, 500, res.StatusCode)

	without := newServer(t, fakevault.Options{})
	res, _ = newUser(t, without).ask(address, map[string]string{"Metadata": "true"})
	assert.Equal(t, 404, res.StatusCode)
}
