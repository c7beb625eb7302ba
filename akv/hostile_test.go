package akv_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/proxy"
)

func lastError(seq func(func(akv.KeyItem, error) bool)) (last error) {
	for _, err := range seq {
		last = err
	}
	return last
}

func TestLinksThatMustNotBeFollowed(t *testing.T) {
	for _, c := range []struct {
		link string
		want ekm.Code
	}{
		{"https://evil.example/keys", ekm.ErrorHttpConnectSession},
		{"https://contoso.vault.azure.net.evil.example/keys", ekm.ErrorHttpConnectSession},
		{"https://contoso.vault.azure.net:8443/keys", ekm.ErrorHttpConnectSession},
		{"https://a:b@contoso.vault.azure.net/keys", ekm.ErrorHttpConnectSession},
		{"http://contoso.vault.azure.net/keys", ekm.ErrorHttpOpenRequest}, // the token in clear text
		{"/keys?$skiptoken=x", ekm.ErrorHttpOpenRequest},
		{"https://contoso.vault.azure.net/" + strings.Repeat("k", 5<<10), ekm.ErrorGetKeyByNameOutOfMemoryConcatPath},
	} {
		client := scriptedClient(t, akv.Options{}, func(r *http.Request) *http.Response {
			require.Equal(t, "https://contoso.vault.azure.net/keys?api-version=7.4", r.URL.String())
			return reply(r, 200, fmt.Sprintf(`{"value":[],"nextLink":%q}`, c.link))
		})
		assert.ErrorIs(t, lastError(client.Keys(t.Context())), c.want, c.link)
	}
	itself := scriptedClient(t, akv.Options{}, func(r *http.Request) *http.Response {
		return reply(r, 200, `{"value":[{"kid":"https://contoso.vault.azure.net/keys/a"}],"nextLink":"https://contoso.vault.azure.net/keys?$skiptoken=x"}`)
	})
	assert.ErrorIs(t, lastError(itself.Keys(t.Context())), ekm.SCPErrProviderError)
}

// What a vault writes where an id or URL belongs may be what it was sent.
func TestEchoesInOtherPlaces(t *testing.T) {
	key := []byte("thirty-two bytes of a secret key")
	forms := []string{
		base64.RawURLEncoding.EncodeToString(key), base64.StdEncoding.EncodeToString(key), hex.EncodeToString(key),
		strings.ToUpper(hex.EncodeToString(key)), string(key), "t0ken-value",
	}
	for _, form := range forms {
		for _, answer := range []func(*http.Request) *http.Response{
			func(r *http.Request) *http.Response { return reply(r, 200, fmt.Sprintf(`{"key":{"kid":%q}}`, form)) },
			func(r *http.Request) *http.Response {
				return reply(r, 200, fmt.Sprintf(`{"key":{"kid":"https://contoso.vault.azure.net/keys/a/1","kty":%q}}`, form))
			},
			func(r *http.Request) *http.Response {
				return reply(r, 401, "", "WWW-Authenticate", fmt.Sprintf(`Bearer authorization=%q, resource="https://vault.azure.net"`, form))
			},
			func(r *http.Request) *http.Response {
				return reply(r, 401, "", "WWW-Authenticate", fmt.Sprintf(`Bearer authorization="https://login.windows.net/t", resource=%q`, form))
			},
			func(r *http.Request) *http.Response {
				return reply(r, 400, fmt.Sprintf(`{"error":{"code":"x","message":%q}}`, "you sent "+form))
			},
			func(r *http.Request) *http.Response {
				return reply(r, 200, fmt.Sprintf(`{"kid":"https://contoso.vault.azure.net/keys/tde/1","value":%q}`, "*"+form))
			},
		} {
			client := scriptedClient(t, akv.Options{}, answer)
			_, err := client.WrapKey(t.Context(), "tde", "", akv.RSAOAEP, key)
			require.Error(t, err)
			assert.NotContains(t, fmt.Sprintf("%v %+v", err, err), form)
			if form == "t0ken-value" {
				_, err = client.GetKey(t.Context(), "tde", "")
				require.Error(t, err)
				assert.NotContains(t, fmt.Sprintf("%v %+v", err, err), form)
			}
		}
	}
}

// A deadline must not hide what the service said.
func TestDeadlineOnAColdCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			return reply(r, 503, `{"error":{"code":"ServiceUnavailable","message":"later"}}`, "Retry-After", "30"), nil
		})
		client := unknownVault(t, transport)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := client.GetKey(ctx, "tde", "")
		var e *ekm.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, []any{ekm.ErrorHttpResponseCodeServerError, "getKey", ekm.Vault, 503, 30 * time.Second}, []any{e.Code, e.Op, e.Party, e.Status, e.RetryAfter})
		assert.Zero(t, time.Since(start), "no wait is begun that would outlast the deadline")

		hanging := unknownVault(t, roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		start = time.Now()
		_, err = hanging.GetKey(ctx, "tde", "")
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, []any{ekm.ErrorHttpSendRequest, "getKey", ekm.Vault, "contoso.vault.azure.net"}, []any{e.Code, e.Op, e.Party, e.Host})
		assert.Equal(t, time.Second, time.Since(start))
	})
}

func unknownVault(t *testing.T, transport http.RoundTripper) *akv.Client {
	t.Helper()
	cred, err := aad.NewClientSecret("id", "s3cret~value")
	require.NoError(t, err)
	client, err := akv.NewClient("contoso", cred, &akv.Options{Transport: transport})
	require.NoError(t, err)
	return client
}

