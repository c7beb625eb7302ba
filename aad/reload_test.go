package aad_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
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
)

type loader = func(context.Context) (aad.Credential, error)

// inTurn loads credentials one after the other, the last one for ever, and
// counts; the first is what NewReloading gets.
func inTurn(t testing.TB, calls *atomic.Int64, loads ...loader) aad.Credential {
	t.Helper()
	cred, err := aad.NewReloading(func(ctx context.Context) (aad.Credential, error) {
		n := int(calls.Add(1))
		return loads[min(n, len(loads))-1](ctx)
	})
	require.NoError(t, err)
	require.EqualValues(t, 1, calls.Load())
	return cred
}

func loadSecret(value string) loader {
	return func(context.Context) (aad.Credential, error) { return aad.NewClientSecret(application, value) }
}

func loadFailure(err error) loader {
	return func(context.Context) (aad.Credential, error) { return nil, err }
}

// wants is an authority that takes one secret and refuses others as it is told.
func wants(secret string, status int, refusal string) *authority {
	return &authority{answer: func(n int64, _ *http.Request, form url.Values) (int, string) {
		if form.Get("client_secret") == secret {
			return 200, fmt.Sprintf(`{"token_type":"Bearer","expires_in":3599,"access_token":"token-%d"}`, n)
		}
		return status, refusal
	}}
}

const invalidClient = `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired.","error_codes":[7000222]}`

func TestReloadAtEachExchange(t *testing.T) {
	fake, tap := entra(t)
	fake.AddApp(application, "first~secret")
	fake.AddApp(application, "second~secret")
	var calls atomic.Int64
	cred := inTurn(t, &calls, loadSecret("first~secret"), loadSecret("first~secret"), loadSecret("second~secret"))
	tokens := exchanging(t, cred, tap)

	first, err := tokens.Get(t.Context(), vaultDemand(fake))
	require.NoError(t, err)
	_, err = tokens.Get(t.Context(), vaultDemand(fake))
	require.NoError(t, err)
	assert.EqualValues(t, 2, calls.Load(), "not for a token from the cache")

	_, _, err = tokens.Renew(t.Context(), vaultDemand(fake), first)
	require.NoError(t, err)
	assert.EqualValues(t, 3, calls.Load())
	require.Len(t, tap.forms, 2)
	assert.Equal(t, "first~secret", tap.forms[0].Get("client_secret"))
	assert.Equal(t, "second~secret", tap.forms[1].Get("client_secret"))
}

// A rejected credential is read once more, and tried once more if it changed.
func TestReloadOfARejectedCredential(t *testing.T) {
	const unknownApp = `{"error":"unauthorized_client","error_codes":[700016]}`
	missing := errors.New("the file is being written")
	for _, c := range []struct {
		why     string
		status  int
		refusal string
		loads   []loader // the first two: NewReloading, and the exchange's first
		calls   int64
		posts   int64
		code    ekm.Code
	}{
		{"replaced meanwhile", 401, invalidClient, []loader{loadSecret("old"), loadSecret("old"), loadSecret("new")}, 3, 2, 0},
		{"invalid_client with 400, too", 400, invalidClient, []loader{loadSecret("old"), loadSecret("old"), loadSecret("new")}, 3, 2, 0},
		{"replaced before: taken at once", 401, invalidClient, []loader{loadSecret("old"), loadSecret("new")}, 2, 1, 0},
		{"the same one: not tried twice", 401, invalidClient, []loader{loadSecret("old")}, 3, 1, ekm.ErrorGetTokenBadCredentials},
		{"another wrong one: not a third time", 401, invalidClient, []loader{loadSecret("old"), loadSecret("old"), loadSecret("older"), loadSecret("new")}, 3, 2, ekm.ErrorGetTokenBadCredentials},
		{"cannot be read again: the rejection is what counts", 401, invalidClient, []loader{loadSecret("old"), loadSecret("old"), loadFailure(missing)}, 3, 1, ekm.ErrorGetTokenBadCredentials},
		{"is gone: the same", 401, invalidClient, []loader{loadSecret("old"), loadSecret("old"), loadFailure(nil)}, 3, 1, ekm.ErrorGetTokenBadCredentials},
		{"of an application that is gone: replaced meanwhile", 400, unknownApp, []loader{loadSecret("old"), loadSecret("old"), loadSecret("new")}, 3, 2, 0},
		{"out of order: the same", 503, `{"error":"temporarily_unavailable"}`, []loader{loadSecret("old"), loadSecret("old"), loadSecret("new")}, 2, 1, ekm.ErrorHttpResponseCodeServerError},
	} {
		t.Run(c.why, func(t *testing.T) {
			a := wants("new", c.status, c.refusal)
			var calls atomic.Int64
			tok, err := exchanging(t, inTurn(t, &calls, c.loads...), a).Get(t.Context(), demand())
			assert.Equal(t, c.posts, a.requests.Load(), "posts")
			assert.Equal(t, c.calls, calls.Load(), "loads")
			if c.code != 0 {
				requireCode(t, c.code, err)
				assert.NotErrorIs(t, err, missing)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprintf("token-%d", c.posts), tok.Reveal())
		})
	}
}

