package aad_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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
	"github.com/akv-ekm/ekm/retry"
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
				payload(t, token.Value, &claims)
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
		"unknown source":              {nil, &aad.ManagedIdentityOptions{Source: "imds"}, "", `"imds"`},
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

// imdsCounted answers as IMDS, by the time since the start, and counts.
type imdsCounted struct {
	start  time.Time
	count  atomic.Int64
	times  []time.Duration
	answer func(since time.Duration, n int64) (status int, body string)
}

func (i *imdsCounted) RoundTrip(r *http.Request) (*http.Response, error) {
	since := time.Since(i.start)
	i.times = append(i.times, since)
	status, body := i.answer(since, i.count.Add(1))
	return replyWith(r, status, nil, body), nil
}

const goodReply = `{"access_token":"good","expires_in":"3599","token_type":"Bearer"}`

func TestIMDSIsWaitedForWhileItIsUpdated(t *testing.T) {
	for _, status := range []int{404, 410} {
		platformEnvironment(t, nil)
		synctest.Test(t, func(t *testing.T) {
			imds := &imdsCounted{start: time.Now(), answer: func(since time.Duration, _ int64) (int, string) {
				if since < 60*time.Second {
					return status, `{"error":"updating","error_description":"IMDS is being updated"}`
				}
				return 200, goodReply
			}}
			token, err := tokensOf(t, managedIdentity(t, nil), imds).Get(t.Context(), demand())
			require.NoError(t, err)
			assert.Equal(t, "good", token.Value)
			assert.Less(t, time.Since(imds.start), 100*time.Second)
			assert.Equal(t, []time.Duration{0, 2e9, 6e9, 14e9, 30e9}, imds.times[:5], "the waits that are documented")
		})
		synctest.Test(t, func(t *testing.T) {
			imds := &imdsCounted{start: time.Now(), answer: func(time.Duration, int64) (int, string) {
				return status, `{"error":"updating","error_description":"IMDS is being updated"}`
			}}
			tokens := tokensOf(t, managedIdentity(t, nil), imds)
			_, err := tokens.Get(t.Context(), demand())
			e, ok := errors.AsType[*ekm.Error](err)
			require.True(t, ok)
			assert.Equal(t, status, e.Status)
			assert.Equal(t, ekm.ManagedIdentity, e.Party)
			assert.Equal(t, "IMDS is being updated", e.Message)
			assert.Equal(t, "updating", e.ServiceCode)
			assert.EqualValues(t, imds.count.Load(), e.Attempts, "all tries, not those of the last round")
			_, platform := tokens.Stats()
			assert.EqualValues(t, imds.count.Load()-1, platform.Retries)
			assert.GreaterOrEqual(t, time.Since(imds.start), 70*time.Second)
			assert.LessOrEqual(t, time.Since(imds.start), 100*time.Second)
		})
	}
	t.Run("not elsewhere", func(t *testing.T) {
		platformEnvironment(t, map[string]string{"IDENTITY_ENDPOINT": "http://localhost:41000/msi/token", "IDENTITY_HEADER": "the-header"})
		imds := &imdsCounted{answer: func(time.Duration, int64) (int, string) { return 404, "" }}
		_, err := tokensOf(t, managedIdentity(t, nil), imds).Get(t.Context(), demand())
		failureOf(t, err, ekm.ErrorHttpResourceNotFound)
		assert.EqualValues(t, 1, imds.count.Load())
	})
}