func TestRotationIsNotRepeatedUnlessItCannotHaveHappened(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(*http.Request) (*http.Response, error)
		once   bool
	}{
		{"reset", func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET }, true},
		{"503 from a gateway", func(r *http.Request) (*http.Response, error) { return reply(r, 503, ""), nil }, true},
		{"500", func(r *http.Request) (*http.Response, error) { return reply(r, 500, ""), nil }, true},
		{"429, before the vault looks at it", func(r *http.Request) (*http.Response, error) { return reply(r, 429, ""), nil }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rotations := 0
				inner := scripted(nil)
				client := unknownVault(t, roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.Header.Get("Authorization") == "" {
						return inner.RoundTrip(r)
					}
					rotations++
					return c.answer(r)
				}))
				_, err := client.RotateKey(t.Context(), "tde")
				require.Error(t, err)
				if c.once {
					assert.Equal(t, 1, rotations)
				} else {
					assert.Greater(t, rotations, 5)
				}
			})
		})
	}
}

// A vault that was moved to another tenant is asked again once the old tenant is gone.
func TestVaultMovesToAnotherTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := "old"
		client := unknownVault(t, roundTripper(func(r *http.Request) (*http.Response, error) {
			switch {
			case strings.HasPrefix(r.URL.Host, "login.") && !strings.Contains(r.URL.Path, "/"+tenant+"/"):
				return reply(r, 400, `{"error":"invalid_request","error_description":"AADSTS90002: Tenant 'old' not found.","error_codes":[90002]}`), nil
			case strings.HasPrefix(r.URL.Host, "login."):
				return reply(r, 200, `{"expires_in":60,"access_token":"t0ken-value"}`), nil
			case r.Header.Get("Authorization") == "":
				return reply(r, 401, "", "WWW-Authenticate", `Bearer authorization="https://login.windows.net/`+tenant+`", resource="https://vault.azure.net"`), nil
			}
			return reply(r, 404, ""), nil
		}))
		defer client.Close()
		_, err := client.GetKey(t.Context(), "tde", "")
		require.ErrorIs(t, err, ekm.ErrorHttpResourceNotFound)
		tenant = "new"
		time.Sleep(time.Hour) // the token has ended
		_, err = client.GetKey(t.Context(), "tde", "")
		assert.ErrorIs(t, err, ekm.ErrorHttpResourceNotFound, "in the same call")
	})
}

func TestRejectionThatOnlySaysSo(t *testing.T) {
	rejected := false
	client := scriptedClient(t, akv.Options{}, func(r *http.Request) *http.Response {
		if !rejected {
			rejected = true
			return reply(r, 401, "", "WWW-Authenticate", `Bearer error="invalid_token"`)
		}
		return reply(r, 404, "")
	})
	_, err := client.GetKey(t.Context(), "tde", "")
	assert.ErrorIs(t, err, ekm.ErrorHttpResourceNotFound, "with another token for the same tenant")
}

func TestPresetResource(t *testing.T) {
	cred, err := aad.NewClientSecret("id", "secret")
	require.NoError(t, err)
	for _, c := range []struct {
		vault, resource, scope string
	}{
		{"https://contoso.vault.azure.net:8443", "", "https://vault.azure.net/.default"},
		{"contoso", "https://vault.azure.net/", "https://vault.azure.net/.default"},
		{"https://10.0.0.1", "", ""},
		{"https://localhost:8443", "", ""},
		{"https://localhost:8443", "https://vault.azure.net", "https://vault.azure.net/.default"},
		{"contoso", "vault.azure.net", ""},
		{"contoso", "https://vault.azure.net/.default", ""},
	} {
		scope := ""
		client, err := akv.NewClient(c.vault, cred, &akv.Options{
			Authority: "https://login.windows.net/" + fmt.Sprintf("%x", c.vault+c.resource), Resource: c.resource,
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Body != nil && scope == "" {
					_ = r.ParseForm()
					scope = r.PostForm.Get("scope")
				}
				return reply(r, 404, ""), nil
			}),
		})
		if c.scope == "" {
			assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument, c)
			continue
		}
		require.NoError(t, err)
		_, err = client.GetKey(t.Context(), "tde", "")
		require.Error(t, err)
		assert.Equal(t, c.scope, scope, c)
	}
	_, err = akv.NewClient("contoso", cred, &akv.Options{Resource: "https://vault.azure.net"})
	assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument)
	_, err = akv.NewClient("contoso", cred, &akv.Options{APIVersion: "7.4&x=1"})
	assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument)
}

func TestOneClientClosesAnotherGoesOn(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	cred := secretOf(t, fake)
	one, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: fake.Transport()})
	require.NoError(t, err)
	two, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: fake.Transport()})
	require.NoError(t, err)
	_, err = one.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	one.Close()
	fake.RevokeTokens()
	_, err = two.GetKey(t.Context(), "tde", "")
	assert.NoError(t, err)
	_, err = one.GetKey(t.Context(), "tde", "")
	assert.NoError(t, err, "calls after Close work")
}

// One client's broken proxy is not the other's.
func TestOwnSettingsAreNotShared(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	cred := secretOf(t, fake)
	broken, err := akv.NewClient("fakevault", cred, &akv.Options{Proxy: proxy.New(proxy.Settings{URL: "ftp://proxy"})})
	require.NoError(t, err)
	_, err = broken.GetKey(t.Context(), "tde", "")
	require.ErrorIs(t, err, ekm.ErrorHttpOpenSession)
	good, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: fake.Transport()})
	require.NoError(t, err)
	_, err = good.GetKey(t.Context(), "tde", "")
	assert.NoError(t, err)
}
