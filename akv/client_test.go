package akv_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

func dataKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

func TestMainJobOverTLS(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	listener, err := fake.Listen()
	require.NoError(t, err)
	defer func() { assert.NoError(t, listener.Close()) }()
	client := clientOf(t, fake, akv.Options{Transport: listener.Transport()})
	ctx := t.Context()

	key, err := client.GetKey(ctx, "tde", "")
	require.NoError(t, err)
	assert.Equal(t, "tde", key.Name)
	assert.Equal(t, "RSA", key.Type)
	assert.Equal(t, 2048, key.Bits)
	assert.True(t, testKey().PublicKey.Equal(key.Public), "the key is the vault's")
	assert.Equal(t, fake.VaultURL()+"/keys/tde/"+key.Version, key.ID)
	assert.True(t, key.Enabled)

	for _, alg := range []akv.Algorithm{akv.RSA15, akv.RSAOAEP, akv.RSAOAEP256} {
		secret := dataKey()
		wrapped, err := client.WrapKey(ctx, "tde", key.Version, alg, secret)
		require.NoError(t, err, alg)
		assert.Equal(t, key.ID, wrapped.KeyID)
		assert.False(t, bytes.Contains(wrapped.Value, secret))
		back, err := client.UnwrapKey(ctx, "tde", key.Version, alg, wrapped.Value)
		require.NoError(t, err, alg)
		assert.Equal(t, secret, back.Value)
		assert.Equal(t, key.ID, back.KeyID)
	}

	// What crypto/rsa wraps with the public half, the vault unwraps.
	secret := dataKey()
	local, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, key.Public.(*rsa.PublicKey), secret, nil)
	require.NoError(t, err)
	back, err := client.UnwrapKey(ctx, "tde", "", akv.RSAOAEP256, local)
	require.NoError(t, err)
	assert.Equal(t, secret, back.Value)
}

func TestRotationBackupAndRestore(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	client := clientOf(t, fake, akv.Options{})
	ctx := t.Context()
	secret := dataKey()
	wrapped, err := client.WrapKey(ctx, "tde", "", akv.RSAOAEP256, secret)
	require.NoError(t, err)
	old, err := client.GetKey(ctx, "tde", "")
	require.NoError(t, err)
	rotated, err := client.RotateKey(ctx, "tde")
	require.NoError(t, err)
	assert.NotEqual(t, old.Version, rotated.Version)

	_, err = client.UnwrapKey(ctx, "tde", "", akv.RSAOAEP256, wrapped.Value)
	assert.ErrorIs(t, err, ekm.ErrorHttpResponseCodeClientError, "the newest version did not wrap this")
	back, err := client.UnwrapKey(ctx, "tde", old.Version, akv.RSAOAEP256, wrapped.Value)
	require.NoError(t, err)
	assert.Equal(t, secret, back.Value)

	var versions []string
	for item, err := range client.KeyVersions(ctx, "tde") {
		require.NoError(t, err)
		versions = append(versions, item.Version)
	}
	assert.ElementsMatch(t, []string{old.Version, rotated.Version}, versions)

	blob, err := client.BackupKey(ctx, "tde")
	require.NoError(t, err)
	_, err = client.RestoreKey(ctx, blob)
	var e *ekm.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, []any{ekm.ErrorHttpResponseCodeClientError, 409, "Conflict"}, []any{e.Code, e.Status, e.ServiceCode})
	_, err = client.RestoreKey(ctx, []byte("not a backup"))
	assert.ErrorIs(t, err, ekm.ErrorHttpResponseCodeClientError)
	assert.Equal(t, 5, strings.Count(fmt.Sprint(fakeOperations(fake, fakevault.OpRestore, fakevault.OpRotate, fakevault.OpBackup, fakevault.OpVersions)), " ")+1)
}

// fakeOperations lists those of the journal's operations that are in ops.
func fakeOperations(fake *fakevault.Server, ops ...fakevault.Operation) []fakevault.Operation {
	var list []fakevault.Operation
	for _, e := range fake.Journal() {
		for _, op := range ops {
			if e.Operation == op && e.Status != 401 {
				list = append(list, op)
			}
		}
	}
	return list
}

func TestKeysFollowsPages(t *testing.T) {
	fake := keyed(t, fakevault.Options{EmptyPages: true})
	want := []string{"tde"}
	for i := range 60 {
		name := fmt.Sprintf("key-%02d", i)
		fake.AddKey(name, testKey())
		want = append(want, name)
	}
	client := clientOf(t, fake, akv.Options{})
	var got []string
	for item, err := range client.Keys(t.Context()) {
		require.NoError(t, err)
		assert.Empty(t, item.Version)
		got = append(got, item.Name)
	}
	assert.ElementsMatch(t, want, got)

	before := len(fake.Journal())
	for range client.Keys(t.Context()) {
		break
	}
	assert.LessOrEqual(t, len(fake.Journal())-before, 2, "a loop that ends early asks for no further page")
}

