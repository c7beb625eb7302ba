package aad_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// platformEnvironment makes the variables of the platforms exactly env.
func platformEnvironment(t *testing.T, env map[string]string) {
	t.Helper()
	for _, name := range []string{
		"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "IDENTITY_SERVER_THUMBPRINT", "MSI_ENDPOINT", "MSI_SECRET",
		"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE",
	} {
		t.Setenv(name, env[name])
	}
}

// demandOf is what the fake's vault demands.
func demandOf(fake *fakevault.Server) challenge.Challenge {
	return challenge.Challenge{
		Authority: fake.AuthorityURL(), Tenant: fake.Tenant(), Resource: "https://vault.azure.net", Scope: "https://vault.azure.net/.default",
	}
}

// A wiretap keeps the requests that pass it.
type wiretap struct {
	next http.RoundTripper
	mu   sync.Mutex
	seen []*http.Request
}

func (w *wiretap) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.seen = append(w.seen, r.Clone(context.Background()))
	w.mu.Unlock()
	return w.next.RoundTrip(r)
}

func (w *wiretap) requests() []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*http.Request(nil), w.seen...)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func replyWith(r *http.Request, status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{"Content-Type": {"application/json"}}
	}
	return &http.Response{
		StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}

func tokensOf(t *testing.T, cred aad.Credential, transport http.RoundTripper) *aad.Tokens {
	t.Helper()
	tokens := aad.NewTokens(cred, &aad.Options{Transport: transport})
	t.Cleanup(tokens.Close)
	return tokens
}

func managedIdentity(t *testing.T, opts *aad.ManagedIdentityOptions) aad.Credential {
	t.Helper()
	cred, err := aad.NewManagedIdentity(opts)
	require.NoError(t, err)
	return cred
}

// failureOf is err as the library's error, with the code.
func failureOf(t *testing.T, err error, code ekm.Code) *ekm.Error {
	t.Helper()
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, code, e.Code, "%v", err)
	return e
}

const userResource = "/subscriptions/x/resourceGroups/y/providers/Microsoft.ManagedIdentity/userAssignedIdentities/z"

func twoIdentities() []fakevault.Identity {
	return []fakevault.Identity{
		{ClientID: "system-client", ObjectID: "system-object"},
		{ClientID: "user-client", ObjectID: "user-object", ResourceID: userResource},
	}
}

