package aad_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

const (
	workloadClient  = "5eedf00d-c11e-4d00-8a11-fa4e000000aa"
	workloadIssuer  = "https://oidc.example/cluster/"
	workloadSubject = "system:serviceaccount:sql:ekm"
)

// workloadKey is the cluster's, made once for all tests.
var workloadKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// federatedToken is what Kubernetes writes into the file.
func federatedToken(subject string) string {
	now := time.Now()
	text, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": workloadIssuer, "sub": subject, "aud": []string{"api://AzureADTokenExchange"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": rand.Text(),
	}).SignedString(workloadKey())
	if err != nil {
		panic(err)
	}
	return text
}

// payload reads a token's claims; nothing is verified.
func payload(t *testing.T, token string, into any) {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, into))
}

func federatingFake(t *testing.T) *fakevault.Server {
	fake := fakevault.New(fakevault.Options{})
	t.Cleanup(fake.Close)
	fake.AddFederated(workloadClient, workloadIssuer, workloadSubject, "", &workloadKey().PublicKey)
	fake.AddKey("tde", workloadKey())
	return fake
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestWorkloadIdentity(t *testing.T) {
	fake := federatingFake(t)
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, federatedToken(workloadSubject)+"\n")
	platformEnvironment(t, map[string]string{"AZURE_CLIENT_ID": workloadClient, "AZURE_FEDERATED_TOKEN_FILE": file})
	cred, err := aad.NewWorkloadIdentity(nil)
	require.NoError(t, err)
	token, err := tokensOf(t, cred, fake.Transport()).Get(t.Context(), demandOf(fake))
	require.NoError(t, err)
	var claims struct{ Appid string }
	payload(t, token.Reveal(), &claims)
	assert.Equal(t, workloadClient, claims.Appid)
	assert.Contains(t, fake.Journal()[0].Form, "client_assertion")
	assert.NotContains(t, fake.Journal()[0].Form, "client_secret")

	client, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: fake.Transport()})
	require.NoError(t, err)
	defer client.Close()
	_, err = client.GetKey(t.Context(), "tde", "")
	assert.NoError(t, err)
}

func TestWorkloadIdentityFileIsReadEachTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	a := &authority{answer: numbered(3599)}
	cred, err := aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: workloadClient, TokenFile: file})
	require.NoError(t, err, "the file may come later")
	tokens := tokensOf(t, cred, a)
	writeFile(t, file, "first")
	token, err := tokens.Get(t.Context(), demand())
	require.NoError(t, err)
	writeFile(t, file, "\tsecond\r\n")
	again, err := tokens.Get(t.Context(), demand())
	require.NoError(t, err)
	assert.Equal(t, token.Reveal(), again.Reveal(), "from the cache")
	_, _, err = tokens.Renew(t.Context(), demand(), token)
	require.NoError(t, err)
	require.Len(t, a.forms, 2)
	assert.Equal(t, url.Values{
		"grant_type":            {"client_credentials"},
		"client_id":             {workloadClient},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {"first"},
		"scope":                 {"https://vault.azure.net/.default"},
		"claims":                {`{"access_token":{"xms_cc":{"values":["cp1"]}}}`},
	}, a.forms[0])
	assert.Equal(t, "second", a.forms[1].Get("client_assertion"))
}

func TestWorkloadIdentityFile(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		ok   bool
		says string
		is   error
	}{
		"missing":      {func(*testing.T, string) {}, false, "federated token", fs.ErrNotExist},
		"directory":    {func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, false, "federated token", nil},
		"empty":        {func(t *testing.T, path string) { writeFile(t, path, "") }, false, "is empty, or", nil},
		"blank":        {func(t *testing.T, path string) { writeFile(t, path, " \n") }, false, "is empty, or", nil},
		"two tokens":   {func(t *testing.T, path string) { writeFile(t, path, "one\ntwo") }, false, "something else", nil},
		"not text":     {func(t *testing.T, path string) { writeFile(t, path, "\x00\xff") }, false, "something else", nil},
		"a mark":       {func(t *testing.T, path string) { writeFile(t, path, "\ufeffone") }, false, "invisible character", nil},
		"too long":     {func(t *testing.T, path string) { writeFile(t, path, strings.Repeat("x", 32<<10+1)) }, false, "too long", nil},
		"blanks after": {func(t *testing.T, path string) { writeFile(t, path, "x"+strings.Repeat(" ", 32<<10)) }, false, "too long", nil},
		"at the limit": {func(t *testing.T, path string) { writeFile(t, path, strings.Repeat("x", 32<<10)) }, true, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			c.make(t, file)
			synctest.Test(t, func(t *testing.T) {
				a := &authority{answer: numbered(3599)}
				cred, err := aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: workloadClient, TokenFile: file})
				require.NoError(t, err)
				tokens := tokensOf(t, cred, a)
				_, err = tokens.Get(t.Context(), demand())
				if c.ok {
					require.NoError(t, err)
					return
				}
				e := failureOf(t, err, ekm.ErrorGetTokenFailedToGetToken)
				assert.Equal(t, ekm.Local, e.Party)
				assert.ErrorContains(t, err, c.says)
				require.Error(t, e.Err)
				if c.is != nil {
					assert.ErrorIs(t, err, c.is)
				}
				assert.Zero(t, a.requests.Load())

				require.NoError(t, os.RemoveAll(file))
				writeFile(t, file, "mended")
				time.Sleep(1100 * time.Millisecond)
				_, err = tokens.Get(t.Context(), demand())
				assert.NoError(t, err)
			})
		})
	}
}

func TestWorkloadIdentityRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text   func() string
		aadsts string
		code   ekm.Code
	}{
		"another subject": {func() string { return federatedToken("system:serviceaccount:sql:other") }, "AADSTS70021", ekm.ErrorHttpResponseCodeClientError},
		"no token at all": {func() string { return "nonsense" }, "AADSTS50027", ekm.ErrorHttpResponseCodeClientError},
		"bad signature": {func() string {
			text := federatedToken(workloadSubject)
			return text[:strings.LastIndex(text, ".")+1] + base64.RawURLEncoding.EncodeToString(make([]byte, 256))
		}, "AADSTS50013", ekm.ErrorGetTokenBadCredentials},
	} {
		t.Run(name, func(t *testing.T) {
			fake := federatingFake(t)
			file := filepath.Join(t.TempDir(), "token")
			text := c.text()
			writeFile(t, file, text)
			cred, err := aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: workloadClient, TokenFile: file})
			require.NoError(t, err)
			_, err = tokensOf(t, cred, fake.Transport()).Get(t.Context(), demandOf(fake))
			e := failureOf(t, err, c.code)
			assert.Equal(t, c.aadsts, e.AADSTS)
			assert.Equal(t, ekm.Authority, e.Party)
			assert.Equal(t, 1, fake.Count(fakevault.OpToken))
			assert.NotContains(t, fmt.Sprintf("%v %#v", err, *e), text)
		})
	}
}

// The token of an expired file is refused with both clocks, and a new file helps.
func TestWorkloadIdentityExpiredFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		fake := federatingFake(t)
		writeFile(t, file, federatedToken(workloadSubject))
		time.Sleep(2 * time.Hour)
		cred, err := aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: workloadClient, TokenFile: file})
		require.NoError(t, err)
		tokens := tokensOf(t, cred, fake.Transport())
		_, err = tokens.Get(t.Context(), demandOf(fake))
		assert.Equal(t, "AADSTS700024", failureOf(t, err, ekm.ErrorGetTokenBadCredentials).AADSTS)
		writeFile(t, file, federatedToken(workloadSubject))
		time.Sleep(2 * time.Second)
		_, err = tokens.Get(t.Context(), demandOf(fake))
		assert.NoError(t, err)
	})
}

func TestWorkloadIdentityTokenIsNeverTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for _, secret := range []string{federatedToken(workloadSubject), "an-opaque+token/of=another-kind"} {
		writeFile(t, file, secret)
		cred, err := aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: workloadClient, TokenFile: file})
		require.NoError(t, err)
		a := &authority{answer: func(_ int64, _ *http.Request, form url.Values) (int, string) {
			said := form.Get("client_assertion")
			return 400, `{"error":"` + said + `","error_description":"` + said + ` ` + form.Encode() + `"}`
		}}
		_, err = tokensOf(t, cred, a).Get(t.Context(), demand())
		require.Error(t, err)
		e := failureOf(t, err, ekm.ErrorHttpResponseCodeClientError)
		text := fmt.Sprintf("%v %+v %#v", err, err, *e)
		assert.NotContains(t, text, secret)
		assert.NotContains(t, text, url.QueryEscape(secret))
	}
}

func TestWorkloadIdentitySettings(t *testing.T) {
	type env = map[string]string
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		writeFile(t, filepath.Join(dir, name), "token-"+name)
	}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for name, c := range map[string]struct {
		env              env
		opts             *aad.WorkloadIdentityOptions
		client, asserted string // empty: refused
	}{
		"environment":       {env{"AZURE_CLIENT_ID": "client-a", "AZURE_FEDERATED_TOKEN_FILE": a}, nil, "client-a", "token-a"},
		"empty options":     {env{"AZURE_CLIENT_ID": "client-a", "AZURE_FEDERATED_TOKEN_FILE": a}, &aad.WorkloadIdentityOptions{}, "client-a", "token-a"},
		"options":           {nil, &aad.WorkloadIdentityOptions{ClientID: "client-b", TokenFile: b}, "client-b", "token-b"},
		"options over both": {env{"AZURE_CLIENT_ID": "client-a", "AZURE_FEDERATED_TOKEN_FILE": a}, &aad.WorkloadIdentityOptions{ClientID: "client-b", TokenFile: b}, "client-b", "token-b"},
		"client id only":    {env{"AZURE_CLIENT_ID": "client-a", "AZURE_FEDERATED_TOKEN_FILE": a}, &aad.WorkloadIdentityOptions{ClientID: "client-b"}, "client-b", "token-a"},
		"file only":         {env{"AZURE_CLIENT_ID": "client-a", "AZURE_FEDERATED_TOKEN_FILE": a}, &aad.WorkloadIdentityOptions{TokenFile: b}, "client-a", "token-b"},
		"nothing":           {nil, nil, "", ""},
		"no file":           {env{"AZURE_CLIENT_ID": "client-a"}, nil, "", ""},
		"no client id":      {env{"AZURE_FEDERATED_TOKEN_FILE": a}, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			platformEnvironment(t, c.env)
			cred, err := aad.NewWorkloadIdentity(c.opts)
			if c.client == "" {
				assert.Equal(t, ekm.Local, failureOf(t, err, ekm.SCPErrInvalidArgument).Party)
				assert.ErrorContains(t, err, "AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE")
				assert.Nil(t, cred)
				return
			}
			require.NoError(t, err)
			platformEnvironment(t, nil) // it was read once
			asked := &authority{answer: numbered(3599)}
			_, err = tokensOf(t, cred, asked).Get(t.Context(), demand())
			require.NoError(t, err)
			assert.Equal(t, c.client, asked.forms[0].Get("client_id"))
			assert.Equal(t, c.asserted, asked.forms[0].Get("client_assertion"))
		})
	}
}