func TestColdWrapIsThreeRequests(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	requests := &counter{next: fake.Transport()}
	client := clientOf(t, fake, akv.Options{Transport: requests})
	_, err := client.WrapKey(t.Context(), "tde", "", akv.RSAOAEP256, dataKey())
	require.NoError(t, err)
	require.Len(t, requests.seen, 3)
	probe, token, wrap := requests.seen[0], requests.seen[1], requests.seen[2]
	assert.Equal(t, seen{method: "POST", url: "https://fakevault.vault.azure.net/keys/tde//wrapkey?api-version=7.4"}, probe, "no token, no body, no key bytes")
	assert.Equal(t, "https://login.microsoftonline.com/"+fake.Tenant()+"/oauth2/v2.0/token", token.url)
	assert.Empty(t, token.authorization)
	assert.True(t, strings.HasPrefix(wrap.authorization, "Bearer ey"))
	assert.Contains(t, wrap.body, `{"alg":"RSA-OAEP-256","value":"`)

	_, err = client.WrapKey(t.Context(), "tde", "", akv.RSAOAEP256, dataKey())
	require.NoError(t, err)
	assert.EqualValues(t, 4, requests.n.Load(), "a warm wrap is one request")
}

func TestColdWrapWithPresetIsTwoRequests(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	requests := &counter{next: fake.Transport()}
	client := clientOf(t, fake, akv.Options{Transport: requests, Authority: fake.AuthorityURL()})
	_, err := client.WrapKey(t.Context(), "tde", "", akv.RSAOAEP256, dataKey())
	require.NoError(t, err)
	assert.EqualValues(t, 2, requests.n.Load())
}

func TestFiveHundredGoroutinesMake502Requests(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	requests := &counter{next: fake.Transport()}
	client := clientOf(t, fake, akv.Options{Transport: requests})
	var group sync.WaitGroup
	for range 500 {
		group.Go(func() {
			_, err := client.WrapKey(t.Context(), "tde", "", akv.RSAOAEP256, dataKey())
			assert.NoError(t, err)
		})
	}
	group.Wait()
	assert.EqualValues(t, 502, requests.n.Load())
}

func TestClientsShareByCredential(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	requests := &counter{next: fake.Transport()}
	cred := secretOf(t, fake)
	for range 3 {
		client, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: requests})
		require.NoError(t, err)
		_, err = client.GetKey(t.Context(), "tde", "")
		require.NoError(t, err)
		client.Close()
	}
	assert.EqualValues(t, 3+2, requests.n.Load())
}

// A client must not act on what another client of its credential believes.
func TestSharedDemandIsHeldAgainstOwnTrust(t *testing.T) {
	fake := keyed(t, fakevault.Options{AuthorityHost: "login.contoso.example"})
	cred := secretOf(t, fake)
	trusting, err := akv.NewClient("fakevault", cred, &akv.Options{
		Transport: fake.Transport(), Trust: challenge.Policy{Authorities: []string{"login.contoso.example"}},
	})
	require.NoError(t, err)
	_, err = trusting.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	requests := &counter{next: fake.Transport()}
	wary, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: requests})
	require.NoError(t, err)
	_, err = wary.GetKey(t.Context(), "tde", "")
	assert.ErrorIs(t, err, ekm.ErrorGetAADDomainUrlMalformatted)
	require.EqualValues(t, 1, requests.n.Load(), "it asks the vault for itself, and nobody else")
	assert.Contains(t, requests.seen[0].url, fake.VaultURL()+"/")
	assert.Empty(t, requests.seen[0].authorization)
}

func TestRejectedTokenIsReplacedOnce(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	requests := &counter{next: fake.Transport()}
	client := clientOf(t, fake, akv.Options{Transport: requests})
	ctx := t.Context()
	_, err := client.GetKey(ctx, "tde", "")
	require.NoError(t, err)

	fake.RevokeTokens()
	_, err = client.GetKey(ctx, "tde", "")
	require.NoError(t, err)
	assert.EqualValues(t, 3+3, requests.n.Load(), "rejected, token, again")

	demanded := fake.RevokeTokensWithClaims()
	_, err = client.GetKey(ctx, "tde", "")
	require.NoError(t, err)
	assert.EqualValues(t, 6+3, requests.n.Load())
	assert.Contains(t, demanded, "access_token")
	assert.Contains(t, requests.seen[7].body, "claims=")

	// All callers of the moment share the new token.
	fake.RevokeTokens()
	fake.ResetJournal()
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			_, err := client.GetKey(ctx, "tde", "")
			assert.NoError(t, err)
		})
	}
	group.Wait()
	assert.Equal(t, 1, fake.Count(fakevault.OpToken))
}

