package aad_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/retry"
)

// A wallClock is a machine's clock that somebody sets: time goes on as ever, only
// the date is another.
type wallClock struct{ off atomic.Int64 }

func (w *wallClock) set(off time.Duration) { w.off.Store(int64(off)) }

// now is the time whose wall reading is off and whose monotonic one is right. The
// kernel makes such times; package time does not, and in a synctest bubble it leaves
// the monotonic reading out. So the value is put together as package time has it.
func (w *wallClock) now() time.Time {
	t := time.Now()
	const since1885, withMonotonic = 2682288000, 1 << 63 // seconds before 1970
	wall := t.Add(time.Duration(w.off.Load()))
	made := time.Unix(0, 0)
	*(*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&made)) = struct {
		wall uint64
		ext  int64
		loc  *time.Location
	}{withMonotonic | uint64(wall.Unix()+since1885)<<30 | uint64(wall.Nanosecond()), t.UnixNano(), time.UTC}
	return made
}

func TestWallClock(t *testing.T) {
	var w wallClock
	before := w.now()
	for _, off := range []time.Duration{0, time.Hour, -time.Hour} {
		w.set(off)
		now := w.now()
		assert.InDelta(t, 0, now.Sub(before).Seconds(), 60, "by the monotonic clock")
		assert.WithinDuration(t, time.Now().Add(off), now.Round(0), time.Minute, "by the wall clock")
	}
}

// Whatever the tokens' times are compared with, an hour's step of the clock in
// either direction does no more than ask for one more token.
func TestClockIsSet(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		for _, expires := range []string{"expires_in", "expires_on"} {
			t.Run(fmt.Sprint(expires, ", ", step), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var w wallClock
					a := &authority{answer: func(n int64, _ *http.Request, _ url.Values) (int, string) {
						in := int64(3600)
						if expires == "expires_on" {
							in = time.Now().Unix() + 3600 // the authority's clock is right
						}
						return 200, fmt.Sprintf(`{"token_type":"Bearer",%q:%d,"access_token":"token-%d"}`, expires, in, n)
					}}
					tokens := newTokens(t, roundTrip(func(r *http.Request) (*http.Response, error) {
						resp, err := a.RoundTrip(r)
						if err == nil {
							resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
						}
						return resp, err
					}), aad.Options{})
					tokens.SetClock(w.now)
					get := func() string {
						tok, err := tokens.Get(t.Context(), demand())
						require.NoError(t, err)
						synctest.Wait() // for a refresh in the background
						return tok.Reveal()
					}
					get()
					w.set(step)
					for range 600 {
						get()
						time.Sleep(time.Second)
					}
					assert.LessOrEqual(t, a.requests.Load(), int64(2))

					w.set(0) // and back again
					for range 600 {
						get()
						time.Sleep(time.Second)
					}
					assert.LessOrEqual(t, a.requests.Load(), int64(3))
					time.Sleep(time.Hour)
					before := a.requests.Load()
					last := get()
					assert.Equal(t, before+1, a.requests.Load(), "a token whose life is over is not used")
					assert.Equal(t, fmt.Sprint("token-", before+1), last)
				})
			})
		}
	}
}

// A machine that slept has a monotonic clock that stood still.
func TestMachineSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wallClock
		a := &authority{answer: numbered(3600)}
		tokens := newTokens(t, a, aad.Options{})
		tokens.SetClock(w.now)
		_, err := tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		w.set(2 * time.Hour)
		tok, err := tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		assert.Equal(t, "token-2", tok.Reveal())
	})
}

