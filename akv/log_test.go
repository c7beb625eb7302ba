package akv_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/retry"
)

const (
	loggedVersion = "0123456789abcdef0123456789abcdef"
	loggedID      = `"kid":"https://contoso.vault.azure.net/keys/tde/` + loggedVersion + `"`
	loggedToken   = `{"level":"INFO","msg":"operation succeeded","operation":"acquireToken","code":3000,"symbol":"ErrorSuccess",
		"party":"authority","credential":"client secret","host":"login.windows.net","status":200,"request":"of-login","correlation":"id","attempts":1,"duration":0.25}`
)

// A loggedRow is one operation of a client without a token, and the log records that
// the test expects of it.
type loggedRow struct {
	why     string
	level   slog.Level
	opts    akv.Options
	token   func(*http.Request) *http.Response // nil: the usual one
	answers []func(*http.Request) *http.Response
	run     func(context.Context, *akv.Client) error // nil: GetKey of "tde"
	want    []string
}

func answer(status int, body string, header ...string) func(*http.Request) *http.Response {
	return func(r *http.Request) *http.Response {
		return reply(r, status, body, append(header, "X-Ms-Request-Id", "of-vault")...)
	}
}

func refusing(code, inner string) string {
	return `{"error":{"code":"` + code + `","message":"No.","innererror":{"code":"` + inner + `"}}}`
}

// RoundTrip takes a quarter of a second for each answer.
func (row *loggedRow) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(250 * time.Millisecond)
	switch {
	case toAuthority(r) && row.token != nil:
		return row.token(r), nil
	case toAuthority(r):
		return reply(r, 200, `{"token_type":"Bearer","expires_in":3599,"access_token":"t0ken-value"}`, "X-Ms-Request-Id", "of-login"), nil
	case len(row.answers) == 0:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case probing(r):
		return reply(r, 401, "", "WWW-Authenticate", usualChallenge), nil
	}
	a := row.answers[0]
	row.answers = append(row.answers[1:], a)
	return a(r), nil
}