func TestIMDSRetries(t *testing.T) {
	platformEnvironment(t, nil)
	for _, c := range []struct {
		status int
		code   ekm.Code
		tries  int // 0: for as long as two minutes of waits allow
	}{
		{429, ekm.ErrorHttpResponseCodeThrottled, 0},
		{500, ekm.ErrorHttpResponseCodeServerError, 5},
		{503, ekm.ErrorHttpResponseCodeServerError, 0},
		{400, ekm.ErrorHttpResponseCodeClientError, 1},
		{401, ekm.ErrorHttpResponseCodeUnauthorized, 1},
		{403, ekm.ErrorHttpOperationForbidden, 1},
		{302, ekm.ErrorUnknown, 1},
	} {
		for _, times := range []int{2, -1} {
			t.Run(fmt.Sprintf("%d for %d", c.status, times), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := fakevault.New(fakevault.Options{})
					defer fake.Close()
					fake.Script(fakevault.Fault{Operation: fakevault.OpIMDS, Status: c.status, Times: times})
					begun := time.Now()
					tokens := tokensOf(t, managedIdentity(t, nil), fake.Transport())
					_, err := tokens.Get(t.Context(), demandOf(fake))
					_, platform := tokens.Stats()
					assert.EqualValues(t, fake.Count(fakevault.OpIMDS)-1, platform.Retries)
					if times > 0 && c.tries != 1 {
						require.NoError(t, err)
						assert.Equal(t, times+1, fake.Count(fakevault.OpIMDS))
						return
					}
					e := failureOf(t, err, c.code)
					assert.Equal(t, ekm.ManagedIdentity, e.Party)
					assert.Equal(t, c.status, e.Status)
					assert.Equal(t, fake.Count(fakevault.OpIMDS), e.Attempts)
					if c.tries == 0 {
						assert.Greater(t, time.Since(begun), time.Minute)
						assert.InDelta(t, 9, e.Attempts, 2, "waits that double, with jitter, up to a minute")
						return
					}
					assert.Equal(t, c.tries, e.Attempts)
				})
			})
		}
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

// A goroutine that is left behind would end the bubble with a failure.
func TestManagedIdentityCallerLeavesDuringWait(t *testing.T) {
	platformEnvironment(t, nil)
	for _, status := range []int{410, 429} {
		for name, c := range map[string]struct {
			limit func(context.Context) (context.Context, context.CancelFunc)
			after time.Duration
			cause error // nil: the service's own error
		}{
			"canceled": {func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(1500*time.Millisecond, cancel)
				return ctx, cancel
			}, 1500 * time.Millisecond, context.Canceled},
			"a deadline that the wait would outlast": {func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 1500*time.Millisecond)
			}, 0, nil},
		} {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					imds := &imdsCounted{start: time.Now(), answer: func(time.Duration, int64) (int, string) { return status, "" }}
					tokens := aad.NewTokens(managedIdentity(t, nil), &aad.Options{Transport: imds, Retry: retry.Policy{Base: 10 * time.Second}})
					defer tokens.Close()
					ctx, cancel := c.limit(t.Context())
					defer cancel()
					_, err := tokens.Get(ctx, demand())
					require.Error(t, err)
					assert.Equal(t, c.after, time.Since(imds.start))
					if c.cause != nil {
						assert.ErrorIs(t, err, c.cause)
					}
					e, ok := errors.AsType[*ekm.Error](err)
					require.True(t, ok)
					assert.Equal(t, status, e.Status, "what the service last said is told, too")
					synctest.Wait()
					time.Sleep(5 * time.Minute)
					assert.EqualValues(t, 1, imds.count.Load(), "nobody waits, nobody asks")

					imds.answer = func(time.Duration, int64) (int, string) { return 200, goodReply }
					_, err = tokens.Get(t.Context(), demand())
					assert.NoError(t, err, "one caller's end is nobody else's failure")
				})
			})
		}
	}
}

// Two callers wait for the same exchange; the one with a deadline leaves at it.
func TestManagedIdentityCallersWithTheirOwnDeadlines(t *testing.T) {
	platformEnvironment(t, nil)
	synctest.Test(t, func(t *testing.T) {
		imds := &imdsCounted{start: time.Now(), answer: func(since time.Duration, _ int64) (int, string) {
			if since < 20*time.Second {
				return 410, ""
			}
			return 200, goodReply
		}}
		tokens := tokensOf(t, managedIdentity(t, nil), imds)
		var group sync.WaitGroup
		group.Go(func() {
			_, err := tokens.Get(t.Context(), demand())
			assert.NoError(t, err)
			assert.Equal(t, 30*time.Second, time.Since(imds.start))
		})
		synctest.Wait() // the patient one has begun
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := tokens.Get(ctx, demand())
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, 5*time.Second, time.Since(imds.start))
		})
		group.Wait()
	})
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