// An option by which the authority tells two credentials apart is a change.
func TestReloadOfOptions(t *testing.T) {
	whileValid(t, func(t *testing.T) {
		a := &authority{}
		a.answer = func(n int64, r *http.Request, form url.Values) (int, string) {
			if n == 1 {
				return 401, invalidClient
			}
			return numbered(3599)(n, r, form)
		}
		load := func(chain bool) loader {
			return func(context.Context) (aad.Credential, error) {
				return aad.NewPEM(application, keyFile(t, "pkcs8.pem"), &aad.CertificateOptions{SendChain: chain})
			}
		}
		var calls atomic.Int64
		_, err := exchanging(t, inTurn(t, &calls, load(false), load(false), load(true)), a).Get(t.Context(), demand())
		require.NoError(t, err)
		assert.EqualValues(t, 2, a.requests.Load())
	})
}

func TestReloadFailures(t *testing.T) {
	plain := errors.New("the store is locked")
	_, coded := aad.NewPFX(application, []byte("no file of that kind"), nil)
	requireCode(t, 3809, coded)
	for _, c := range []struct {
		why  string
		load loader
		code ekm.Code
		is   error
		says string
	}{
		{"an error of its own", loadFailure(plain), ekm.ErrorGetTokenFailedToGetToken, plain, "the store is locked"},
		{"an error with a code", loadFailure(coded), ekm.ErrorPfxCertAuthParamsImportPfx, coded, "3809"},
		{"one that is wrapped", loadFailure(fmt.Errorf("app.pfx: %w", coded)), ekm.ErrorPfxCertAuthParamsImportPfx, coded, "app.pfx: "},
		{"neither credential nor error", loadFailure(nil), ekm.ErrorGetTokenFailedToGetToken, nil, "no credential was loaded"},
	} {
		t.Run(c.why, func(t *testing.T) {
			check := func(err error) {
				t.Helper()
				requireCode(t, c.code, err)
				assert.ErrorContains(t, err, c.says)
				if c.is != nil {
					assert.ErrorIs(t, err, c.is)
				}
			}
			cred, err := aad.NewReloading(c.load)
			assert.Nil(t, cred)
			check(err)

			var calls atomic.Int64
			a := wants("new", 401, invalidClient)
			tokens := exchanging(t, inTurn(t, &calls, loadSecret("new"), c.load, loadSecret("new")), a)
			_, err = tokens.Get(t.Context(), demand())
			check(err)
			assert.Zero(t, a.requests.Load(), "what was loaded before is not used in its place")
			_, _, err = tokens.Renew(t.Context(), challenge.Challenge{Authority: demand().Authority, Resource: "https://managedhsm.azure.net", Scope: "https://managedhsm.azure.net/.default"}, aad.Token{})
			require.NoError(t, err, "the next exchange loads anew")
		})
	}
	_, err := aad.NewReloading(nil)
	requireCode(t, ekm.SCPErrInvalidArgument, err)
}

