package akv_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
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
	"github.com/akv-ekm/ekm/retry"
)

// A world is a vault and its tenants. Its fields may change between calls.
type world struct {
	mu        sync.Mutex
	challenge string                                              // of a 401
	tenant    func(host, tenant string) (status int, body string) // answers token requests; status 0: no connection
	accepts   func(token string) bool
	probes    int // requests to the vault without a token
	tokens    int // requests for tokens
}

const wholeKey = `{"key":{"kid":"https://contoso.vault.azure.net/keys/tde/0123456789abcdef0123456789abcdef","kty":"RSA","key_ops":["wrapKey"],"n":"%s","e":"AQAB"},"attributes":{"enabled":true}}`

// newWorld is a vault in tenant A of a known login host, which takes A's tokens.
func newWorld() *world {
	return &world{
		challenge: demandOf("login.windows.net", "tenant-a"),
		tenant:    func(_, tenant string) (int, string) { return 200, tokenFor(tenant) },
		accepts:   func(token string) bool { return strings.HasPrefix(token, "token-of-tenant-a") },
	}
}

func demandOf(host, tenant string) string {
	return fmt.Sprintf(`Bearer authorization="https://%s/%s", resource="https://vault.azure.net"`, host, tenant)
}

func tokenFor(tenant string) string {
	return fmt.Sprintf(`{"token_type":"Bearer","expires_in":3600,"access_token":"token-of-%s"}`, tenant)
}

func refusal(number int, code string) string {
	return fmt.Sprintf(`{"error":%q,"error_description":"AADSTS%d: No.","error_codes":[%d]}`, code, number, number)
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(10 * time.Millisecond):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	token, authorized := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !strings.HasSuffix(r.URL.Host, ".vault.azure.net"):
		w.tokens++
		status, body := w.tenant(r.URL.Host, strings.Split(r.URL.Path, "/")[1])
		if status == 0 {
			return nil, fmt.Errorf("connection refused")
		}
		return reply(r, status, body), nil
	case !authorized:
		w.probes++
		fallthrough
	case !w.accepts(token):
		return reply(r, 401, "", "WWW-Authenticate", w.challenge), nil
	}
	modulus := base64.RawURLEncoding.EncodeToString(testKey().N.Bytes())
	return reply(r, 200, fmt.Sprintf(wholeKey, modulus)), nil
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) client(t testing.TB, cred aad.Credential, opts akv.Options) *akv.Client {
	t.Helper()
	opts.Transport = w
	client, err := akv.NewClient("contoso", cred, &opts)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func someSecret(t testing.TB) aad.Credential {
	t.Helper()
	cred, err := aad.NewClientSecret("id", "s3cret~value")
	require.NoError(t, err)
	return cred
}

func get(t testing.TB, client *akv.Client) error {
	t.Helper()
	_, err := client.GetKey(t.Context(), "tde", "")
	return err
}

// A challenge that is wrong for a moment fails the calls of that moment: the next
// call, of the same client or a new one, asks the vault again.
func TestBadChallengeIsNotRemembered(t *testing.T) {
	good := newWorld().challenge
	for name, c := range map[string]struct {
		challenge string
		tenant    func(host, tenant string) (int, string)
		code      ekm.Code
	}{
		"untrusted authority": {challenge: demandOf("portal.example", "tenant-a"), code: ekm.ErrorGetAADDomainUrlMalformatted},
		"foreign resource": {
			challenge: strings.Replace(good, "https://vault.azure.net", "https://graph.microsoft.com", 1),
			code:      ekm.ErrorGetAKVResourceUrlStopPosition,
		},
		"an authority that cannot be reached": {
			challenge: demandOf("login.microsoftonline.us", "tenant-a"),
			tenant:    func(string, string) (int, string) { return 0, "" },
			code:      ekm.ErrorHttpSendRequest,
		},
		"a tenant that is refused with 400": {
			challenge: demandOf("login.windows.net", "tenant-x"),
			tenant:    func(string, string) (int, string) { return 400, refusal(90002, "invalid_request") },
			code:      ekm.ErrorHttpResponseCodeClientError,
		},
		"with 401": {
			challenge: demandOf("login.windows.net", "tenant-x"),
			tenant:    func(string, string) (int, string) { return 401, refusal(7000215, "invalid_client") },
			code:      ekm.ErrorGetTokenBadCredentials,
		},
		"with 403": {
			challenge: demandOf("login.windows.net", "tenant-x"),
			tenant:    func(string, string) (int, string) { return 403, "" },
			code:      ekm.ErrorHttpOperationForbidden,
		},
		"with 404": {
			challenge: demandOf("login.windows.net", "tenant-x"),
			tenant:    func(string, string) (int, string) { return 404, "" },
			code:      ekm.ErrorHttpResourceNotFound,
		},
		"a token of no use": {
			challenge: demandOf("login.windows.net", "tenant-x"),
			tenant:    func(string, string) (int, string) { return 200, "<html>" },
			code:      ekm.ErrorGetTokenJsonParser,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, cred := newWorld(), someSecret(t)
				usual := w.tenant
				w.challenge = c.challenge
				if c.tenant != nil {
					w.tenant = c.tenant
				}
				client := w.client(t, cred, akv.Options{Retry: retry.Policy{Attempts: 1}})
				require.ErrorIs(t, get(t, client), c.code)
				w.set(func() { w.challenge, w.tenant = good, usual })
				assert.NoError(t, get(t, client), "the same client, at once")
				assert.NoError(t, get(t, w.client(t, cred, akv.Options{})), "a new one")
			})
		})
	}
}