func TestManagedIdentityAtEachSource(t *testing.T) {
	type query = map[string]string
	for _, source := range []struct {
		source     aad.Source
		address    func(*fakevault.Server) string
		env        func(*fakevault.Server) map[string]string
		version    string
		resourceID string
		op         fakevault.Operation
	}{
		{
			aad.IMDS, (*fakevault.Server).IMDSURL,
			func(*fakevault.Server) map[string]string { return nil }, "2018-02-01", "msi_res_id", fakevault.OpIMDS,
		},
		{
			aad.AppService, (*fakevault.Server).AppServiceURL, func(s *fakevault.Server) map[string]string {
				return map[string]string{"IDENTITY_ENDPOINT": s.AppServiceURL(), "IDENTITY_HEADER": s.IdentityHeader()}
			}, "2019-08-01", "mi_res_id", fakevault.OpAppService,
		},
		{
			aad.Arc, (*fakevault.Server).ArcURL, func(s *fakevault.Server) map[string]string {
				return map[string]string{"IDENTITY_ENDPOINT": s.ArcURL(), "IMDS_ENDPOINT": "http://127.0.0.1:40342"}
			}, "2020-06-01", "msi_res_id", fakevault.OpArc,
		},
	} {
		for _, c := range []struct {
			name     string
			opts     aad.ManagedIdentityOptions
			selector query
		}{
			{"system", aad.ManagedIdentityOptions{}, nil},
			{"client id", aad.ManagedIdentityOptions{ClientID: "user-client"}, query{"client_id": "user-client"}},
			{"object id", aad.ManagedIdentityOptions{ObjectID: "user-object"}, query{"object_id": "user-object"}},
			{"resource id", aad.ManagedIdentityOptions{ResourceID: userResource}, query{source.resourceID: userResource}},
		} {
			t.Run(string(source.source)+"/"+c.name, func(t *testing.T) {
				dir := t.TempDir()
				if source.source == aad.Arc && c.selector != nil {
					opts := c.opts
					opts.Source = aad.Arc
					_, err := aad.NewManagedIdentity(&opts)
					assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument, "the machine's own identity is the only one there")
					return
				}
				fake := fakevault.New(fakevault.Options{Identities: twoIdentities(), ArcKeyDir: dir})
				t.Cleanup(fake.Close)
				fake.AddKey("tde", workloadKey())
				platformEnvironment(t, source.env(fake))
				opts := c.opts
				opts.ArcKeyDirectory = dir
				tap := &wiretap{next: fake.Transport()}
				tokens := tokensOf(t, managedIdentity(t, &opts), tap)
				token, err := tokens.Get(t.Context(), demandOf(fake))
				require.NoError(t, err)
				assert.InDelta(t, 3599, time.Until(token.Expires).Seconds(), 10)
				var claims struct{ Appid, Oid string }
				payload(t, token.Reveal(), &claims)
				if c.selector == nil {
					assert.Equal(t, "system-client", claims.Appid)
				} else {
					assert.Equal(t, "user-client", claims.Appid)
				}

				want := url.Values{"api-version": {source.version}, "resource": {"https://vault.azure.net"}}
				for name, value := range c.selector {
					want.Set(name, value)
				}
				seen := tap.requests()
				for _, r := range seen {
					assert.Equal(t, want, r.URL.Query())
					assert.Equal(t, "GET", r.Method)
					r.URL.RawQuery = ""
					assert.Equal(t, source.address(fake), r.URL.String())
				}
				switch first := seen[0]; source.source {
				case aad.AppService:
					require.Len(t, seen, 1)
					assert.Equal(t, fake.IdentityHeader(), first.Header.Get("X-IDENTITY-HEADER"))
					assert.Empty(t, first.Header.Get("Metadata"))
				case aad.Arc:
					require.Len(t, seen, 2)
					assert.Equal(t, "true", seen[1].Header.Get("Metadata"))
					assert.Empty(t, first.Header.Get("Authorization"))
					assert.Regexp(t, `^Basic \S+$`, seen[1].Header.Get("Authorization"))
					fallthrough
				default:
					assert.Equal(t, "true", first.Header.Get("Metadata"))
					assert.Empty(t, first.Header.Get("X-IDENTITY-HEADER"))
				}

				client, err := akv.NewClient("fakevault", managedIdentity(t, &opts), &akv.Options{Transport: fake.Transport()})
				require.NoError(t, err)
				defer client.Close()
				_, err = client.GetKey(t.Context(), "tde", "")
				assert.NoError(t, err)
				assert.Positive(t, fake.Count(source.op))
				assert.Zero(t, fake.Count(fakevault.OpToken), "the authority is not asked")
			})
		}
	}
}