// What is kept of a refusal does not outlive its second, wherever the clock is set.
func TestRefusalEndsWhereverTheClockIsSet(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w wallClock
				good := numbered(3600)
				a := &authority{answer: func(n int64, r *http.Request, form url.Values) (int, string) {
					if n == 1 {
						return 401, `{"error":"invalid_client","error_description":"AADSTS700024: Client assertion is not within its valid time range.","error_codes":[700024]}`
					}
					return good(n, r, form)
				}}
				tokens := newTokens(t, a, aad.Options{})
				tokens.SetClock(w.now)
				_, err := tokens.Get(t.Context(), demand())
				require.ErrorIs(t, err, ekm.ErrorGetTokenBadCredentials)
				w.set(step)
				_, err = tokens.Get(t.Context(), demand())
				require.ErrorIs(t, err, ekm.ErrorGetTokenBadCredentials, "within the second")
				time.Sleep(time.Second)
				_, err = tokens.Get(t.Context(), demand())
				assert.NoError(t, err)
			})
		})
	}
}

// A demand that has not led to a token ends with its second, by either clock: a
// machine that slept may wake to another demand.
func TestDemandEndsByEitherClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wallClock
		tokens := newTokens(t, &authority{answer: numbered(3600)}, aad.Options{})
		tokens.SetClock(w.now)
		tokens.Learn("contoso.vault.azure.net", demand())
		_, ok := tokens.Known("contoso.vault.azure.net")
		assert.True(t, ok, "at once")
		w.set(time.Hour)
		_, ok = tokens.Known("contoso.vault.azure.net")
		assert.False(t, ok, "after an hour of sleep")
		w.set(0)
		time.Sleep(time.Second)
		_, ok = tokens.Known("contoso.vault.azure.net")
		assert.False(t, ok, "after a second")
	})
}

// Lives and refresh times near zero do not make a token request of each call.
func TestShortLives(t *testing.T) {
	for name, reply := range map[string]string{
		"expires_in 1":          `"expires_in":1`,
		"expires_in 0.001":      `"expires_in":"0.001"`,
		"refresh_in 0.001":      `"expires_in":3600,"refresh_in":0.001`,
		"refresh_in 1":          `"expires_in":3600,"refresh_in":1`,
		"refresh_in 0":          `"expires_in":3600,"refresh_in":0`,
		"refresh_in and life 1": `"expires_in":1,"refresh_in":1`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &authority{answer: func(int64, *http.Request, url.Values) (int, string) {
					return 200, `{"token_type":"Bearer",` + reply + `,"access_token":"t"}`
				}}
				tokens := newTokens(t, a, aad.Options{})
				for range 1000 {
					_, err := tokens.Get(t.Context(), demand())
					require.NoError(t, err)
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
				}
				assert.LessOrEqual(t, a.requests.Load(), int64(11), "one in ten seconds")
			})
		})
	}
}

// A token that has expired on arrival fails the calls of one second.
func TestNoLife(t *testing.T) {
	for name, reply := range map[string]string{
		"expires_in 0":         `"expires_in":0`,
		"expires_in 0, quoted": `"expires_in":"0"`,
		"less than a tick":     `"expires_in":1e-10`,
		"expires_on long ago":  `"expires_on":"1"`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &authority{answer: func(int64, *http.Request, url.Values) (int, string) {
					return 200, `{"token_type":"Bearer",` + reply + `,"access_token":"t"}`
				}}
				tokens := newTokens(t, a, aad.Options{})
				for range 1000 {
					_, err := tokens.Get(t.Context(), demand())
					require.ErrorIs(t, err, ekm.ErrorGetTokenFailedToGetToken)
					time.Sleep(100 * time.Millisecond)
				}
				assert.LessOrEqual(t, a.requests.Load(), int64(100), "one in a second")
				a.answer = numbered(3600)
				time.Sleep(time.Second)
				_, err := tokens.Get(t.Context(), demand())
				assert.NoError(t, err)
			})
		})
	}
}