// A failure to load answers those who wait for it, and nobody later: a file that
// was locked for a moment is no reason to fail a second after.
func TestReloadFailureIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		slowly := func(load func(context.Context) (aad.Credential, error)) func(context.Context) (aad.Credential, error) {
			return func(ctx context.Context) (aad.Credential, error) {
				time.Sleep(time.Second)
				return load(ctx)
			}
		}
		tokens := exchanging(t, inTurn(t, &calls, loadSecret("new"), slowly(loadFailure(errors.New("locked"))), loadSecret("new")), wants("new", 401, invalidClient))
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				_, err := tokens.Get(t.Context(), demand())
				assert.ErrorIs(t, err, ekm.ErrorGetTokenFailedToGetToken)
			})
		}
		group.Wait()
		assert.EqualValues(t, 2, calls.Load())
		_, err := tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		assert.EqualValues(t, 3, calls.Load())
	})
}

// A caller that leaves takes its context with it into the function.
func TestReloadIsCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		tokens := exchanging(t, inTurn(t, &calls, loadSecret("new"), func(ctx context.Context) (aad.Credential, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, loadSecret("new")), wants("new", 401, invalidClient))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := tokens.Get(ctx, demand())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		_, err = tokens.Get(t.Context(), demand())
		require.NoError(t, err)
	})
}

// A certificate's file is replaced, by one of another format, while it is in use.
func TestReloadOfAFile(t *testing.T) {
	leaf := certificateFile(t, "leaf")
	whileValid(t, func(t *testing.T) {
		fake, tap := entra(t)
		fake.AddCertificate(application, leaf)
		path := filepath.Join(t.TempDir(), "app")
		replace := func(data []byte) {
			require.NoError(t, os.WriteFile(path+".new", data, 0o600))
			require.NoError(t, os.Rename(path+".new", path))
		}
		replace(keyFile(t, "openssl3.pfx"))
		cred, err := aad.NewReloading(func(context.Context) (aad.Credential, error) {
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			if cred, err := aad.NewPEM(application, data, nil); err == nil {
				return cred, nil
			}
			return aad.NewPFX(application, data, &aad.CertificateOptions{Password: filePassword})
		})
		require.NoError(t, err)
		end, known := aad.NotAfter(cred)
		require.True(t, known)
		assert.Equal(t, leaf.NotAfter, end)

		tokens := exchanging(t, cred, tap)
		tok, err := tokens.Get(t.Context(), vaultDemand(fake))
		require.NoError(t, err)

		next := newCertificate(t, testRSA(), time.Now(), 24*time.Hour)
		fake.AddCertificate(application, next)
		replace(pemOf(t, testRSA(), next))
		end, _ = aad.NotAfter(cred)
		assert.Equal(t, leaf.NotAfter, end, "NotAfter reads no file")
		tok, _, err = tokens.Renew(t.Context(), vaultDemand(fake), tok)
		require.NoError(t, err)
		end, _ = aad.NotAfter(cred)
		assert.Equal(t, next.NotAfter, end)
		require.Len(t, tap.forms, 2)
		endpoint := fake.AuthorityURL() + "/oauth2/v2.0/token"
		verifyAssertion(t, tap.forms[1], &testRSA().PublicKey, endpoint, "PS256").named(t, "x5t#S256", next)

		require.NoError(t, os.Remove(path))
		_, _, err = tokens.Renew(t.Context(), vaultDemand(fake), tok)
		requireCode(t, ekm.ErrorGetTokenFailedToGetToken, err)
		assert.ErrorIs(t, err, os.ErrNotExist)

		// The new certificate expires, the file has its successor before.
		time.Sleep(48 * time.Hour)
		replace(pemOf(t, testRSA(), next))
		_, err = tokens.Get(t.Context(), vaultDemand(fake))
		requireCode(t, 3809, err) // the PFX reader's turn, after the PEM reader's refusal
		last := newCertificate(t, testRSA(), time.Now(), 24*time.Hour)
		fake.AddCertificate(application, last)
		replace(pemOf(t, testRSA(), last))
		time.Sleep(time.Second)
		_, err = tokens.Get(t.Context(), vaultDemand(fake))
		require.NoError(t, err)
	})
}