func TestArcKeyFile(t *testing.T) {
	platformEnvironment(t, nil)
	const content, other = "the-key-of-the-agent", "something-else-that-is-secret"
	for name, c := range map[string]struct {
		challenge func(t *testing.T, dir string) string
		good      bool
		says      string
	}{
		"right":            {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/a.key" }, true, ""},
		"quoted":           {func(_ *testing.T, dir string) string { return `Basic realm="` + dir + `/a.key"` }, true, ""},
		"exactly 4096":     {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/limit.key" }, true, ""},
		"4097 bytes":       {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/large.key" }, false, "4096"},
		"missing":          {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/none.key" }, false, "cannot be read"},
		"directory":        {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/sub.key" }, false, "regular file"},
		"symbolic link":    {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/link.key" }, false, "regular file"},
		"other extension":  {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/other.txt" }, false, "no .key file"},
		"no extension":     {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/key" }, false, "no .key file"},
		"below":            {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/sub.key/a.key" }, false, "no .key file"},
		"elsewhere":        {func(_ *testing.T, dir string) string { return "Basic realm=" + filepath.Dir(dir) + "/else.key" }, false, "no .key file"},
		"dots":             {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/../else.key" }, false, "no .key file"},
		"dots and back":    {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/sub.key/../a.key" }, false, "no .key file"},
		"relative":         {func(*testing.T, string) string { return "Basic realm=a.key" }, false, "no .key file"},
		"two parameters":   {func(_ *testing.T, dir string) string { return `Basic realm="` + dir + `/a.key", charset="UTF-8"` }, false, "no .key file"},
		"empty realm":      {func(*testing.T, string) string { return "Basic realm=" }, false, "no .key file"},
		"no realm":         {func(*testing.T, string) string { return "Basic" }, false, "names no file"},
		"no challenge":     {func(*testing.T, string) string { return "" }, false, "names no file"},
		"another scheme":   {func(_ *testing.T, dir string) string { return "Bearer realm=" + dir + "/a.key" }, false, "names no file"},
		"directory itself": {func(_ *testing.T, dir string) string { return "Basic realm=" + dir }, false, "no .key file"},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "tokens")
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub.key"), 0o700))
			for file, text := range map[string]string{
				"a.key": content, "limit.key": content + strings.Repeat("x", 4096-len(content)), "large.key": other + strings.Repeat("x", 4097-len(other)),
				"other.txt": other, "key": other, "sub.key/a.key": other, "../else.key": other,
			} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
			}
			require.NoError(t, os.Symlink(filepath.Join(parent, "else.key"), filepath.Join(dir, "link.key")))
			header := c.challenge(t, dir)
			agent := &wiretap{next: roundTrip(func(r *http.Request) (*http.Response, error) {
				if strings.HasPrefix(r.Header.Get("Authorization"), "Basic "+content) {
					return replyWith(r, 200, nil, goodReply), nil
				}
				return replyWith(r, 401, http.Header{"Www-Authenticate": {header}}, ""), nil
			})}
			cred := managedIdentity(t, &aad.ManagedIdentityOptions{Source: aad.Arc, ArcKeyDirectory: dir})
			token, err := tokensOf(t, cred, agent).Get(t.Context(), demand())
			seen := agent.requests()
			if c.good {
				require.NoError(t, err)
				assert.Equal(t, "good", token.Value)
				assert.Len(t, seen, 2)
				return
			}
			if strings.Contains(c.says, "no .key file") || strings.Contains(c.says, "names no file") {
				e := failureOf(t, err, ekm.ErrorHttpResponseCodeUnauthorized)
				assert.Equal(t, ekm.ManagedIdentity, e.Party)
				assert.Equal(t, 401, e.Status)
			} else { // the agent did its part
				e := failureOf(t, err, ekm.ErrorGetTokenFailedToGetToken)
				assert.Equal(t, ekm.Local, e.Party)
			}
			assert.ErrorContains(t, err, c.says)
			require.Len(t, seen, 1, "nothing was sent in answer")
			assert.Empty(t, seen[0].Header.Get("Authorization"))
			assert.NotContains(t, err.Error(), other)
		})
	}
}

// The agent may refuse the proof, too; and its content stays out of the error.
func TestArcKeyRefused(t *testing.T) {
	platformEnvironment(t, nil)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.key"), []byte("the-key-of-the-agent"), 0o600))
	agent := &wiretap{next: roundTrip(func(r *http.Request) (*http.Response, error) {
		body := `{"error":"unauthorized","error_description":"not ` + strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ") + `"}`
		return replyWith(r, 401, http.Header{"Www-Authenticate": {"Basic realm=" + dir + "/a.key"}}, body), nil
	})}
	cred := managedIdentity(t, &aad.ManagedIdentityOptions{Source: aad.Arc, ArcKeyDirectory: dir})
	_, err := tokensOf(t, cred, agent).Get(t.Context(), demand())
	e := failureOf(t, err, ekm.ErrorHttpResponseCodeUnauthorized)
	assert.Len(t, agent.requests(), 2, "one proof, not one after another")
	assert.NotContains(t, fmt.Sprintf("%+v %#v", err, *e), "the-key-of")
	assert.Contains(t, e.Message, "[redacted]")
}

func TestManagedIdentityLongURL(t *testing.T) {
	platformEnvironment(t, nil)
	tap := &wiretap{next: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("unexpected") })}
	cred := managedIdentity(t, &aad.ManagedIdentityOptions{ResourceID: strings.Repeat("x", 3000)})
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

func TestReplayIMDS(t *testing.T) {
	platformEnvironment(t, nil)
	t.Run("golden", func(t *testing.T) { replayIMDS(t, goldenIMDS) })
	dir := os.Getenv("EKM_RECORDINGS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "recordings")
	}
	f, err := os.Open(filepath.Join(dir, "azidentity-v1.0.0.jsonl"))
	if err != nil {
		t.Log("the recordings are not here (EKM_RECORDINGS names another folder): the golden row has run, what a real IMDS answered is NOT covered")
		return
	}
	defer f.Close()
	count := 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"uri":"http://169.254.169.254/`) {
			count++
			t.Run(fmt.Sprint("recorded ", count), func(t *testing.T) { replayIMDS(t, lines.Text()) })
		}
	}
	require.NoError(t, lines.Err())
	assert.Equal(t, 3, count)
}

func replayIMDS(t *testing.T, line string) {
	var r recordedIMDS
	require.NoError(t, json.Unmarshal([]byte(line), &r))
	require.NoError(t, json.Unmarshal(r.Response, &r.body))
	recorded, err := url.Parse(r.URI)
	require.NoError(t, err)
	want := recorded.Query()
	opts := &aad.ManagedIdentityOptions{ClientID: want.Get("client_id"), ObjectID: want.Get("object_id"), ResourceID: want.Get("mi_res_id")}
	if want.Has("mi_res_id") { // the recorded client's name of it; the documentation's is ours
		want["msi_res_id"] = want["mi_res_id"]
		want.Del("mi_res_id")
	}
	synctest.Test(t, func(t *testing.T) {
		tap := &wiretap{next: roundTrip(func(q *http.Request) (*http.Response, error) {
			header := make(http.Header)
			for name, value := range r.Header {
				if text, ok := value.(string); ok && name != "Content-Length" { // tokens were shortened since
					header.Set(name, text)
				}
			}
			return replyWith(q, r.Status, header, string(r.Response)), nil
		})}
		c := demand()
		c.Resource = want.Get("resource")
		token, err := tokensOf(t, managedIdentity(t, opts), tap).Get(t.Context(), c)
		require.NoError(t, err)
		assert.Equal(t, r.body["access_token"], token.Value)
		assert.Equal(t, r.body["expires_in"], fmt.Sprint(time.Until(token.Expires).Seconds()))
		seen := tap.requests()
		require.Len(t, seen, 1)
		assert.Equal(t, want, seen[0].URL.Query())
		assert.Equal(t, r.Method, seen[0].Method)
		assert.Equal(t, recorded.Host+recorded.Path, seen[0].URL.Host+seen[0].URL.Path)
		assert.Equal(t, r.Request["metadata"], seen[0].Header.Get("Metadata"))
	})
}
