package akv_test

import (
	"encoding/base64"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/retry"
)

// A vault that has been moved to another tenant is asked again when the old one no
// longer gives a token, in the call that finds it out.
func TestVaultMovesWhateverTheOldTenantAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"no service principal":  {401, refusal(7000229, "invalid_client")},
		"the secret is too old": {401, refusal(7000222, "invalid_client")},
		"forbidden":             {403, ""},
		"not found":             {404, ""},
		"no such tenant":        {400, refusal(90002, "invalid_request")},
		"gone for good":         {0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, cred := newWorld(), someSecret(t)
				client := w.client(t, cred, akv.Options{Retry: retry.Policy{Attempts: 2}})
				require.NoError(t, get(t, client))
				w.set(func() {
					w.challenge = demandOf("login.windows.net", "tenant-b")
					w.tenant = func(_, tenant string) (int, string) {
						if tenant == "tenant-a" {
							return c.status, c.body
						}
						return 200, tokenFor(tenant)
					}
					w.accepts = func(token string) bool { return token == "token-of-tenant-b" }
				})
				time.Sleep(2 * time.Hour)
				assert.NoError(t, get(t, client))
				assert.NoError(t, get(t, client), "and it is remembered")
				assert.Equal(t, 2, w.probes)
			})
		})
	}
}

// moves puts the vault of w into tenant B. Tenant A no longer knows the application.
func (w *world) moves() {
	w.challenge = demandOf("login.windows.net", "tenant-b")
	w.tenant = func(_, tenant string) (int, string) {
		if tenant == "tenant-a" {
			return 401, refusal(7000229, "invalid_client")
		}
		return 200, tokenFor(tenant)
	}
}

// The same holds for a call whose token ends while it waits in the queue.
func TestVaultMovesWhileACallWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.tenant = func(string, string) (int, string) {
			return 200, `{"token_type":"Bearer","expires_in":15,"access_token":"token-of-tenant-a"}`
		}
		w.accepts = func(string) bool { return true } // else the first call would tell of tenant B
		slow := roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Authorization") != "" {
				time.Sleep(20 * time.Second)
			}
			return w.RoundTrip(r)
		})
		opts := akv.Options{Transport: slow, Gate: &retry.Gate{InFlight: 1}}
		client, err := akv.NewClient("contoso", someSecret(t), &opts)
		require.NoError(t, err)
		defer client.Close()
		var group sync.WaitGroup
		for i := range 2 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				assert.NoError(t, get(t, client), "call %d", i)
			})
		}
		time.Sleep(5 * time.Second)
		w.set(w.moves)
		group.Wait()
		assert.Equal(t, 2, w.probes)
		assert.Equal(t, 3, w.tokens, "of tenant A, its refusal, of tenant B")
	})
}

// And for a call whose token is rejected with a challenge that does not say where
// the vault is now.
func TestVaultMovesAndRejectsWithout(t *testing.T) {
	claims := base64.StdEncoding.EncodeToString([]byte(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`))
	for name, c := range map[string]struct {
		challenge string
		moves     bool
		code      ekm.Code
	}{
		"authority": {`Bearer error="insufficient_claims", claims="` + claims + `"`, true, ekm.ErrorSuccess},
		"challenge": {"", true, ekm.ErrorSuccess},
		// The vault names tenant A again: the failure is A's.
		"a move": {"", false, ekm.ErrorHttpResponseCodeClientError},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				silent := roundTripper(func(r *http.Request) (*http.Response, error) {
					resp, err := w.RoundTrip(r)
					if err == nil && resp.StatusCode == 401 && r.Header.Get("Authorization") != "" {
						resp.Header.Set("WWW-Authenticate", c.challenge)
					}
					return resp, err
				})
				client, err := akv.NewClient("contoso", someSecret(t), &akv.Options{Transport: silent})
				require.NoError(t, err)
				defer client.Close()
				require.NoError(t, get(t, client))
				w.set(func() {
					stays := w.challenge
					if w.moves(); !c.moves {
						w.challenge = stays
					}
					w.accepts = func(token string) bool { return token == "token-of-tenant-b" }
				})
				err = get(t, client)
				assert.Equal(t, c.code, ekm.CodeOf(err), "%v", err)
				assert.Equal(t, 2, w.probes, "once more, and once only")
			})
		})
	}
}