// Foreign code that ignores its context is not called by ever more goroutines,
// whatever claims each of them brings.
func TestForeignCodeIsCalledByOne(t *testing.T) {
	for name, credential := range map[string]func(*testing.T, func(context.Context)) aad.Credential{
		"token source": func(t *testing.T, call func(context.Context)) aad.Credential {
			cred, err := aad.NewTokenSource(sourceFunc(func(ctx context.Context, _ challenge.Challenge) (aad.Token, error) {
				call(ctx)
				return aad.NewToken("abc", time.Now().Add(time.Hour)), nil
			}))
			require.NoError(t, err)
			return cred
		},
		"reload": func(t *testing.T, call func(context.Context)) aad.Credential {
			first := true
			cred, err := aad.NewReloading(func(ctx context.Context) (aad.Credential, error) {
				if !first {
					call(ctx)
				}
				first = false
				return aad.NewClientSecret("id", "s3cret~value")
			})
			require.NoError(t, err)
			return cred
		},
		"signer": func(t *testing.T, call func(context.Context)) aad.Credential {
			signer := hardware(testRSA())
			sign := signer.sign
			signer.sign = func(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
				call(t.Context())
				return sign(digest, opts)
			}
			cred, err := aad.NewSigner("id", signer, []*x509.Certificate{newCertificate(t, testRSA(), time.Now(), time.Hour)}, nil)
			require.NoError(t, err)
			return cred
		},
	} {
		for _, op := range []string{"Get", "Renew"} {
			t.Run(name+", "+op, func(t *testing.T) {
				testRSA() // outside the bubble
				synctest.Test(t, func(t *testing.T) {
					var now, most, calls atomic.Int64
					cred := credential(t, func(context.Context) {
						calls.Add(1)
						most.Store(max(most.Load(), now.Add(1)))
						time.Sleep(10 * time.Second)
						now.Add(-1)
					})
					a := &authority{answer: numbered(3600)}
					tokens := aad.NewTokens(cred, &aad.Options{Transport: a})
					defer tokens.Close()
					get := func(ctx context.Context, i int) error {
						if op == "Get" {
							_, err := tokens.Get(ctx, demand())
							return err
						}
						claiming := demand()
						claiming.Claims = fmt.Sprintf(`{"access_token":{"nbf":{"value":"%d"}}}`, i)
						claiming.Error = fmt.Sprint("insufficient_claims ", i)
						_, _, err := tokens.Renew(ctx, claiming, aad.Token{})
						return err
					}
					var group sync.WaitGroup
					for i := range 50 {
						group.Go(func() {
							time.Sleep(time.Duration(i) * 100 * time.Millisecond)
							ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
							defer cancel()
							start := time.Now()
							assert.ErrorIs(t, get(ctx, i), context.DeadlineExceeded)
							assert.Less(t, time.Since(start), 100*time.Millisecond)
						})
					}
					group.Wait()
					assert.NoError(t, get(t.Context(), 50))
					assert.EqualValues(t, 1, most.Load())
					assert.EqualValues(t, 2, calls.Load())
				})
			})
		}
	}
}

// Only a refusal of the authority's own is kept, for its second.
func TestWhatIsKeptOfAFailure(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		kept   bool
	}{
		"wrong secret":              {401, `{"error":"invalid_client","error_codes":[7000215]}`, true},
		"unknown application":       {400, `{"error":"unauthorized_client","error_codes":[700016]}`, true},
		"a page with 403":           {403, `<html>`, false},
		"a page with 404":           {404, `<html>`, false},
		"a page in place of tokens": {200, `<html>`, false},
		"throttled":                 {429, `{"error":"temporarily_unavailable"}`, false},
		"timeout":                   {408, `{"error":"temporarily_unavailable"}`, false},
		"unavailable":               {503, `{"error":"temporarily_unavailable"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good := numbered(3600)
				a := &authority{answer: func(n int64, r *http.Request, form url.Values) (int, string) {
					if n == 1 {
						return c.status, c.body
					}
					return good(n, r, form)
				}}
				tokens := newTokens(t, a, aad.Options{Retry: retry.Policy{Attempts: 1}})
				_, err := tokens.Get(t.Context(), demand())
				require.Error(t, err)
				_, err = tokens.Get(t.Context(), demand())
				assert.Equal(t, c.kept, err != nil, "%v", err)
			})
		})
	}
}