func loggedRows() []loggedRow {
	key := answer(200, `{"key":{`+loggedID+`,`+point+`}}`)
	once := akv.Options{Retry: retry.Policy{Attempts: 1}}
	wrap := func(ctx context.Context, c *akv.Client) error {
		_, err := c.WrapKey(ctx, "tde", loggedVersion, akv.RSAOAEP256, []byte("canary-key-bytes"))
		return err
	}
	return []loggedRow{
		{
			why: "success, with the version that answered, as none was asked for", answers: []func(*http.Request) *http.Response{key},
			want: []string{loggedToken, `{"level":"INFO","msg":"operation succeeded","operation":"getKey","key":"tde","answered":"` + loggedVersion + `",
				"code":3000,"symbol":"ErrorSuccess","party":"vault","host":"contoso.vault.azure.net","status":200,"request":"of-vault",
				"correlation":"id","attempts":3,"duration":0.75}`},
		},
		{
			why: "the version that answered is the one asked for", run: wrap,
			answers: []func(*http.Request) *http.Response{answer(200, `{`+loggedID+`,"value":"AAAA"}`)},
			want: []string{loggedToken, `{"level":"INFO","msg":"operation succeeded","operation":"wrapKey","key":"tde","version":"` + loggedVersion + `",
				"code":3000,"symbol":"ErrorSuccess","party":"vault","host":"contoso.vault.azure.net","status":200,"request":"of-vault",
				"correlation":"id","attempts":3,"duration":0.75}`},
		},
		{
			why: "success is told at the caller's choice", opts: akv.Options{SuccessLevel: slog.LevelDebug},
			answers: []func(*http.Request) *http.Response{key}, want: []string{},
		},
		{
			why: "a restored key has no name before it is there", answers: []func(*http.Request) *http.Response{key},
			run: func(ctx context.Context, c *akv.Client) error {
				_, err := c.RestoreKey(ctx, []byte("backup"))
				return err
			},
			want: []string{loggedToken, `{"level":"INFO","msg":"operation succeeded","operation":"restoreKey","key":"tde","answered":"` + loggedVersion + `",
				"code":3000,"symbol":"ErrorSuccess","party":"vault","host":"contoso.vault.azure.net","status":200,"request":"of-vault",
				"correlation":"id","attempts":3,"duration":0.75}`},
		},
		{
			why: "no such key", answers: []func(*http.Request) *http.Response{answer(404, refusing("KeyNotFound", ""))},
			want: []string{loggedToken, `{"level":"ERROR","msg":"operation failed","operation":"getKey","key":"tde",
				"code":3112,"symbol":"ErrorHttpResourceNotFound","party":"vault","host":"contoso.vault.azure.net","status":404,
				"service":"KeyNotFound","message":"No.","request":"of-vault","correlation":"id","attempts":3,"duration":0.75}`},
		},
		{
			why: "not allowed", run: wrap,
			answers: []func(*http.Request) *http.Response{answer(403, refusing("Forbidden", "ForbiddenByRbac"), "X-Ms-Keyvault-Region", "westeurope")},
			want: []string{loggedToken, `{"level":"ERROR","msg":"operation failed","operation":"wrapKey","key":"tde","version":"` + loggedVersion + `",
				"code":3113,"symbol":"ErrorHttpOperationForbidden","party":"vault","host":"contoso.vault.azure.net","status":403,"service":"Forbidden",
				"inner":"ForbiddenByRbac","message":"No.","request":"of-vault","correlation":"id","region":"westeurope","attempts":3,"duration":0.75}`},
		},
		{
			why: "throttled, then not", level: slog.LevelDebug,
			answers: []func(*http.Request) *http.Response{answer(429, refusing("Throttled", ""), "Retry-After", "3"), key},
			want: []string{
				loggedToken,
				`{"level":"DEBUG","msg":"operation tried again","operation":"getKey","try":1,"wait":3,"code":3109,
				"symbol":"ErrorHttpResponseCodeThrottled","party":"vault","host":"contoso.vault.azure.net","status":429,"service":"Throttled",
				"message":"No.","request":"of-vault","correlation":"id","retryAfter":3}`,
				`{"level":"INFO","msg":"operation succeeded","operation":"getKey","key":"tde","answered":"` + loggedVersion + `",
				"code":3000,"symbol":"ErrorSuccess","party":"vault","host":"contoso.vault.azure.net","status":200,"request":"of-vault",
				"correlation":"id","attempts":4,"duration":4}`,
			},
		},
		{
			why: "throttled to the end, which may pass", opts: once,
			answers: []func(*http.Request) *http.Response{answer(429, refusing("Throttled", ""), "Retry-After", "3")},
			want: []string{loggedToken, `{"level":"WARN","msg":"operation failed","operation":"getKey","key":"tde","code":3109,
				"symbol":"ErrorHttpResponseCodeThrottled","party":"vault","host":"contoso.vault.azure.net","status":429,"service":"Throttled",
				"message":"No.","request":"of-vault","correlation":"id","attempts":3,"retryAfter":3,"duration":0.75}`},
		},
		{
			why: "a dead vault is not silent", opts: once,
			want: []string{`{"level":"WARN","msg":"operation failed","operation":"getKey","key":"tde","code":3106,"symbol":"ErrorHttpSendRequest",
				"party":"vault","host":"contoso.vault.azure.net","phase":"write","correlation":"id","attempts":1,"cause":"dial: connection refused","duration":0.25}`},
		},
		{
			why: "the wrong secret: the token's record, and the call's that needed it",
			token: func(r *http.Request) *http.Response {
				return reply(r, 401, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215],
					"trace_id":"trace-1","correlation_id":"correlation-of-login"}`, "X-Ms-Request-Id", "of-login")
			},
			answers: []func(*http.Request) *http.Response{key},
			want: []string{
				`{"level":"ERROR","msg":"operation failed","operation":"acquireToken","code":3303,"symbol":"ErrorGetTokenBadCredentials",
				"party":"authority","credential":"client secret","host":"login.windows.net","status":401,"service":"invalid_client",
				"aadsts":"AADSTS7000215","message":"AADSTS7000215: Invalid client secret provided.","request":"of-login",
				"correlation":"correlation-of-login","trace":"trace-1","attempts":1,"duration":0.25}`,
				`{"level":"ERROR","msg":"operation failed","operation":"getKey","key":"tde","code":3303,"symbol":"ErrorGetTokenBadCredentials",
				"party":"authority","credential":"client secret","host":"login.windows.net","status":401,"service":"invalid_client",
				"aadsts":"AADSTS7000215","message":"AADSTS7000215: Invalid client secret provided.","request":"of-login",
				"correlation":"correlation-of-login","trace":"trace-1","attempts":2,"duration":0.5}`,
			},
		},
		{
			why: "each page of a list is an operation; the second links back to itself, for which the list ends",
			answers: []func(*http.Request) *http.Response{
				answer(200, `{"value":[{`+loggedID+`}],"nextLink":"https://contoso.vault.azure.net/keys?page=2"}`),
			},
			run: func(ctx context.Context, c *akv.Client) error {
				n := 0
				for _, err := range c.KeyVersions(ctx, "tde") {
					if n++; err != nil || n == 10 {
						return err
					}
				}
				return nil
			},
			want: []string{
				loggedToken, `{"level":"INFO","msg":"operation succeeded","operation":"listKeyVersions","key":"tde","code":3000,"symbol":"ErrorSuccess",
				"party":"vault","host":"contoso.vault.azure.net","status":200,"request":"of-vault","correlation":"id","attempts":3,"duration":0.75}`,
				`{"level":"ERROR","msg":"operation failed","operation":"listKeyVersions","key":"tde","code":7,"symbol":"scp_err_ProviderError","party":"vault",
				"host":"contoso.vault.azure.net","status":200,"request":"of-vault","correlation":"id","attempts":1,
				"cause":"the vault's pages link back to one that has been read: 2 pages with 2 keys came","duration":0.25}`,
			},
		},
		{
			why: "what cannot be a name is not shown: it may be a secret in the wrong place",
			run: func(ctx context.Context, c *akv.Client) error {
				_, err := c.GetKey(ctx, "tde", loggedVersion+"canarySecret")
				return err
			},
			want: []string{`{"level":"ERROR","msg":"operation failed","operation":"getKey","code":6,"symbol":"scp_err_InvalidArgument","party":"local",
				"cause":"the key's version begins with a client id and goes on behind it: was SECRET given in its place?","duration":0}`},
		},
		{
			why: "a secret that is given for a key's name",
			run: func(ctx context.Context, c *akv.Client) error {
				_, err := c.WrapKey(ctx, "abc8Q~canary-secret", loggedVersion, akv.RSAOAEP256, []byte("canary-key-bytes"))
				return err
			},
			want: []string{`{"level":"ERROR","msg":"operation failed","operation":"wrapKey","code":6,"symbol":"scp_err_InvalidArgument","party":"local",
				"cause":"the key's name has other characters than a to z, A to Z, 0 to 9 and hyphens, or more than 127 of them","duration":0}`},
		},
		{
			why: "and one for the versions of a key",
			run: func(ctx context.Context, c *akv.Client) error {
				for _, err := range c.KeyVersions(ctx, loggedVersion+"canary8Q~secret") {
					return err
				}
				return nil
			},
			want: []string{`{"level":"ERROR","msg":"operation failed","operation":"listKeyVersions","code":6,"symbol":"scp_err_InvalidArgument","party":"local",
				"cause":"the key's name has other characters than a to z, A to Z, 0 to 9 and hyphens, or more than 127 of them","duration":0}`},
		},
		{
			why: "the caller's own time is over", answers: []func(*http.Request) *http.Response{func(r *http.Request) *http.Response {
				resp := reply(r, 200, "")
				body, w := io.Pipe()
				resp.Body, resp.ContentLength = body, -1
				context.AfterFunc(r.Context(), func() { _ = w.CloseWithError(r.Context().Err()) })
				return resp
			}},
			run: func(ctx context.Context, c *akv.Client) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				time.AfterFunc(time.Second, cancel)
				_, err := c.BackupKey(ctx, "tde")
				return err
			},
			want: []string{loggedToken, `{"level":"WARN","msg":"operation failed","operation":"backupKey","key":"tde","code":3119,"symbol":"ErrorHttpReadData",
				"party":"vault","host":"contoso.vault.azure.net","phase":"body","cause":"context canceled","correlation":"id","attempts":3,"duration":1}`},
		},
		{
			why: "it was over before",
			run: func(ctx context.Context, c *akv.Client) error {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				_, err := c.BackupKey(ctx, "tde")
				return err
			},
			want: []string{`{"level":"WARN","msg":"operation failed","operation":"backupKey","key":"tde","code":1,"symbol":"scp_err_Failure",
				"party":"local","host":"contoso.vault.azure.net","cause":"gave up waiting: context canceled","correlation":"id","duration":0}`},
		},
		{
			why: "a final answer, though the caller's own time is over", answers: []func(*http.Request) *http.Response{func(r *http.Request) *http.Response {
				<-r.Context().Done()
				return reply(r, 404, "")
			}},
			run: func(ctx context.Context, c *akv.Client) error {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				_, err := c.BackupKey(ctx, "tde")
				return err
			},
			want: []string{loggedToken, `{"level":"ERROR","msg":"operation failed","operation":"backupKey","key":"tde","code":3112,
				"symbol":"ErrorHttpResourceNotFound","party":"vault","host":"contoso.vault.azure.net","status":404,"correlation":"id","attempts":3,"duration":1}`},
		},
	}
}

func TestLog(t *testing.T) {
	for _, row := range loggedRows() {
		t.Run(row.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				row.opts.Transport = &row
				row.opts.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: row.level}))
				cred, err := aad.NewClientSecret("id", "s3cret~value")
				require.NoError(t, err)
				client, err := akv.NewClient("contoso", cred, &row.opts)
				require.NoError(t, err)
				t.Cleanup(client.Close)
				if row.run == nil {
					row.run = func(ctx context.Context, c *akv.Client) error { _, err := c.GetKey(ctx, "tde", ""); return err }
				}
				_ = row.run(t.Context(), client)
				assert.JSONEq(t, "["+strings.Join(row.want, ",")+"]", records(t, &log))
				for _, secret := range []string{"s3cret", "t0ken", "canary", "https://"} {
					assert.NotContains(t, log.String(), secret)
				}
			})
		})
	}
}

// records are the records of a log as a JSON array, without times and with "id" for
// ids made by chance.
func records(t *testing.T, log io.Reader) string {
	t.Helper()
	all := []map[string]any{}
	for d := json.NewDecoder(log); d.More(); {
		r := make(map[string]any)
		require.NoError(t, d.Decode(&r))
		delete(r, "time")
		if id, ok := r["correlation"].(string); ok && uuid.Validate(id) == nil {
			r["correlation"] = "id"
		}
		all = append(all, r)
	}
	text, err := json.Marshal(all)
	require.NoError(t, err)
	return string(text)
}

// The token of another source has a record too. A token from the cache has none, and
// neither has a refusal that the cache answers with.
func TestLogOfTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cred, err := aad.NewTokenSource(tokenSource(func(context.Context, challenge.Challenge) (aad.Token, error) {
			return aad.NewToken("t0ken-value", time.Now().Add(time.Hour)), nil
		}))
		require.NoError(t, err)
		tokens := aad.NewTokens(cred, &aad.Options{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
		defer tokens.Close()
		demand := challenge.Challenge{Authority: "https://login.windows.net/tenant", Resource: "https://vault.azure.net"}
		for range 3 {
			_, err = tokens.Get(t.Context(), demand)
			require.NoError(t, err)
		}
		assert.JSONEq(t, `[{"level":"INFO","msg":"operation succeeded","operation":"acquireToken","code":3000,"symbol":"ErrorSuccess",
			"party":"local","credential":"token source","host":"login.windows.net","duration":0}]`, records(t, &log))
	})
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newWorld()
		w.tenant = func(string, string) (int, string) { return 401, refusal(7000215, "invalid_client") }
		cred, err := aad.NewClientSecret("id", "s3cret~value")
		require.NoError(t, err)
		client, err := akv.NewClient("contoso", cred, &akv.Options{Transport: w, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
		require.NoError(t, err)
		defer client.Close()
		_, errs := together(t.Context(), client, 10)
		require.Len(t, errs, 10)
		assert.Equal(t, 1, strings.Count(log.String(), `"operation":"acquireToken"`))
		assert.Equal(t, 10, strings.Count(log.String(), `"operation":"getKey"`))
	})
}

// warned returns a client of a new world, and its log of warnings and errors.
func warned(t *testing.T) (*world, *akv.Client, *bytes.Buffer) {
	t.Helper()
	w, log := newWorld(), new(bytes.Buffer)
	cred, err := aad.NewClientSecret("id", "s3cret~value")
	require.NoError(t, err)
	client, err := akv.NewClient("contoso", cred, &akv.Options{
		Transport: w, Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	require.NoError(t, err)
	return w, client, log
}

// A refresh ahead that fails is a warning: the call goes on with the old token.
func TestLogOfRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, client, log := warned(t)
		defer client.Close()
		serves(t, client)
		w.set(func() {
			w.tenant = func(string, string) (int, string) { return 401, refusal(7000222, "invalid_client") }
		})
		time.Sleep(56 * time.Minute)
		_, errs := together(t.Context(), client, 10)
		require.NoError(t, errors.Join(errs...))
		time.Sleep(time.Second)
		synctest.Wait()
		assert.JSONEq(t, `[{"level":"WARN","msg":"token not refreshed ahead of its end","operation":"acquireToken","code":3303,
			"symbol":"ErrorGetTokenBadCredentials","party":"authority","credential":"client secret","host":"login.windows.net","status":401,
			"service":"invalid_client","aadsts":"AADSTS7000222","message":"AADSTS7000222: No.","correlation":"id","attempts":1,"duration":0.01}]`, records(t, log))
	})
}

// Close ends a refresh that is under way, which is no news.
func TestLogOfClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, log := warned(t)
		serves(t, client)
		time.Sleep(56 * time.Minute)
		_, err := client.GetKey(t.Context(), "tde", "")
		require.NoError(t, err)
		client.Close()
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Empty(t, log.String())
	})
}

// A handler that panics costs no token.
func TestLogHandlerBehindTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		cred, err := aad.NewTokenSource(tokenSource(func(context.Context, challenge.Challenge) (aad.Token, error) {
			asked++
			return aad.NewToken("t0ken-value", time.Now().Add(time.Hour)), nil
		}))
		require.NoError(t, err)
		tokens := aad.NewTokens(cred, &aad.Options{Logger: slog.New(panicking{})})
		defer tokens.Close()
		demand := challenge.Challenge{Authority: "https://login.windows.net/tenant", Resource: "https://vault.azure.net"}
		assert.Panics(t, func() { _, _ = tokens.Get(t.Context(), demand) })
		for range 3 {
			_, err = tokens.Get(t.Context(), demand)
			assert.NoError(t, err)
		}
		assert.Equal(t, 1, asked)
	})
}

type panicking struct{ slog.Handler }

func (panicking) Enabled(context.Context, slog.Level) bool  { return true }
func (panicking) Handle(context.Context, slog.Record) error { panic("handler") }

// What nobody reads costs nothing.
func TestLogThatIsOffAllocatesNothing(t *testing.T) {
	allocations := func(opts akv.Options) float64 {
		client := scriptedClient(t, opts, func(r *http.Request) *http.Response {
			return reply(r, 200, `{`+loggedID+`,"value":"AAAA"}`)
		})
		key := dataKey()
		return testing.AllocsPerRun(200, func() {
			if _, err := client.WrapKey(t.Context(), "tde", "", akv.RSAOAEP256, key); err != nil {
				panic(err)
			}
		})
	}
	silent := allocations(akv.Options{})
	quiet := slog.New(slog.NewJSONHandler(io.Discard, nil))
	assert.LessOrEqual(t, allocations(akv.Options{Logger: quiet, SuccessLevel: slog.LevelDebug}), silent)
	assert.Greater(t, allocations(akv.Options{Logger: quiet}), silent, "and there is something to spare")
}