func TestManagedIdentityEnvironment(t *testing.T) {
	type env = map[string]string
	const (
		imds  = "http://169.254.169.254/metadata/identity/oauth2/token"
		app   = "http://localhost:41000/msi/token"
		agent = "http://127.0.0.1:40342/metadata/identity/oauth2/token"
	)
	both := env{"IDENTITY_ENDPOINT": app, "IDENTITY_HEADER": "the-header"}
	for name, c := range map[string]struct {
		env     env
		opts    *aad.ManagedIdentityOptions
		address string // empty: refused
		says    string
	}{
		"nothing":                     {nil, nil, imds, ""},
		"nothing, empty options":      {nil, &aad.ManagedIdentityOptions{}, imds, ""},
		"App Service":                 {both, nil, app, ""},
		"endpoint alone":              {env{"IDENTITY_ENDPOINT": app}, nil, imds, ""},
		"header alone":                {env{"IDENTITY_HEADER": "the-header"}, nil, imds, ""},
		"IMDS_ENDPOINT alone":         {env{"IMDS_ENDPOINT": "http://127.0.0.1:40342"}, nil, imds, ""},
		"Arc":                         {env{"IDENTITY_ENDPOINT": agent, "IMDS_ENDPOINT": "http://127.0.0.1:40342"}, nil, agent, ""},
		"Arc by name":                 {env{"IDENTITY_ENDPOINT": "http://localhost:1/x", "IMDS_ENDPOINT": "y"}, nil, "http://localhost:1/x", ""},
		"Arc with IPv6":               {env{"IDENTITY_ENDPOINT": "http://[::1]:1/x", "IMDS_ENDPOINT": "y"}, nil, "http://[::1]:1/x", ""},
		"all three":                   {env{"IDENTITY_ENDPOINT": app, "IDENTITY_HEADER": "h", "IMDS_ENDPOINT": "y"}, nil, app, ""},
		"IMDS by option":              {both, &aad.ManagedIdentityOptions{Source: aad.IMDS}, imds, ""},
		"App Service by option":       {both, &aad.ManagedIdentityOptions{Source: aad.AppService}, app, ""},
		"Arc by option":               {nil, &aad.ManagedIdentityOptions{Source: aad.Arc}, agent, ""},
		"IMDS on Service Fabric":      {env{"IDENTITY_SERVER_THUMBPRINT": "x"}, &aad.ManagedIdentityOptions{Source: aad.IMDS}, imds, ""},
		"Service Fabric":              {env{"IDENTITY_ENDPOINT": app, "IDENTITY_HEADER": "h", "IDENTITY_SERVER_THUMBPRINT": "x"}, nil, "", "Service Fabric"},
		"Azure ML":                    {env{"MSI_ENDPOINT": app, "MSI_SECRET": "s"}, nil, "", "Azure ML"},
		"Cloud Shell":                 {env{"MSI_ENDPOINT": app}, nil, "", "Cloud Shell"},
		"App Service with MSI":        {env{"MSI_ENDPOINT": app, "IDENTITY_ENDPOINT": app, "IDENTITY_HEADER": "h"}, nil, app, ""},
		"App Service without":         {nil, &aad.ManagedIdentityOptions{Source: aad.AppService}, "", "IDENTITY_ENDPOINT and IDENTITY_HEADER"},
		"App Service without header":  {env{"IDENTITY_ENDPOINT": app}, &aad.ManagedIdentityOptions{Source: aad.AppService}, "", "IDENTITY_HEADER"},
		"Arc elsewhere":               {env{"IDENTITY_ENDPOINT": "http://10.0.0.1/x", "IMDS_ENDPOINT": "y"}, nil, "", "not on this machine"},
		"Arc, name with a prefix":     {env{"IDENTITY_ENDPOINT": "http://127.0.0.1.evil.example/x", "IMDS_ENDPOINT": "y"}, nil, "", "not on this machine"},
		"Arc with a user":             {env{"IDENTITY_ENDPOINT": "http://127.0.0.1@evil.example/x", "IMDS_ENDPOINT": "y"}, nil, "", "not on this machine"},
		"Arc with a user on loopback": {env{"IDENTITY_ENDPOINT": "http://u@127.0.0.1/x", "IMDS_ENDPOINT": "y"}, nil, "", "not on this machine"},
		"Arc without URL":             {env{"IDENTITY_ENDPOINT": "http://[::1", "IMDS_ENDPOINT": "y"}, nil, "", "not on this machine"},
		"client and object id":        {nil, &aad.ManagedIdentityOptions{ClientID: "a", ObjectID: "b"}, "", "more than one"},
		"client and resource id":      {nil, &aad.ManagedIdentityOptions{ClientID: "a", ResourceID: "b"}, "", "more than one"},
		"all ids":                     {nil, &aad.ManagedIdentityOptions{ClientID: "a", ObjectID: "b", ResourceID: "c"}, "", "more than one"},
		"unknown source":              {nil, &aad.ManagedIdentityOptions{Source: "imds"}, "", "there are IMDS, App Service and Azure Arc"},
	} {
		t.Run(name, func(t *testing.T) {
			platformEnvironment(t, c.env)
			cred, err := aad.NewManagedIdentity(c.opts)
			if c.address == "" {
				e := failureOf(t, err, ekm.SCPErrInvalidArgument)
				assert.Equal(t, ekm.Local, e.Party)
				assert.ErrorContains(t, err, c.says)
				assert.Nil(t, cred)
				return
			}
			require.NoError(t, err)
			platformEnvironment(t, nil) // it was read once
			var address string
			_, err = tokensOf(t, cred, roundTrip(func(r *http.Request) (*http.Response, error) {
				address, _, _ = strings.Cut(r.URL.String(), "?")
				return replyWith(r, 200, nil, `{"access_token":"t","expires_in":"3599","token_type":"Bearer"}`), nil
			})).Get(t.Context(), demand())
			require.NoError(t, err)
			assert.Equal(t, c.address, address)
		})
	}
}