// Asking the vault again does not multiply what a wrong secret costs.
func TestStormOfWrongSecrets(t *testing.T) {
	for _, known := range []bool{false, true} {
		t.Run(fmt.Sprint("challenge known: ", known), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				client := w.client(t, someSecret(t), akv.Options{})
				if known {
					require.NoError(t, get(t, client))
				}
				w.set(func() {
					w.probes, w.tokens = 0, 0
					w.tenant = func(string, string) (int, string) { return 401, refusal(7000222, "invalid_client") }
				})
				time.Sleep(2 * time.Hour)
				var group sync.WaitGroup
				for i := range 100 {
					group.Go(func() {
						time.Sleep(time.Duration(i) * time.Millisecond)
						assert.ErrorIs(t, get(t, client), ekm.ErrorGetTokenBadCredentials)
					})
				}
				group.Wait()
				assert.Equal(t, 1, w.tokens)
				assert.LessOrEqual(t, w.probes, 12, "one at a time, of ten milliseconds each")
			})
		})
	}
}

// An application that the tenant does not know has the code of that, with whatever
// status Entra ID says it.
func TestNoServicePrincipal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.tenant = func(string, string) (int, string) { return 401, refusal(7000229, "invalid_client") }
		_, err := w.client(t, someSecret(t), akv.Options{}).GetKey(t.Context(), "tde", "")
		var e *ekm.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, []any{ekm.ErrorHttpResponseCodeClientError, ekm.Authority, 401, "AADSTS7000229"}, []any{e.Code, e.Party, e.Status, e.AADSTS})
	})
}

// A demand that one client trusts is not used by another that does not, even if
// that one has believed an earlier demand of the same vault.
func TestEachNewDemandIsHeldAgainstTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, cred := newWorld(), someSecret(t)
		wary := w.client(t, cred, akv.Options{})
		require.NoError(t, get(t, wary))

		w.set(func() {
			w.challenge = demandOf("login.contoso.example", "tenant-b")
			w.accepts = func(token string) bool { return token == "token-of-tenant-b" }
		})
		trusting := w.client(t, cred, akv.Options{Trust: challenge.Policy{Authorities: []string{"login.contoso.example"}}})
		require.NoError(t, get(t, trusting), "it has been told the new demand with a 401")
		w.set(func() {
			w.tenant = func(host, tenant string) (int, string) {
				assert.NotEqual(t, "login.contoso.example", host, "the wary client sends its secret to nobody that it does not trust")
				return 200, tokenFor(tenant)
			}
		})
		assert.ErrorIs(t, get(t, wary), ekm.ErrorGetAADDomainUrlMalformatted)
	})
}

