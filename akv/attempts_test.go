package akv_test

import (
	"context"
	"fmt"
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
	"github.com/akv-ekm/ekm/retry"
)

// turnwise answers a vault's and an authority's requests in turn, each with the last
// of its answers for ever: a status, or a good answer for 200.
type turnwise struct {
	challenges, tokens, calls []int

	mu sync.Mutex
	n  [3]int
}

func (s *turnwise) RoundTrip(r *http.Request) (*http.Response, error) {
	kind, statuses := 2, s.calls
	switch {
	case strings.HasPrefix(r.URL.Host, "login."):
		kind, statuses = 1, s.tokens
	case r.URL.Host == "169.254.169.254":
		kind, statuses = 1, s.tokens
	case r.Header.Get("Authorization") == "":
		kind, statuses = 0, s.challenges
	}
	s.mu.Lock()
	status := 200
	if kind == 0 {
		status = 401
	}
	if len(statuses) > 0 {
		status = statuses[min(s.n[kind], len(statuses)-1)]
	}
	s.n[kind]++
	n := s.n[kind]
	s.mu.Unlock()
	switch {
	case status == 0:
		return nil, fmt.Errorf("no answer: %w", context.DeadlineExceeded)
	case kind == 0 && status == 401:
		return reply(r, status, "", "WWW-Authenticate", usualChallenge), nil
	case kind == 1 && status == 200:
		return reply(r, status, fmt.Sprintf(`{"token_type":"Bearer","expires_in":"3599","access_token":"t0ken-%d"}`, n)), nil
	case kind == 1:
		return reply(r, status, `{"error":"invalid_client","error_description":"AADSTS7000215: no"}`), nil
	case status == 401:
		return reply(r, status, "", "WWW-Authenticate", usualChallenge), nil
	default:
		return reply(r, status, `{"error":{"code":"KeyNotFound","message":"no"}}`), nil
	}
}

func (s *turnwise) sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n[0] + s.n[1] + s.n[2]
}

// An error tells of all exchanges that were made for its operation: as many as the
// transport has seen.
func TestAttemptsCountTheWholeOperation(t *testing.T) {
	secret := func() (aad.Credential, error) { return aad.NewClientSecret("id", "s3cret~value") }
	reloading := func() (aad.Credential, error) {
		loaded := 0
		return aad.NewReloading(func(context.Context) (aad.Credential, error) {
			loaded++
			return aad.NewClientSecret("id", fmt.Sprint("s3cret~", loaded))
		})
	}
	managed := func() (aad.Credential, error) {
		return aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.IMDS})
	}
	for _, c := range []struct {
		why  string
		cred func() (aad.Credential, error)
		*turnwise
		opts akv.Options
		code ekm.Code
		want int
	}{
		{"a key that is missing", secret, &turnwise{calls: []int{404}}, akv.Options{}, ekm.ErrorHttpResourceNotFound, 3},
		{"the same with authority and resource given", secret, &turnwise{calls: []int{404}}, akv.Options{Authority: "https://login.windows.net/t"}, ekm.ErrorHttpResourceNotFound, 2},
		{"tries of the call", secret, &turnwise{calls: []int{500}}, akv.Options{Retry: retry.Policy{Attempts: 3}}, ekm.ErrorHttpResponseCodeServerError, 5},
		{"tries of all three", secret, &turnwise{challenges: []int{503, 401}, tokens: []int{503, 200}, calls: []int{503, 404}}, akv.Options{}, ekm.ErrorHttpResourceNotFound, 6},
		{"a try without an answer", secret, &turnwise{calls: []int{0, 404}}, akv.Options{}, ekm.ErrorHttpResourceNotFound, 4},
		{"no challenge", secret, &turnwise{challenges: []int{403}}, akv.Options{}, ekm.ErrorHttpOperationForbidden, 1},
		{"a challenge to be read that is none", secret, &turnwise{challenges: []int{200}}, akv.Options{}, ekm.ErrorHttpQueryHeaderNotFound, 1},
		{"a secret that is refused", secret, &turnwise{tokens: []int{401}}, akv.Options{}, ekm.ErrorGetTokenBadCredentials, 2},
		{"another one that is refused too", reloading, &turnwise{tokens: []int{401}}, akv.Options{}, ekm.ErrorGetTokenBadCredentials, 3},
		{"tokens that are rejected", secret, &turnwise{calls: []int{401}}, akv.Options{}, ekm.ErrorGetTokenRejected, 5},
		{"a renewal that fails", secret, &turnwise{tokens: []int{200, 401}, calls: []int{401}}, akv.Options{}, ekm.ErrorGetTokenBadCredentials, 4},
		{"a platform that is being updated", managed, &turnwise{tokens: []int{410, 410, 200}, calls: []int{404}}, akv.Options{}, ekm.ErrorHttpResourceNotFound, 5},
		{"a limit before the call", secret, &turnwise{}, akv.Options{Limits: akv.Limits{Authorization: 8}}, ekm.ErrorWrapKeyOutOfMemoryConcatHeader, 2},
		{"a limit before all", secret, &turnwise{}, akv.Options{Limits: akv.Limits{URL: 8}}, ekm.ErrorGetAADValuesOutOfMemoryConcatPath, 0},
		{"nothing decodes", secret, &turnwise{calls: []int{200}}, akv.Options{}, ekm.ErrorWrapKeyExtractValue, 3},
	} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cred, err := c.cred()
				require.NoError(t, err)
				c.opts.Transport = c.turnwise
				client, err := akv.NewClient("contoso", cred, &c.opts)
				require.NoError(t, err)
				defer client.Close()
				_, err = client.WrapKey(t.Context(), "tde", "", akv.RSAOAEP, []byte("key"))
				var e *ekm.Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, c.code, e.Code, "%v", err)
				assert.Equal(t, c.want, c.sent())
				assert.Equal(t, c.want, e.Attempts)
				assert.Equal(t, c.want > 1, strings.Contains(err.Error(), fmt.Sprintf("%d exchanges", c.want)), "%v", err)
			})
		})
	}
}