// From a secret to a certificate to a source of tokens.
func TestReloadOfAnotherKind(t *testing.T) {
	whileValid(t, func(t *testing.T) {
		fake, tap := entra(t)
		fake.AddCertificate(application, certificateFile(t, "leaf"))
		var calls atomic.Int64
		cred := inTurn(t, &calls,
			loadSecret(fake.ClientSecret()), loadSecret(fake.ClientSecret()),
			func(context.Context) (aad.Credential, error) {
				return aad.NewPEM(application, keyFile(t, "pkcs8.pem"), nil)
			},
			func(context.Context) (aad.Credential, error) {
				return aad.NewTokenSource(sourceFunc(func(_ context.Context, c challenge.Challenge) (aad.Token, error) {
					return aad.NewToken("for:"+c.Resource, time.Now().Add(time.Hour)), nil
				}))
			},
		)
		_, known := aad.NotAfter(cred)
		assert.False(t, known, "a secret's end is not known")
		tokens := exchanging(t, cred, tap)
		tok, err := tokens.Get(t.Context(), vaultDemand(fake))
		require.NoError(t, err)
		tok, _, err = tokens.Renew(t.Context(), vaultDemand(fake), tok)
		require.NoError(t, err)
		_, known = aad.NotAfter(cred)
		assert.True(t, known)
		tok, _, err = tokens.Renew(t.Context(), vaultDemand(fake), tok)
		require.NoError(t, err)
		assert.Equal(t, "for:https://vault.azure.net", tok.Reveal())
		_, known = aad.NotAfter(cred)
		assert.False(t, known)
		require.Len(t, tap.forms, 2)
		assert.Contains(t, tap.forms[0], "client_secret")
		assert.Contains(t, tap.forms[1], "client_assertion")
		assert.NotContains(t, tap.forms[1], "client_secret")
	})
}

// A source that is loaded anew may have changed inside: it is asked again.
func TestReloadOfARejectedSource(t *testing.T) {
	var asked atomic.Int64
	source := sourceFunc(func(context.Context, challenge.Challenge) (aad.Token, error) {
		if asked.Add(1) == 1 {
			return aad.Token{}, &ekm.Error{Code: ekm.ErrorGetTokenBadCredentials}
		}
		return aad.NewToken("abc", time.Now().Add(time.Hour)), nil
	})
	load := func(context.Context) (aad.Credential, error) { return aad.NewTokenSource(source) }
	cred, err := aad.NewReloading(load)
	require.NoError(t, err)
	_, err = exchanging(t, cred, nil).Get(t.Context(), demand())
	require.NoError(t, err)
	assert.EqualValues(t, 2, asked.Load())

	asked.Store(0)
	same, err := aad.NewTokenSource(source)
	require.NoError(t, err)
	cred, err = aad.NewReloading(func(context.Context) (aad.Credential, error) { return same, nil })
	require.NoError(t, err)
	_, err = exchanging(t, cred, nil).Get(t.Context(), demand())
	requireCode(t, ekm.ErrorGetTokenBadCredentials, err)
	assert.EqualValues(t, 1, asked.Load(), "the same one: not asked again")
}