// Tokens of half a minute and a queue of forty seconds: the token is the newest one
// when the turn has come, and no request is wasted on an old one.
func TestTokenIsTakenWhenTheTurnComes(t *testing.T) {
	for _, life := range []time.Duration{30 * time.Second, time.Minute} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				var issued, vault, rejected, served atomic.Int64
				start := time.Now()
				w.tenant = func(string, string) (int, string) {
					issued.Add(1)
					return 200, fmt.Sprintf(`{"token_type":"Bearer","expires_in":%d,"access_token":"%d"}`, int(life.Seconds()), time.Since(start).Milliseconds())
				}
				limit := 0.0
				last := start
				w.accepts = func(string) bool { return true }
				limited := roundTripper(func(r *http.Request) (*http.Response, error) {
					token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
					if !ok {
						return w.RoundTrip(r)
					}
					time.Sleep(10 * time.Millisecond)
					w.mu.Lock()
					defer w.mu.Unlock()
					vault.Add(1)
					limit = min(20, limit+20*time.Since(last).Seconds())
					last = time.Now()
					if limit < 1 {
						return reply(r, 429, ""), nil
					}
					limit--
					var born int64
					if _, err := fmt.Sscan(token, &born); err != nil || time.Since(start) > time.Duration(born)*time.Millisecond+life {
						rejected.Add(1)
						return reply(r, 401, "", "WWW-Authenticate", w.challenge), nil
					}
					served.Add(1)
					return reply(r, 200, fmt.Sprintf(wholeKey, base64.RawURLEncoding.EncodeToString(testKey().N.Bytes()))), nil
				})
				client, err := akv.NewClient("contoso", someSecret(t), &akv.Options{Transport: limited})
				require.NoError(t, err)
				defer client.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				defer cancel()
				var failed atomic.Int64
				var group sync.WaitGroup
				for range 800 {
					group.Go(func() {
						for ctx.Err() == nil {
							if _, err := client.GetKey(ctx, "tde", ""); err != nil && ctx.Err() == nil {
								failed.Add(1)
							}
						}
					})
				}
				group.Wait()
				assert.Zero(t, failed.Load())
				assert.Zero(t, rejected.Load(), "of %d requests", vault.Load())
				assert.Greater(t, served.Load(), int64(3*60*20*8/10))
				assert.LessOrEqual(t, issued.Load(), int64(180/(life.Seconds()*0.7)+2))
			})
		})
	}
}

// A call whose token is rejected does not go to the end of the queue.
func TestRejectedTokenKeepsThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		slow := roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Authorization") != "" {
				time.Sleep(time.Second)
			}
			return w.RoundTrip(r)
		})
		opts := akv.Options{Transport: slow, Gate: &retry.Gate{InFlight: 1}}
		revoked, err := akv.NewClient("contoso", someSecret(t), &opts)
		require.NoError(t, err)
		defer revoked.Close()
		require.NoError(t, get(t, revoked))
		w.set(func() {
			w.tenant = func(string, string) (int, string) {
				return 200, `{"token_type":"Bearer","expires_in":3600,"access_token":"second"}`
			}
			w.accepts = func(token string) bool { return token == "second" }
		})
		others, err := akv.NewClient("contoso", someSecret(t), &opts)
		require.NoError(t, err)
		defer others.Close()
		require.NoError(t, get(t, others))
		var mu sync.Mutex
		var order []int
		var group sync.WaitGroup
		for i := range 20 {
			client := others
			if i == 0 {
				client = revoked
			}
			group.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				assert.NoError(t, get(t, client))
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			})
		}
		group.Wait()
		// Its renewal takes a moment in which the next one is let in.
		require.Len(t, order, 20)
		assert.Equal(t, []int{1, 0, 2}, order[:3])
	})
}