// A warm call has its own exchanges alone; callers who share those of a cold one
// count them each.
func TestAttemptsOfWarmAndSharedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &turnwise{calls: []int{404}}
		cred, err := aad.NewClientSecret("id", "s3cret~value")
		require.NoError(t, err)
		client, err := akv.NewClient("contoso", cred, &akv.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return s.RoundTrip(r)
		})})
		require.NoError(t, err)
		defer client.Close()
		attempts := func() int {
			_, err := client.GetKey(t.Context(), "tde", "")
			var e *ekm.Error
			require.ErrorAs(t, err, &e)
			return e.Attempts
		}
		var three atomic.Int32
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if attempts() == 3 {
					three.Add(1)
				}
			})
		}
		group.Wait()
		assert.EqualValues(t, 10, three.Load())
		assert.Equal(t, 12, s.sent())
		assert.Equal(t, 1, attempts())
	})
}

// The authority's refusal answers those who come within a second, for whom nothing
// is sent; and a caller who leaves is told how far the shared work had got.
func TestAttemptsWithoutExchangesOfOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &turnwise{tokens: []int{401}}
		cred, err := aad.NewClientSecret("id", "s3cret~value")
		require.NoError(t, err)
		client, err := akv.NewClient("contoso", cred, &akv.Options{Transport: s, Authority: "https://login.windows.net/t"})
		require.NoError(t, err)
		defer client.Close()
		for _, want := range []int{1, 0} {
			_, err = client.GetKey(t.Context(), "tde", "")
			var e *ekm.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, ekm.ErrorGetTokenBadCredentials, e.Code)
			assert.Equal(t, want, e.Attempts)
		}
		assert.Equal(t, 1, s.sent())
	})
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		client := unknownVault(t, roundTripper(func(r *http.Request) (*http.Response, error) {
			if sent++; strings.HasPrefix(r.URL.Host, "login.") {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return reply(r, 401, "", "WWW-Authenticate", usualChallenge), nil
		}))
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.GetKey(ctx, "tde", "")
		var e *ekm.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, []any{ekm.Authority, 2, 2}, []any{e.Party, e.Attempts, sent})
	})
}