func TestTokenRejectedForGood(t *testing.T) {
	for _, c := range []struct {
		name      string
		challenge string
		requests  int64
	}{
		{"ordinary challenge", usualChallenge, 3 + 2},
		{"no challenge", "", 3 + 2},
		{"claims again and again", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="`, 3 + 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			requests := &counter{next: scripted(func(r *http.Request) *http.Response {
				return reply(r, 401, `{"error":{"code":"Unauthorized","message":"AKV10022: Invalid audience. EncodedJwtHeader: 'eyJ0eXAiOiJKV1QifQ'"}}`,
					"WWW-Authenticate", c.challenge, "x-ms-request-id", "req-1", "x-ms-keyvault-region", "westus2")
			})}
			cred, err := aad.NewClientSecret("id", "s3cret~value")
			require.NoError(t, err)
			client, err := akv.NewClient("contoso", cred, &akv.Options{Transport: requests})
			require.NoError(t, err)
			_, err = client.GetKey(t.Context(), "tde", "")
			var e *ekm.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, ekm.ErrorGetTokenRejected, e.Code)
			assert.Equal(t, []any{401, "Unauthorized", "req-1", "westus2", "getKey", ekm.Vault, "contoso.vault.azure.net"},
				[]any{e.Status, e.ServiceCode, e.RequestID, e.Region, e.Op, e.Party, e.Host})
			assert.Contains(t, e.Message, "AKV10022")
			assert.NotContains(t, e.Message, "eyJ")
			assert.Equal(t, c.requests, requests.n.Load())
		})
	}
}

// The vault may move to another tenant; it may not move to another login host.
func TestRevisedChallenge(t *testing.T) {
	for _, c := range []struct {
		challenge string
		want      ekm.Code
		host      string
	}{
		{`Bearer authorization="https://login.windows.net/other-tenant", resource="https://vault.azure.net"`, ekm.ErrorSuccess, "login.windows.net"},
		{`Bearer authorization="https://evil.example/tenant", resource="https://vault.azure.net"`, ekm.ErrorGetAADDomainUrlMalformatted, ""},
		{`Bearer authorization="https://login.windows.net/t", resource="https://management.azure.com"`, ekm.ErrorGetAKVResourceUrlStopPosition, ""},
	} {
		moved := false
		var hosts []string
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			hosts = append(hosts, r.URL.Host)
			return scripted(func(r *http.Request) *http.Response {
				if !moved {
					moved = true
					return reply(r, 401, "", "WWW-Authenticate", c.challenge)
				}
				return reply(r, 200, `{"key":{"kid":"https://contoso.vault.azure.net/keys/tde/1","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}`)
			}).RoundTrip(r)
		})
		cred, err := aad.NewClientSecret("id", "s3cret~value")
		require.NoError(t, err)
		for vault, opts := range map[string]akv.Options{"contoso": {}, "10.0.0.5": {IDHost: "contoso"}} {
			moved, opts.Transport = false, transport
			client, err := akv.NewClient(vault, cred, &opts)
			require.NoError(t, err)
			_, err = client.GetKey(t.Context(), "tde", "")
			assert.Equal(t, c.want, ekm.CodeOf(err), "%v", err)
			assert.NotContains(t, hosts, "evil.example")
		}
	}
}

func TestHostileLinksAndRedirects(t *testing.T) {
	page := 0
	client := scriptedClient(t, akv.Options{}, func(r *http.Request) *http.Response {
		require.Equal(t, "contoso.vault.azure.net", strings.TrimSuffix(r.URL.Host, ":443"))
		page++
		if page == 1 {
			return reply(r, 200, `{"value":[{"kid":"https://contoso.vault.azure.net/keys/a"}],"nextLink":"https://contoso.vault.azure.net:443/keys?$skiptoken=x"}`)
		}
		return reply(r, 200, `{"value":[],"nextLink":"https://evil.example/keys"}`)
	})
	var names []string
	var last error
	for item, err := range client.Keys(t.Context()) {
		names, last = append(names, item.Name), err
	}
	assert.Equal(t, []string{"a", ""}, names)
	assert.ErrorIs(t, last, ekm.ErrorHttpConnectSession)

	endless := scriptedClient(t, akv.Options{}, func(r *http.Request) *http.Response {
		return reply(r, 200, `{"value":[],"nextLink":"https://contoso.vault.azure.net/keys?$skiptoken=x"}`)
	})
	for _, err := range endless.Keys(t.Context()) {
		last = err
	}
	assert.ErrorIs(t, last, ekm.SCPErrProviderError)

	redirecting := scriptedClient(t, akv.Options{}, func(r *http.Request) *http.Response {
		return reply(r, 307, "", "Location", "https://evil.example/")
	})
	_, err := redirecting.WrapKey(t.Context(), "tde", "", akv.RSAOAEP256, dataKey())
	assert.ErrorIs(t, err, ekm.ErrorUnknown)
}

func TestExpiredContext(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	requests := &counter{next: fake.Transport()}
	client := clientOf(t, fake, akv.Options{Transport: requests})
	ctx, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	_, err := client.GetKey(ctx, "tde", "")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, ekm.SCPErrFailure, ekm.CodeOf(err))
	assert.Zero(t, requests.n.Load())

	_, err = client.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = client.GetKey(ctx, "tde", "")
	assert.ErrorIs(t, err, context.Canceled)
	assert.NotEqual(t, ekm.ErrorUnknown, ekm.CodeOf(err))
}