// Two hundred callers, each of which is told claims of its own.
func TestClaimsForEveryCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := 0
		w.tenant = func(string, string) (int, string) {
			n++
			return 200, fmt.Sprintf(`{"token_type":"Bearer","expires_in":3600,"access_token":"token-%d"}`, n)
		}
		var serial atomic.Int64
		unique := roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := w.RoundTrip(r)
			if err == nil && resp.StatusCode == 401 && r.Header.Get("Authorization") != "" {
				claims := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"access_token":{"nbf":{"essential":true,"value":"%d"}}}`, serial.Add(1)))
				resp.Header.Set("WWW-Authenticate", `Bearer authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="`+claims+`"`)
			}
			return resp, err
		})
		w.accepts = func(token string) bool { return token != "token-1" }
		client, err := akv.NewClient("contoso", someSecret(t), &akv.Options{Transport: unique, Gate: &retry.Gate{InFlight: 1000}})
		require.NoError(t, err)
		defer client.Close()
		var group sync.WaitGroup
		for range 200 {
			group.Go(func() { assert.NoError(t, get(t, client)) })
		}
		group.Wait()
		assert.EqualValues(t, 200, serial.Load(), "all of them were told")
		assert.Equal(t, 2, w.tokens)
	})
}

// One caller has no time left for a retry. That is no reason to fail for anybody
// else, now or a moment later.
func TestImpatientCallersFailAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		fails := 1
		w.tenant = func(_, tenant string) (int, string) {
			if fails > 0 {
				fails--
				return 503, ""
			}
			return 200, tokenFor(tenant)
		}
		client := w.client(t, someSecret(t), akv.Options{})
		hurried, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := client.GetKey(hurried, "tde", "")
		require.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
		var group sync.WaitGroup
		for range 1000 {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := client.GetKey(ctx, "tde", "")
				assert.NoError(t, err)
			})
		}
		group.Wait()
		assert.Equal(t, 2, w.tokens)
	})
}

// A client with limits, retries or times that are too small shares its successes,
// not its failures, with others that use the credential at the same moment.
func TestOwnLimitsFailAlone(t *testing.T) {
	for name, opts := range map[string]akv.Options{
		"limit of the token reply": {Limits: akv.Limits{Token: 10}},
		"limit of any body":        {Limits: akv.Limits{Body: 10}},
		"limit of the request":     {Limits: akv.Limits{Request: 10}},
		"limit of the URL":         {Limits: akv.Limits{URL: 10}},
		"no retries":               {Retry: retry.Policy{Attempts: 1}},
		"time of one try":          {Timeouts: akv.Timeouts{Try: 5 * time.Millisecond}, Retry: retry.Policy{Attempts: 1}},
	} {
		// The others come while the vault is asked for its challenge, and while the
		// authority is asked for a token.
		for _, later := range []time.Duration{5 * time.Millisecond, 15 * time.Millisecond} {
			t.Run(fmt.Sprint(name, ", others ", later, " later"), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, cred := newWorld(), someSecret(t)
					failing := name == "no retries"
					w.tenant = func(_, tenant string) (int, string) {
						if failing {
							failing = false
							return 503, ""
						}
						return 200, tokenFor(tenant)
					}
					small, usual := w.client(t, cred, opts), w.client(t, cred, akv.Options{})
					var group sync.WaitGroup
					group.Go(func() {
						if err := get(t, small); later == 15*time.Millisecond {
							assert.Error(t, err, "nobody else's work can spare it")
						}
					})
					time.Sleep(later)
					for range 10 {
						group.Go(func() { assert.NoError(t, get(t, usual)) })
					}
					group.Wait()
				})
			})
		}
	}
}

// Pages that do not end are told, with how far the list had got.
func TestPagesThatDoNotEnd(t *testing.T) {
	page := func(item, next string) string {
		return fmt.Sprintf(`{"value":[{"kid":"https://contoso.vault.azure.net/keys/%s","attributes":{"enabled":true}}],"nextLink":"https://contoso.vault.azure.net/keys?$skiptoken=%s"}`, item, next)
	}
	for name, c := range map[string]struct {
		next  func(token string, n int) string
		items int
	}{
		"to itself":      {func(string, int) string { return "a" }, 2},
		"a cycle of two": {func(token string, _ int) string { return map[string]string{"": "a", "a": "b", "b": "a"}[token] }, 3},
		"a cycle of three": {func(token string, _ int) string {
			return map[string]string{"": "a", "a": "b", "b": "c", "c": "a"}[token]
		}, 4},
		"always a new one": {func(_ string, n int) string { return fmt.Sprint(n) }, 50},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			client := scriptedClient(t, akv.Options{Limits: akv.Limits{Pages: 50}}, func(r *http.Request) *http.Response {
				n++
				return reply(r, 200, page(fmt.Sprint("key-", n), c.next(r.URL.Query().Get("$skiptoken"), n)))
			})
			items := 0
			var last error
			for _, err := range client.Keys(t.Context()) {
				if last = err; err == nil {
					items++
				}
			}
			require.ErrorIs(t, last, ekm.SCPErrProviderError)
			assert.Equal(t, c.items, items)
			assert.ErrorContains(t, last, fmt.Sprintf("%d pages with %d keys", items, items))
		})
	}
}

// A backup grows with each version of its key: five hundred take five megabytes.
func TestLargeBackups(t *testing.T) {
	blob := bytes.Repeat([]byte{1, 2, 3}, 2<<20)
	text := base64.RawURLEncoding.EncodeToString(blob)
	var restored atomic.Int64
	vault := func(r *http.Request) *http.Response {
		if strings.HasSuffix(r.URL.Path, "/backup") {
			return reply(r, 200, `{"value":"`+text+`"}`)
		}
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		restored.Store(int64(len(body)))
		return reply(r, 200, fmt.Sprintf(wholeKey, base64.RawURLEncoding.EncodeToString(testKey().N.Bytes())))
	}
	client := scriptedClient(t, akv.Options{}, vault)
	got, err := client.BackupKey(t.Context(), "tde")
	require.NoError(t, err)
	require.Equal(t, blob, got)
	_, err = client.RestoreKey(t.Context(), got)
	require.NoError(t, err)
	assert.Greater(t, restored.Load(), int64(len(blob)))

	small := scriptedClient(t, akv.Options{Limits: akv.Limits{Backup: 1 << 20}}, vault)
	_, err = small.BackupKey(t.Context(), "tde")
	assert.ErrorIs(t, err, ekm.ErrorBackupKeyOutOfMemoryConvertResponseString)
	assert.ErrorContains(t, err, "Limits.Backup")
	_, err = small.RestoreKey(t.Context(), got)
	assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument)
	assert.ErrorContains(t, err, "Limits.Backup")
}
