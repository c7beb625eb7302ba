package akv_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/retry"
)

// A script is a round tripper: it challenges a request without token, gives out
// made tokens, and answers requests with token from a list.
type script struct {
	t            *testing.T
	vault        *url.URL
	unauthorized *recorded
	answers      []*recorded

	mu     sync.Mutex
	probes int
	asked  []string // token endpoints
	scopes []string
	sent   []sent // what came with a token
}

type sent struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
}

// newScript is for r's vault; where its test has no recorded 401 it makes one.
func newScript(t *testing.T, r, unauthorized *recorded, answers ...*recorded) *script {
	if unauthorized == nil {
		_, domain, _ := strings.Cut(r.url().Hostname(), ".")
		unauthorized = &recorded{Status: http.StatusUnauthorized, Header: map[string]any{
			"WWW-Authenticate": fmt.Sprintf(`Bearer authorization="https://login.windows.net/%s", resource="https://%s"`,
				"00000000-0000-0000-0000-000000000000", domain),
		}}
	}
	return &script{t: t, vault: r.url(), unauthorized: unauthorized, answers: answers}
}

// client is a new client with an identity of its own, so that nothing is known yet.
func (s *script) client() *akv.Client {
	cred, err := aad.NewClientSecret("11111111-2222-3333-4444-555555555555", "made-secret")
	require.NoError(s.t, err)
	client, err := akv.NewClient(s.vault.Host, cred, &akv.Options{
		Transport: s, Retry: retry.Policy{Attempts: 1}, APIVersion: s.vault.Query().Get("api-version"),
	})
	require.NoError(s.t, err)
	s.t.Cleanup(client.Close)
	return client
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	assert.Equal(s.t, "https", req.URL.Scheme)
	if strings.HasPrefix(req.URL.Host, "login.") {
		return s.token(req, body)
	}
	assert.Equal(s.t, s.vault.Hostname(), req.URL.Hostname())
	if _, ok := req.Header["Authorization"]; !ok {
		return s.probed(req, body)
	}
	assert.Equal(s.t, fmt.Sprintf("Bearer made-token-%d", len(s.asked)), req.Header.Get("Authorization"))
	if len(s.sent) == len(s.answers) {
		return nil, fmt.Errorf("an exchange too many: %s", req.URL)
	}
	r := s.answers[len(s.sent)]
	s.sent = append(s.sent, sent{req.Method, req.URL, req.Header.Clone(), body})
	return s.answer(req, r), nil
}

func (s *script) probed(req *http.Request, body []byte) (*http.Response, error) {
	assert.Empty(s.t, body, "the probe has a body")
	assert.LessOrEqual(s.t, req.ContentLength, int64(0))
	assert.Empty(s.t, s.sent, "a probe after a token")
	s.probes++
	assert.Equal(s.t, 1, s.probes)
	return s.answer(req, s.unauthorized), nil
}

func (s *script) token(req *http.Request, body []byte) (*http.Response, error) {
	form, err := url.ParseQuery(string(body))
	assert.NoError(s.t, err)
	assert.Equal(s.t, http.MethodPost, req.Method)
	assert.Empty(s.t, req.Header.Get("Authorization"))
	assert.Equal(s.t, "made-secret", form.Get("client_secret"))
	s.asked = append(s.asked, req.URL.String())
	s.scopes = append(s.scopes, form.Get("scope"))
	return s.answer(req, &recorded{Status: http.StatusOK, Header: map[string]any{"Content-Type": "application/json"}, Body: map[string]any{
		"token_type": "Bearer", "expires_in": 3599, "access_token": fmt.Sprintf("made-token-%d", len(s.asked)),
	}}), nil
}

func (s *script) answer(req *http.Request, r *recorded) *http.Response {
	body := r.bytes(s.t)
	return &http.Response{
		StatusCode: r.Status, Status: fmt.Sprint(r.Status, " ", http.StatusText(r.Status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: r.header(), Request: req,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// checkSent compares the i-th request with token with the recorded one.
func (s *script) checkSent(i int, r *recorded) {
	t, got, want := s.t, s.sent[i], r.url()
	assert.Equal(t, r.Method, got.method)
	assert.Equal(t, want.EscapedPath(), got.url.EscapedPath())
	assert.Equal(t, 1, s.probes)
	if i > 0 { // a link, which is followed as it is
		assert.Equal(t, want.RawQuery, got.url.RawQuery)
	} else { // page sizes are not ours to choose
		assert.NotEmpty(t, want.Query().Get("api-version"))
		assert.Equal(t, "api-version="+want.Query().Get("api-version"), got.url.RawQuery)
	}
	if r.Request == nil {
		assert.Empty(t, got.body)
		return
	}
	body, err := json.Marshal(r.Request)
	require.NoError(t, err)
	assert.JSONEq(t, string(body), string(got.body))
	assert.Equal(t, "application/json", got.header.Get("Content-Type"))
}
