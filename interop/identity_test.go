package interop

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

func TestAzidentityColdStart(t *testing.T) {
	for _, discover := range []bool{false, true} {
		w := newWorld(t, fakevault.Options{})
		w.CreateKey("tde", 0)
		cred, err := azidentity.NewClientSecretCredential(w.Tenant(), w.ClientID(), w.ClientSecret(),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: w.options(), DisableInstanceDiscovery: !discover})
		require.NoError(t, err)
		_, err = w.microsoft(t, cred).GetKey(t.Context(), "tde", "", nil)
		require.NoError(t, err)
		var paths []string
		for _, e := range w.Journal() {
			require.Equal(t, "HTTP/2.0", e.Proto)
			paths = append(paths, e.Path[strings.LastIndexByte(strings.TrimSuffix(e.Path, "/"), '/'):])
		}
		want := []string{"/tde/", "/openid-configuration", "/token", "/tde/"}
		if discover {
			want = []string{"/tde/", "/instance", "/openid-configuration", "/token", "/tde/"}
		}
		require.Equal(t, want, paths)
	}
}

func TestAzidentityDecodesRefusals(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	w.CreateKey("tde", 0)
	get := func(tenant, id, secret string) error {
		cred, err := azidentity.NewClientSecretCredential(tenant, id, secret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: w.options(), DisableInstanceDiscovery: true})
		require.NoError(t, err)
		_, err = w.microsoft(t, cred).GetKey(t.Context(), "tde", "", nil)
		return err
	}
	var failed *azidentity.AuthenticationFailedError
	err := get(w.Tenant(), w.ClientID(), "wrong")
	require.ErrorAs(t, err, &failed)
	require.Equal(t, http.StatusUnauthorized, failed.RawResponse.StatusCode)
	require.ErrorContains(t, err, "AADSTS7000215")
	err = get(w.Tenant(), "5eedf00d-0000-4d00-8a11-fa4e00000009", w.ClientSecret())
	require.ErrorAs(t, err, &failed)
	require.ErrorContains(t, err, "AADSTS700016")
}

func TestAzidentityFollowsClaimsChallenge(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	w.CreateKey("tde", 0)
	c := w.microsoft(t, w.secret(t))
	_, err := c.GetKey(t.Context(), "tde", "", nil)
	require.NoError(t, err)
	w.RevokeTokensWithClaims()
	_, err = c.GetKey(t.Context(), "tde", "", nil)
	require.NoError(t, err)
	require.Equal(t, 2, w.Count(fakevault.OpToken))
}

// listening notes the client assertions that pass.
type listening struct {
	http.RoundTripper
	mu         sync.Mutex
	assertions []string
}

func (l *listening) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/token") {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		l.assertions = append(l.assertions, form.Get("client_assertion"))
		l.mu.Unlock()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	return l.RoundTripper.RoundTrip(r)
}

func certificate(t *testing.T) (*x509.Certificate, *rsa.PrivateKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "interop"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert, key
}

func TestAzidentityCertificate(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	w.CreateKey("tde", 0)
	heard := &listening{RoundTripper: w.transport}
	w.transport = heard
	cert, key := certificate(t)
	get := func() error {
		cred, err := azidentity.NewClientCertificateCredential(w.Tenant(), w.ClientID(), []*x509.Certificate{cert}, key,
			&azidentity.ClientCertificateCredentialOptions{ClientOptions: w.options(), DisableInstanceDiscovery: true})
		require.NoError(t, err)
		_, err = w.microsoft(t, cred).GetKey(t.Context(), "tde", "", nil)
		return err
	}
	require.ErrorContains(t, get(), "AADSTS700027", "not registered yet")
	w.AddCertificate(w.ClientID(), cert)
	require.NoError(t, get())

	require.Len(t, heard.assertions, 2)
	head, err := base64.RawURLEncoding.DecodeString(strings.Split(heard.assertions[1], ".")[0])
	require.NoError(t, err)
	var header struct {
		Alg     string `json:"alg"`
		X5TS256 string `json:"x5t#S256"`
	}
	require.NoError(t, json.Unmarshal(head, &header))
	require.Equal(t, "PS256", header.Alg)
	sum := sha256.Sum256(cert.Raw)
	thumbprint := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(header.X5TS256, "="))
	require.Equal(t, base64.RawURLEncoding.EncodeToString(sum[:]), thumbprint)
}

// Our client with Microsoft's identity: also when the vault asks for claims.
func TestOurClientWithAzidentity(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	w.CreateKey("tde", 0)
	cred, err := aad.NewTokenSource(Identity{w.secret(t)})
	require.NoError(t, err)
	c := w.ours(t, cred)
	_, err = c.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	_, err = c.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	require.Equal(t, 1, w.Count(fakevault.OpToken))
	w.RevokeTokensWithClaims()
	_, err = c.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	require.Equal(t, 2, w.Count(fakevault.OpToken))
}
