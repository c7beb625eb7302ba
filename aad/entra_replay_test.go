package aad_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/challenge"
)

// An entraExchange is one line of a recording.
type entraExchange struct {
	Test   string          `json:"test"`
	Method string          `json:"method"`
	URI    string          `json:"uri"`
	Status int             `json:"status"`
	Header map[string]any  `json:"response_headers"`
	Body   json.RawMessage `json:"response_body"`
}

// goldenEntra are two exchanges in Entra ID's form, for where no recording is:
// a token, and a refusal with its ids on lines of their own.
const goldenEntra = `{"test":"golden token","method":"POST","uri":"https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token","status":200,"response_headers":{"Content-Type":"application/json; charset=utf-8"},"response_body":{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"redacted"}}
{"test":"golden certificate refusal","method":"POST","uri":"https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token","status":401,"response_headers":{"Content-Type":"application/json; charset=utf-8"},"response_body":{"error":"invalid_client","error_description":"AADSTS700027: Client assertion contains an invalid signature. [Reason - The key was not found.]\r\nTrace ID: 00000000-1111-4222-8333-444444444444\r\nCorrelation ID: 55555555-6666-4777-8888-999999999999\r\nTimestamp: 2022-01-24 22:41:11Z","error_codes":[700027],"timestamp":"2022-01-24 22:41:11Z","trace_id":"00000000-1111-4222-8333-444444444444","correlation_id":"55555555-6666-4777-8888-999999999999"}}
`

// TestReplayEntra answers the credentials with what Entra ID really answered.
func TestReplayEntra(t *testing.T) {
	t.Run("golden", func(t *testing.T) {
		assert.Equal(t, map[int]int{200: 1, 401: 1}, replayEntra(t, []byte(goldenEntra)))
	})
	dir := os.Getenv("EKM_RECORDINGS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "recordings")
	}
	data, err := os.ReadFile(filepath.Join(dir, "azidentity-v1.0.0.jsonl"))
	if err != nil {
		t.Log("the folder of recordings is not here (EKM_RECORDINGS names another one): the golden rows have run, " +
			"Entra ID's recorded answers are NOT covered")
		return
	}
	t.Run("recorded", func(t *testing.T) {
		assert.Equal(t, map[int]int{200: 5, 400: 3, 401: 3}, replayEntra(t, data), "what the recording has")
	})
}

// replayEntra replays the token endpoint's exchanges and counts them by status.
func replayEntra(t *testing.T, data []byte) map[int]int {
	done := map[int]int{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r entraExchange
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r))
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URI, "/oauth2/v2.0/token") {
			continue // the managed identity's
		}
		t.Run(r.Test, r.replay)
		done[r.Status]++
	}
	require.NoError(t, lines.Err())
	return done
}

// credential is of the kind that the exchange was recorded with.
func (r *entraExchange) credential(t *testing.T) aad.Credential {
	t.Helper()
	if !strings.Contains(strings.ToLower(r.Test), "certificate") {
		cred, err := aad.NewClientSecret(application, "s3cret~value")
		require.NoError(t, err)
		return cred
	}
	cert := newCertificate(t, testRSA(), time.Now().Add(-time.Hour), 24*time.Hour)
	cred, err := aad.NewPEM(application, pemOf(t, testRSA(), cert), nil)
	require.NoError(t, err)
	return cred
}

func (r *entraExchange) RoundTrip(req *http.Request) (*http.Response, error) {
	header := http.Header{}
	for name, v := range r.Header {
		switch v := v.(type) {
		case string:
			header.Add(name, v)
		case []any:
			for _, one := range v {
				text, _ := one.(string)
				header.Add(name, text)
			}
		}
	}
	header.Del("Content-Length") // of the text before it was made compact
	return &http.Response{
		StatusCode: r.Status, Header: header, Body: io.NopCloser(bytes.NewReader(r.Body)), ContentLength: int64(len(r.Body)), Request: req,
	}, nil
}

func (r *entraExchange) replay(t *testing.T) {
	var asked []*http.Request
	transport := transportFunc(func(req *http.Request) (*http.Response, error) {
		asked = append(asked, req)
		return r.RoundTrip(req)
	})
	before := time.Now()
	tok, err := exchanging(t, r.credential(t), transport).Get(t.Context(), challenge.Challenge{
		Authority: strings.TrimSuffix(r.URI, "/oauth2/v2.0/token"), Resource: "https://vault.azure.net", Scope: "https://vault.azure.net/.default",
	})
	require.Len(t, asked, 1)
	assert.Equal(t, r.URI, asked[0].URL.String())
	assert.Equal(t, r.Method, asked[0].Method)
	var body struct {
		Token       string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Codes       []int  `json:"error_codes"`
		TraceID     string `json:"trace_id"`
		Correlation string `json:"correlation_id"`
	}
	require.NoError(t, json.Unmarshal(r.Body, &body))
	if r.Status == http.StatusOK {
		require.NoError(t, err)
		assert.Equal(t, body.Token, tok.Reveal())
		assert.WithinDuration(t, before.Add(time.Duration(body.ExpiresIn)*time.Second), tok.Expires, 5*time.Second)
		return
	}
	want := ekm.ErrorHttpResponseCodeClientError
	if r.Status == http.StatusUnauthorized {
		want = ekm.ErrorGetTokenBadCredentials
	}
	e := requireCode(t, want, err)
	assert.Equal(t, ekm.Authority, e.Party)
	assert.Equal(t, "acquireToken", e.Op)
	assert.Equal(t, "login.microsoftonline.com", e.Host)
	assert.Equal(t, r.Status, e.Status)
	assert.Equal(t, body.Error, e.ServiceCode)
	number, _, _ := strings.Cut(body.Description, ":")
	assert.Equal(t, number, e.AADSTS)
	assert.NotEmpty(t, e.TraceID)
	assert.Equal(t, body.TraceID, e.TraceID)
	assert.Equal(t, body.Correlation, e.CorrelationID)
	said, _, _ := strings.Cut(body.Description, "\r\n")
	assert.Equal(t, said[:min(len(said), 100)], e.Message[:min(len(e.Message), 100)])
	for _, id := range []string{"Trace ID", "Correlation ID", "Timestamp", body.TraceID, "\r", "\n"} {
		assert.NotContains(t, e.Message, id)
	}
	assert.LessOrEqual(t, len(e.Message), 512)
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