func TestNoSuchManagedIdentity(t *testing.T) {
	for _, source := range []aad.Source{aad.IMDS, aad.AppService, aad.Arc} {
		t.Run(string(source), func(t *testing.T) {
			dir := t.TempDir()
			fake := fakevault.New(fakevault.Options{Identities: twoIdentities(), ArcKeyDir: dir})
			t.Cleanup(fake.Close)
			nobody := "nobody"
			if source == aad.Arc {
				nobody = "" // it has only the machine's own, which is taken away here
				fake = fakevault.New(fakevault.Options{NoIdentity: true, ArcKeyDir: dir})
				t.Cleanup(fake.Close)
			}
			if source == aad.AppService {
				platformEnvironment(t, map[string]string{"IDENTITY_ENDPOINT": fake.AppServiceURL(), "IDENTITY_HEADER": fake.IdentityHeader()})
			} else {
				platformEnvironment(t, nil)
			}
			cred := managedIdentity(t, &aad.ManagedIdentityOptions{Source: source, ClientID: nobody, ArcKeyDirectory: dir})
			_, err := tokensOf(t, cred, fake.Transport()).Get(t.Context(), demandOf(fake))
			e := failureOf(t, err, ekm.ErrorHttpResponseCodeClientError)
			assert.Equal(t, ekm.ManagedIdentity, e.Party)
			assert.Equal(t, 400, e.Status)
			if source == aad.AppService {
				assert.Contains(t, e.Message, "No User Assigned or Delegated Managed Identity found")
			} else {
				assert.Equal(t, "Identity not found", e.Message)
				assert.Equal(t, "invalid_request", e.ServiceCode)
			}
			want := map[aad.Source]int{aad.IMDS: 1, aad.AppService: 1, aad.Arc: 2}[source]
			assert.Equal(t, want, fake.Count(fakevault.OpIMDS, fakevault.OpAppService, fakevault.OpArc), "not tried again")
		})
	}
}

// The wait of a refresh in the background ends with Close.
func TestManagedIdentityCloseEndsRefresh(t *testing.T) {
	platformEnvironment(t, nil)
	synctest.Test(t, func(t *testing.T) {
		imds := &imdsCounted{start: time.Now(), answer: func(_ time.Duration, n int64) (int, string) {
			if n == 1 {
				return 200, goodReply
			}
			return 410, ""
		}}
		tokens := aad.NewTokens(managedIdentity(t, nil), &aad.Options{Transport: imds})
		_, err := tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		time.Sleep(56 * time.Minute)
		_, err = tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		synctest.Wait()
		assert.EqualValues(t, 2, imds.count.Load())
		tokens.Close()
		time.Sleep(time.Minute)
		assert.EqualValues(t, 2, imds.count.Load())
	})
}