// One that reloads may be loaded by another one.
func TestReloadNested(t *testing.T) {
	var calls atomic.Int64
	inner := inTurn(t, &calls, loadSecret("old"), loadSecret("old"), loadSecret("new"))
	cred, err := aad.NewReloading(func(context.Context) (aad.Credential, error) { return inner, nil })
	require.NoError(t, err)
	a := wants("new", 401, invalidClient)
	_, err = exchanging(t, cred, a).Get(t.Context(), demand())
	require.NoError(t, err)
	assert.EqualValues(t, 2, a.requests.Load())

	calls.Store(0)
	inner = inTurn(t, &calls, loadSecret("old"))
	cred, err = aad.NewReloading(func(context.Context) (aad.Credential, error) { return inner, nil })
	require.NoError(t, err)
	a = wants("new", 401, invalidClient)
	_, err = exchanging(t, cred, a).Get(t.Context(), demand())
	requireCode(t, ekm.ErrorGetTokenBadCredentials, err)
	assert.EqualValues(t, 1, a.requests.Load(), "what the inner one holds has not changed")
}

// For one demand the function runs once at a time, whoever asks.
func TestReloadOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most, calls atomic.Int64
		slow := func(ctx context.Context) (aad.Credential, error) {
			calls.Add(1)
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer running.Add(-1)
			time.Sleep(time.Second)
			return aad.NewClientSecret(application, "new")
		}
		cred, err := aad.NewReloading(slow)
		require.NoError(t, err)
		tokens := exchanging(t, cred, wants("new", 401, invalidClient))
		var group sync.WaitGroup
		for range 200 {
			group.Go(func() {
				_, err := tokens.Get(t.Context(), demand())
				assert.NoError(t, err)
			})
		}
		group.Wait()
		assert.EqualValues(t, 2, calls.Load())
		assert.EqualValues(t, 1, most.Load())
	})
}

// Many demands at once, while the secret changes: for the race detector.
func TestReloadConcurrently(t *testing.T) {
	fake, tap := entra(t)
	for i := range 4 {
		fake.AddApp(application, fmt.Sprintf("secret~%d", i))
	}
	var calls atomic.Int64
	cred, err := aad.NewReloading(func(context.Context) (aad.Credential, error) {
		return aad.NewClientSecret(application, fmt.Sprintf("secret~%d", calls.Add(1)%4))
	})
	require.NoError(t, err)
	tokens := exchanging(t, cred, tap)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			c := vaultDemand(fake)
			if i%2 == 1 {
				c.Resource, c.Scope = "https://managedhsm.azure.net", "https://managedhsm.azure.net/.default"
			}
			var tok aad.Token
			for range 10 {
				var err error
				tok, _, err = tokens.Renew(t.Context(), c, tok)
				assert.NoError(t, err)
				aad.NotAfter(cred)
			}
		})
	}
	group.Wait()
	assert.GreaterOrEqual(t, calls.Load(), int64(20))
}

func TestReloadingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	parse := func(content []byte) (aad.Credential, error) { return aad.NewClientSecret("id", string(content)) }
	_, err := aad.NewReloadingFile(path, parse)
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = aad.NewReloadingFile(t.TempDir(), parse)
	assert.ErrorContains(t, err, "no regular file")
	_, err = aad.NewReloadingFile("hunter22-in-place-of-its-file", parse)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.NotContains(t, err.Error(), "hunter22")
	_, err = aad.NewReloadingFile(path, nil)
	assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument)

	require.NoError(t, os.WriteFile(path, []byte("old-secret"), 0o600))
	cred, err := aad.NewReloadingFile(path, parse)
	require.NoError(t, err)
	a := &authority{answer: numbered(3599)}
	tokens := aad.NewTokens(cred, &aad.Options{Transport: a})
	defer tokens.Close()
	first, err := tokens.Get(t.Context(), demand())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("new-secret"), 0o600))
	_, _, err = tokens.Renew(t.Context(), demand(), first)
	require.NoError(t, err)
	assert.Equal(t, []string{"old-secret", "new-secret"}, []string{a.forms[0].Get("client_secret"), a.forms[1].Get("client_secret")})
}
