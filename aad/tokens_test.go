package aad_test

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/retry"
)

// demand is what every test asks a token for.
func demand() challenge.Challenge {
	return challenge.Challenge{
		Authority: "https://login.microsoftonline.com/contoso.com", Tenant: "contoso.com",
		Resource: "https://vault.azure.net", Scope: "https://vault.azure.net/.default",
	}
}

// An authority answers token requests as its answer function says, and counts them.
type authority struct {
	requests atomic.Int64
	mu       sync.Mutex
	forms    []url.Values
	answer   func(n int64, r *http.Request, form url.Values) (status int, body string)
	delay    time.Duration
}

func (a *authority) RoundTrip(r *http.Request) (*http.Response, error) {
	n := a.requests.Add(1)
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.forms = append(a.forms, form)
	a.mu.Unlock()
	select {
	case <-time.After(a.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	status, body := a.answer(n, r, form)
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}

// numbered gives each request a token of its own, "token-1" and so on.
func numbered(seconds int) func(int64, *http.Request, url.Values) (int, string) {
	return func(n int64, _ *http.Request, _ url.Values) (int, string) {
		return 200, fmt.Sprintf(`{"token_type":"Bearer","expires_in":%d,"access_token":"token-%d"}`, seconds, n)
	}
}

func newTokens(t *testing.T, a http.RoundTripper, opts aad.Options) *aad.Tokens {
	t.Helper()
	cred, err := aad.NewClientSecret("11111111-2222-3333-4444-555555555555", "s3cret~value")
	require.NoError(t, err)
	opts.Transport = a
	tokens := aad.NewTokens(cred, &opts)
	t.Cleanup(tokens.Close)
	return tokens
}

func TestRequestForm(t *testing.T) {
	a := &authority{answer: numbered(3599)}
	c := demand()
	_, err := newTokens(t, a, aad.Options{}).Get(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {"11111111-2222-3333-4444-555555555555"},
		"client_secret": {"s3cret~value"},
		"scope":         {"https://vault.azure.net/.default"},
		"claims":        {`{"access_token":{"xms_cc":{"values":["cp1"]}}}`},
	}, a.forms[0])

	old := &authority{answer: numbered(3599)}
	_, err = newTokens(t, old, aad.Options{V1: true}).Get(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, []string{"https://vault.azure.net"}, old.forms[0]["resource"])
	assert.NotContains(t, old.forms[0], "scope", "v2's parameter; AADSTS901002 the other way round")
	assert.NotContains(t, old.forms[0], "claims", "AD FS does not know them")
}

func TestRenewMergesClaims(t *testing.T) {
	a := &authority{answer: numbered(3599)}
	tokens := newTokens(t, a, aad.Options{})
	c := demand()
	first, err := tokens.Get(t.Context(), c)
	require.NoError(t, err)
	c.Claims = `{"access_token":{"nbf":{"essential":true,"value":"1726077595"}}}`
	second, _, err := tokens.Renew(t.Context(), c, first)
	require.NoError(t, err)
	assert.NotEqual(t, first.Reveal(), second.Reveal())
	assert.JSONEq(t, `{"access_token":{"nbf":{"essential":true,"value":"1726077595"},"xms_cc":{"values":["cp1"]}}}`, a.forms[1].Get("claims"))

	again, _, err := tokens.Renew(t.Context(), c, first)
	require.NoError(t, err)
	assert.Equal(t, second.Reveal(), again.Reveal(), "somebody was faster: no further exchange")
	got, err := tokens.Get(t.Context(), demand())
	require.NoError(t, err)
	assert.Equal(t, second.Reveal(), got.Reveal())
	assert.EqualValues(t, 2, a.requests.Load())
}

func TestOneExchangeForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{answer: numbered(3599), delay: time.Second}
		tokens := newTokens(t, a, aad.Options{})
		var group sync.WaitGroup
		for range 500 {
			group.Go(func() {
				tok, err := tokens.Get(t.Context(), demand())
				assert.NoError(t, err)
				assert.Equal(t, "token-1", tok.Reveal())
			})
		}
		group.Wait()
		assert.EqualValues(t, 1, a.requests.Load())
	})
}

func TestDemandsDoNotMix(t *testing.T) {
	a := &authority{answer: numbered(3599)}
	tokens := newTokens(t, a, aad.Options{})
	seen := map[string]bool{}
	for _, resource := range []string{"https://vault.azure.net", "https://managedhsm.azure.net"} {
		for _, tenant := range []string{"contoso.com", "fabrikam.com"} {
			c := challenge.Challenge{Authority: "https://login.windows.net/" + tenant, Tenant: tenant, Resource: resource, Scope: resource + "/.default"}
			for range 2 {
				tok, err := tokens.Get(t.Context(), c)
				require.NoError(t, err)
				seen[tok.Reveal()] = true
			}
		}
	}
	assert.Len(t, seen, 4)
}

func TestWaitersLeaveAtTheirOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{answer: numbered(3599), delay: 2 * time.Second}
		tokens := newTokens(t, a, aad.Options{})
		start := time.Now()
		var group sync.WaitGroup
		group.Go(func() {
			tok, err := tokens.Get(t.Context(), demand())
			assert.NoError(t, err)
			assert.Equal(t, "token-1", tok.Reveal())
			assert.Equal(t, 2*time.Second, time.Since(start))
		})
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
			defer cancel()
			_, err := tokens.Get(ctx, demand())
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, ekm.SCPErrFailure, ekm.CodeOf(err))
			assert.Equal(t, 700*time.Millisecond, time.Since(start))
		})
		group.Wait()
		assert.EqualValues(t, 1, a.requests.Load())
	})
}

func TestLastWaiterCallsTheExchangeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{answer: numbered(3599), delay: time.Hour}
		tokens := newTokens(t, a, aad.Options{Timeouts: aad.WireTimeouts{Try: 2 * time.Hour}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := tokens.Get(ctx, demand())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait() // a goroutine left behind would end the bubble with a failure
		a.delay = 0
		_, err = tokens.Get(t.Context(), demand())
		assert.NoError(t, err, "one caller's deadline is nobody else's failure")
	})
}

func TestFailureIsSharedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := numbered(3599)
		a := &authority{delay: time.Second, answer: func(n int64, r *http.Request, form url.Values) (int, string) {
			if n == 1 {
				return 401, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215]}`
			}
			return good(n, r, form)
		}}
		tokens := newTokens(t, a, aad.Options{})
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * 15 * time.Millisecond) // some wait, some come later
				_, err := tokens.Get(t.Context(), demand())
				assert.ErrorIs(t, err, ekm.ErrorGetTokenBadCredentials)
			})
		}
		group.Wait()
		assert.EqualValues(t, 1, a.requests.Load())

		time.Sleep(time.Second)
		_, err := tokens.Get(t.Context(), demand())
		assert.NoError(t, err, "a mended secret is tried soon")
		assert.EqualValues(t, 2, a.requests.Load())
	})
}

func TestRefreshAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{answer: numbered(3600), delay: 3 * time.Second}
		tokens := newTokens(t, a, aad.Options{})
		get := func() string {
			start := time.Now()
			tok, err := tokens.Get(t.Context(), demand())
			require.NoError(t, err)
			if a.requests.Load() > 1 {
				assert.Zero(t, time.Since(start), "callers are not kept waiting by a refresh")
			}
			return tok.Reveal()
		}
		assert.Equal(t, "token-1", get())
		time.Sleep(54 * time.Minute)
		assert.Equal(t, "token-1", get())
		assert.EqualValues(t, 1, a.requests.Load(), "six minutes before the end is too early")
		time.Sleep(2 * time.Minute)
		assert.Equal(t, "token-1", get(), "the old one, while the new one is fetched")
		assert.Equal(t, "token-1", get())
		time.Sleep(4 * time.Second)
		assert.Equal(t, "token-2", get())
		assert.EqualValues(t, 2, a.requests.Load())
	})
}

func TestRefreshAheadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := numbered(3600)
		a := &authority{answer: func(n int64, r *http.Request, form url.Values) (int, string) {
			if n == 1 {
				return good(n, r, form)
			}
			return 503, `{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error has occurred.","error_codes":[90033]}`
		}}
		tokens := newTokens(t, a, aad.Options{Retry: retry.Policy{Attempts: 1}})
		_, err := tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		time.Sleep(56 * time.Minute)
		for range 60 { // a minute in which somebody asks each second
			_, err = tokens.Get(t.Context(), demand())
			require.NoError(t, err, "the old token is good until its end")
			time.Sleep(time.Second)
		}
		assert.EqualValues(t, 3, a.requests.Load(), "a refresh is tried again after thirty seconds, not by each caller")
		time.Sleep(4 * time.Minute)
		_, err = tokens.Get(t.Context(), demand())
		assert.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
	})
}

func TestAnnouncedRefreshWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{answer: func(n int64, _ *http.Request, _ url.Values) (int, string) {
			return 200, fmt.Sprintf(`{"token_type":"Bearer","expires_in":86399,"refresh_in":"600","access_token":"token-%d"}`, n)
		}}
		tokens := newTokens(t, a, aad.Options{})
		_, err := tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		time.Sleep(601 * time.Second)
		_, err = tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		synctest.Wait()
		assert.EqualValues(t, 2, a.requests.Load())
	})
}

func TestCloseEndsTheRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{answer: numbered(3600)}
		tokens := newTokens(t, a, aad.Options{Timeouts: aad.WireTimeouts{Try: 2 * time.Hour}})
		_, err := tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		a.delay = time.Hour
		time.Sleep(56 * time.Minute)
		_, err = tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		start := time.Now()
		tokens.Close()
		synctest.Wait()
		assert.Zero(t, time.Since(start))
	})
}

type sourceFunc func(context.Context, challenge.Challenge) (aad.Token, error)

func (f sourceFunc) Token(ctx context.Context, c challenge.Challenge) (aad.Token, error) {
	return f(ctx, c)
}

func TestForeignTokenSource(t *testing.T) {
	_, err := aad.NewTokenSource(nil)
	assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument)

	ownError := errors.New("the vending machine is empty")
	for _, c := range []struct {
		name   string
		source sourceFunc
		want   error
	}{
		{"good", func(context.Context, challenge.Challenge) (aad.Token, error) {
			return aad.NewToken("abc", time.Now().Add(time.Hour)), nil
		}, nil},
		{"its error", func(context.Context, challenge.Challenge) (aad.Token, error) { return aad.Token{}, ownError }, ownError},
		{"empty", func(context.Context, challenge.Challenge) (aad.Token, error) { return aad.Token{}, nil }, ekm.ErrorGetTokenFailedToGetToken},
		{"expired", func(context.Context, challenge.Challenge) (aad.Token, error) {
			return aad.NewToken("abc", time.Now().Add(-time.Second)), nil
		}, ekm.ErrorGetTokenFailedToGetToken},
		{"line break", func(context.Context, challenge.Challenge) (aad.Token, error) {
			return aad.NewToken("abc\r\nX-Evil: 1", time.Now().Add(time.Hour)), nil
		}, ekm.ErrorGetTokenFailedToGetToken},
	} {
		t.Run(c.name, func(t *testing.T) {
			cred, err := aad.NewTokenSource(c.source)
			require.NoError(t, err)
			tokens := aad.NewTokens(cred, nil)
			defer tokens.Close()
			_, err = tokens.Get(t.Context(), demand())
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			assert.ErrorIs(t, err, c.want)
			assert.ErrorIs(t, err, ekm.ErrorGetTokenFailedToGetToken)
			assert.NotContains(t, err.Error(), "abc")
		})
	}
}

func TestTokenIsNotPrinted(t *testing.T) {
	const shown = "aad.Token(expires 1970-01-01T00:00:01Z)"
	tok := aad.NewToken("very-secret", time.Unix(1, 0))
	assert.Equal(t, "very-secret", tok.Reveal())
	assert.Empty(t, aad.Token{}.Reveal())

	text, err := json.Marshal(map[string]any{"token": tok, "pointer": &tok})
	require.NoError(t, err)
	assert.JSONEq(t, `{"token": "`+shown+`", "pointer": "`+shown+`"}`, string(text))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		assert.Equal(t, shown, fmt.Sprintf(verb, tok), verb)
	}
	assert.Equal(t, shown, tok.LogValue().String())
	assert.ErrorContains(t, gob.NewEncoder(io.Discard).Encode(tok), "aad.Token", "it would come back without its value")

	// Package fmt calls no methods on unexported fields.
	inner := struct{ token aad.Token }{tok}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed := fmt.Sprintf(verb, inner)
		assert.NotContains(t, printed, "very-secret", verb)
		assert.NotContains(t, printed, fmt.Sprintf("%x", "very-secret"), verb)
	}
}

// Without a round tripper there is no way out, and no panic either.
func TestWrapThatReturnsNothing(t *testing.T) {
	for name, made := range map[string]http.RoundTripper{"nil": nil, "a nil pointer": (*http.Transport)(nil)} {
		cred, err := aad.NewClientSecret("id", "secret")
		require.NoError(t, err)
		tokens := aad.NewTokens(cred, &aad.Options{Wrap: func(http.RoundTripper) http.RoundTripper { return made }})
		_, err = tokens.Get(t.Context(), challenge.Challenge{Authority: "https://login.windows.net/t", Resource: "https://vault.azure.net"})
		tokens.Close()
		requireCode(t, ekm.ErrorHttpGetResponseCode, err)
		assert.ErrorContains(t, err, "what was to wrap it returned none", name)
	}
}