func TestIdentityHeaderIsNeverTold(t *testing.T) {
	const secret = "1dent1ty+Header/secret=="
	platformEnvironment(t, map[string]string{"IDENTITY_ENDPOINT": "http://localhost:41000/msi/token", "IDENTITY_HEADER": secret})
	quoted, err := json.Marshal(secret)
	require.NoError(t, err)
	for name, body := range map[string]string{
		"App Service's form": `{"statusCode":400,"message":"your header was ` + secret + `"}`,
		"OAuth's form":       `{"error":"` + secret + `","error_description":` + string(quoted) + `}`,
		"escaped":            `{"message":"` + url.QueryEscape(secret) + `"}`,
		"plain":              secret,
		"in a 200":           `{"error":"` + secret + `"}`,
		"as token type":      `{"access_token":"x","expires_in":"3599","token_type":"` + secret + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			status := 400
			if strings.Contains(name, "200") || strings.Contains(name, "type") {
				status = 200
			}
			_, err := tokensOf(t, managedIdentity(t, nil), roundTrip(func(r *http.Request) (*http.Response, error) {
				assert.Equal(t, secret, r.Header.Get("X-Identity-Header"))
				return replyWith(r, status, http.Header{"Content-Type": {"text/plain"}, "X-Ms-Request-Id": {secret}}, body), nil
			})).Get(t.Context(), demand())
			require.Error(t, err)
			text := fmt.Sprintf("%v %+v", err, err)
			if e, ok := errors.AsType[*ekm.Error](err); assert.True(t, ok) {
				text += fmt.Sprintf("%#v", *e)
			}
			assert.NotContains(t, text, secret)
			assert.NotContains(t, text, url.QueryEscape(secret))
		})
	}
	_, err = tokensOf(t, managedIdentity(t, nil), roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("cannot send " + secret)
	})).Get(retryNothing(t), demand())
	require.Error(t, err)
	assert.NotContains(t, err.Error(), secret)
}

// retryNothing is a context that leaves no time for a second try.
func retryNothing(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestManagedIdentityLongURL(t *testing.T) {
	platformEnvironment(t, nil)
	tap := &wiretap{next: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("unexpected") })}
	cred := managedIdentity(t, &aad.ManagedIdentityOptions{ResourceID: strings.Repeat("x", 5000)})
	_, err := tokensOf(t, cred, tap).Get(t.Context(), demand())
	e := failureOf(t, err, ekm.ErrorGetTokenOutOfMemoryConcatPath)
	assert.Equal(t, ekm.Local, e.Party, "nobody was asked")
	assert.Empty(t, tap.requests())
}

// A recordedIMDS is an exchange of another client with a real IMDS.
type recordedIMDS struct {
	Test     string            `json:"test"`
	Method   string            `json:"method"`
	URI      string            `json:"uri"`
	Status   int               `json:"status"`
	Header   map[string]any    `json:"response_headers"`
	Response json.RawMessage   `json:"response_body"`
	Request  map[string]any    `json:"request_headers"`
	body     map[string]string // Response
}

// goldenIMDS is in the form of the recorded ones, made with the fake's identity.
const goldenIMDS = `{"test":"golden","method":"GET","uri":"http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&client_id=user-client&resource=https%3A%2F%2Fvault.azure.net","request_headers":{"metadata":"true"},"status":200,"response_headers":{"Content-Type":"application/json; charset=utf-8","Server":"IMDS/150.870.65.1854"},"response_body":{"access_token":"golden","client_id":"user-client","expires_in":"85771","expires_on":"1643159675","ext_expires_in":"86399","not_before":"1643072975","resource":"https://vault.azure.net","token_type":"Bearer"}}`
