package aad_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/retry"
)

const (
	filePassword = "ekm-test-1"
	application  = fakevault.DefaultClientID
)

// keyFile is one of the key and certificate files that all tests share.
func keyFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "internal", "keyfile", "testdata", name))
	require.NoError(t, err)
	return data
}

// certificateFile is the certificate in a PEM file of theirs: "leaf", "old", "issuer".
func certificateFile(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(keyFile(t, name+".pem"))
	require.NotNil(t, block)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert
}

func hexSHA1(cert *x509.Certificate) string {
	sum := sha1.Sum(cert.Raw)
	return hex.EncodeToString(sum[:])
}

func hexSHA256(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// whileValid runs a test in a bubble whose clock stands within the life of the
// files' certificates, whatever the machine's says.
func whileValid(t *testing.T, test func(*testing.T)) {
	t.Helper()
	leaf := certificateFile(t, "leaf")
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(leaf.NotBefore.Add(24 * time.Hour)))
		test(t)
	})
}

// testRSA is a key of the tests' own, which no file holds.
var testRSA = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// newCertificate is a certificate of key's, from now on and for so long.
func newCertificate(t testing.TB, key crypto.Signer, begins time.Time, life time.Duration, more ...pkix.Extension) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "app"},
		NotBefore: begins, NotAfter: begins.Add(life), ExtraExtensions: more,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// pemOf is key and certificate as a file has them.
func pemOf(t testing.TB, key *rsa.PrivateKey, cert *x509.Certificate) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	require.NoError(t, pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	return b.Bytes()
}

// A hardwareKey has an RSA key and is no *rsa.PrivateKey. It counts signatures.
type hardwareKey struct {
	public     crypto.PublicKey
	sign       func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
	signatures atomic.Int64
}

func hardware(key *rsa.PrivateKey) *hardwareKey {
	return &hardwareKey{public: &key.PublicKey, sign: func(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		return key.Sign(rand.Reader, digest, opts)
	}}
}

func (k *hardwareKey) Public() crypto.PublicKey { return k.public }

func (k *hardwareKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.signatures.Add(1)
	return k.sign(digest, opts)
}

// A formTap keeps the forms that pass it.
type formTap struct {
	next  http.RoundTripper
	mu    sync.Mutex
	forms []url.Values
	paths []string
}

func (f *formTap) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.forms, f.paths = append(f.forms, form), append(f.paths, r.URL.String())
	f.mu.Unlock()
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(text))
	return f.next.RoundTrip(r)
}

// entra is a fake with a tap in front of it.
func entra(t testing.TB) (*fakevault.Server, *formTap) {
	t.Helper()
	fake := fakevault.New(fakevault.Options{})
	t.Cleanup(fake.Close)
	return fake, &formTap{next: fake.Transport()}
}

// vaultDemand is what the fake's vault asks a token for.
func vaultDemand(fake *fakevault.Server) challenge.Challenge {
	return challenge.Challenge{
		Authority: fake.AuthorityURL(), Tenant: fake.Tenant(), Resource: fake.Resource(), Scope: fake.Resource() + "/.default",
	}
}

// exchanging hands out tokens for cred; one try each.
func exchanging(t testing.TB, cred aad.Credential, transport http.RoundTripper) *aad.Tokens {
	t.Helper()
	tokens := aad.NewTokens(cred, &aad.Options{Transport: transport, Retry: retry.Policy{Attempts: 1}})
	t.Cleanup(tokens.Close)
	return tokens
}

// requireCode is the *ekm.Error in err, which must have this code.
func requireCode(t testing.TB, want ekm.Code, err error) *ekm.Error {
	t.Helper()
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok, "want code %d, got %v", want, err)
	require.Equal(t, want, e.Code, "%v", err)
	return e
}

// A readAssertion is what an assertion says, as golang-jwt reads it.
type readAssertion struct {
	header map[string]any
	claims jwt.MapClaims
}

// verifyAssertion checks a request's assertion against public and everything
// that is the same in all of them.
func verifyAssertion(t testing.TB, form url.Values, public *rsa.PublicKey, endpoint, alg string) readAssertion {
	t.Helper()
	assert.Equal(t, application, form.Get("client_id"))
	assert.Equal(t, "client_credentials", form.Get("grant_type"))
	assert.Equal(t, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", form.Get("client_assertion_type"))
	assert.NotContains(t, form, "client_secret")
	text := form.Get("client_assertion")
	claims := jwt.MapClaims{}
	parsed, err := jwt.NewParser(
		jwt.WithValidMethods([]string{alg}), jwt.WithStrictDecoding(), jwt.WithIssuedAt(), jwt.WithExpirationRequired(),
		jwt.WithAudience(endpoint), jwt.WithIssuer(application), jwt.WithSubject(application),
	).ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return public, nil })
	require.NoError(t, err)
	if alg == "PS256" { // golang-jwt takes any length of salt, RFC 7518, section 3.5, one
		signed := text[:strings.LastIndexByte(text, '.')]
		digest := sha256.Sum256([]byte(signed))
		require.NoError(t, rsa.VerifyPSS(public, crypto.SHA256, digest[:], parsed.Signature, &rsa.PSSOptions{SaltLength: sha256.Size}))
	}
	assert.Equal(t, "JWT", parsed.Header["typ"])
	assert.Equal(t, endpoint, claims["aud"], "plain text, as Microsoft's page has it, not a list")
	now := time.Now().Unix()
	assert.EqualValues(t, now, claims["nbf"])
	assert.EqualValues(t, now, claims["iat"])
	assert.EqualValues(t, now+600, claims["exp"], "ten minutes are the most that is recommended")
	id, err := uuid.Parse(claims["jti"].(string))
	require.NoError(t, err)
	assert.EqualValues(t, 4, id.Version(), "random")
	assert.Len(t, claims, 7)
	return readAssertion{parsed.Header, claims}
}

// named checks by which thumbprint an assertion names cert, and that by no other.
func (r readAssertion) named(t testing.TB, header string, cert *x509.Certificate) {
	t.Helper()
	one, two := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	want := map[string]string{"x5t": base64.RawURLEncoding.EncodeToString(one[:]), "x5t#S256": base64.RawURLEncoding.EncodeToString(two[:])}
	for _, name := range []string{"x5t", "x5t#S256"} {
		if name == header {
			assert.Equal(t, want[name], r.header[name])
		} else {
			assert.NotContains(t, r.header, name)
		}
	}
}

func TestAssertion(t *testing.T) {
	leaf, issuer, root := certificateFile(t, "leaf"), certificateFile(t, "issuer"), certificateFile(t, "root")
	for _, c := range []struct {
		why    string
		file   string
		opts   aad.CertificateOptions
		alg    string
		header string
		chain  []*x509.Certificate
	}{
		{"the default", "pkcs8.pem", aad.CertificateOptions{}, "PS256", "x5t#S256", nil},
		{"AD FS and old set-ups", "pkcs8.pem", aad.CertificateOptions{RS256: true}, "RS256", "x5t", nil},
		{"with its issuers", "pkcs8.pem", aad.CertificateOptions{SendChain: true}, "PS256", "x5t#S256", []*x509.Certificate{leaf, issuer, root}},
		{"the chain is put in order", "shuffled.pem", aad.CertificateOptions{SendChain: true, RS256: true}, "RS256", "x5t", []*x509.Certificate{leaf, issuer, root}},
		{"a chain of one", "pkcs1.pem", aad.CertificateOptions{SendChain: true}, "PS256", "x5t#S256", []*x509.Certificate{leaf}},
		{"a key alone, known by SHA-1: PS256 would go with SHA-256", "key.pem", aad.CertificateOptions{Thumbprint: hexSHA1(leaf)}, "RS256", "x5t", nil},
		{"a key alone, known by SHA-256", "key.pem", aad.CertificateOptions{Thumbprint: hexSHA256(leaf)}, "PS256", "x5t#S256", nil},
		{"RS256 where only SHA-256 is known", "key.pem", aad.CertificateOptions{Thumbprint: hexSHA256(leaf), RS256: true}, "RS256", "x5t#S256", nil},
		{"a SHA-1 thumbprint that chooses does not weaken", "pkcs8.pem", aad.CertificateOptions{Thumbprint: hexSHA1(leaf)}, "PS256", "x5t#S256", nil},
	} {
		t.Run(c.why, func(t *testing.T) {
			whileValid(t, func(t *testing.T) {
				fake, tap := entra(t)
				fake.AddCertificate(application, leaf)
				cred, err := aad.NewPEM(application, keyFile(t, c.file), &c.opts)
				require.NoError(t, err)
				_, err = exchanging(t, cred, tap).Get(t.Context(), vaultDemand(fake))
				require.NoError(t, err)
				require.Len(t, tap.forms, 1)
				endpoint := fake.AuthorityURL() + "/oauth2/v2.0/token"
				assert.Equal(t, endpoint, tap.paths[0])
				read := verifyAssertion(t, tap.forms[0], leaf.PublicKey.(*rsa.PublicKey), endpoint, c.alg)
				read.named(t, c.header, leaf)
				if c.chain == nil {
					assert.NotContains(t, read.header, "x5c")
					assert.Len(t, read.header, 3)
					return
				}
				sent, _ := read.header["x5c"].([]any)
				require.Len(t, sent, len(c.chain))
				for i, text := range sent {
					der, err := base64.StdEncoding.Strict().DecodeString(text.(string))
					require.NoError(t, err, "RFC 7515, section 4.1.6: the standard alphabet, padded")
					assert.Equal(t, c.chain[i].Raw, der, "certificate %d", i)
				}
			})
		})
	}
}

// The endpoint that is asked is the audience, v1 and AD FS included.
func TestAssertionAudience(t *testing.T) {
	whileValid(t, func(t *testing.T) {
		leaf := certificateFile(t, "leaf")
		cred, err := aad.NewPEM(application, keyFile(t, "pkcs8.pem"), &aad.CertificateOptions{RS256: true})
		require.NoError(t, err)
		tap := &formTap{next: answering(200, `{"access_token":"abc","expires_in":3599}`)}
		tokens := aad.NewTokens(cred, &aad.Options{Transport: tap, V1: true})
		defer tokens.Close()
		_, err = tokens.Get(t.Context(), challenge.Challenge{Authority: "https://adfs.contoso.com/adfs", Resource: "https://vault.contoso.com", Scope: "https://vault.contoso.com/.default"})
		require.NoError(t, err)
		verifyAssertion(t, tap.forms[0], leaf.PublicKey.(*rsa.PublicKey), "https://adfs.contoso.com/adfs/oauth2/token", "RS256").named(t, "x5t", leaf)
	})
}

// An assertion lives shorter than a token: each exchange needs its own.
func TestAssertionIsNewForEachExchange(t *testing.T) {
	whileValid(t, func(t *testing.T) {
		leaf := certificateFile(t, "leaf")
		fake, tap := entra(t)
		fake.AddCertificate(application, leaf)
		cred, err := aad.NewPEM(application, keyFile(t, "pkcs8.pem"), nil)
		require.NoError(t, err)
		tokens := exchanging(t, cred, tap)
		seen := map[any]bool{}
		var last aad.Token
		for i := range 4 {
			last, _, err = tokens.Renew(t.Context(), vaultDemand(fake), last)
			require.NoError(t, err, "the fake refuses an assertion that was used before")
			require.Len(t, tap.forms, i+1)
			read := verifyAssertion(t, tap.forms[i], leaf.PublicKey.(*rsa.PublicKey), fake.AuthorityURL()+"/oauth2/v2.0/token", "PS256")
			seen[read.claims["jti"]] = true
			time.Sleep(20 * time.Minute)
		}
		assert.Len(t, seen, 4)
	})
}

// Failures of making an assertion, each with a code of its own. There is no row
// for 3802, 3805 and 3806: they take a machine without random numbers, a program
// without SHA-256 and a hash that fails to write, and are not to be had without
// breaking the runtime; for 3801, a certificate without any thumbprint cannot be
// made either, but a chain that is not there can be asked for.
func TestAssertionFailures(t *testing.T) {
	key := testRSA()
	unplugged := errors.New("the token was removed from its slot")
	failing := hardware(key)
	failing.sign = func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, unplugged }
	garbage := hardware(key)
	garbage.sign = func([]byte, crypto.SignerOpts) ([]byte, error) { return make([]byte, 256), nil }
	empty := hardware(key)
	empty.sign = func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, nil }
	deaf := hardware(key)
	deaf.sign = func(digest []byte, _ crypto.SignerOpts) ([]byte, error) {
		return key.Sign(rand.Reader, digest, crypto.SHA256)
	}
	other := hardware(key)
	other.sign = hardware(mustParsePKCS1(t)).sign
	cert := newCertificate(t, key, time.Now().Add(-time.Hour), 48*time.Hour)
	heavy := newCertificate(t, key, time.Now().Add(-time.Hour), 48*time.Hour,
		pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: bytes.Repeat([]byte{5}, 40<<10)})
	for _, c := range []struct {
		name  string
		key   crypto.Signer
		chain []*x509.Certificate
		opts  aad.CertificateOptions
		at    challenge.Challenge
		code  ekm.Code
		says  string
	}{
		{"a chain that is not there", hardware(key), nil, aad.CertificateOptions{Thumbprint: hexSHA256(cert), SendChain: true}, demand(), 3801, "there is no certificate"},
		{"no authority", hardware(key), []*x509.Certificate{cert}, aad.CertificateOptions{}, challenge.Challenge{}, 3803, "authority"},
		{"a garbled signature", garbage, []*x509.Certificate{cert}, aad.CertificateOptions{}, demand(), 3804, "not one of the certificate's key"},
		{"no signature and no error", empty, []*x509.Certificate{cert}, aad.CertificateOptions{}, demand(), 3804, "not one of"},
		{"another slot's key", other, []*x509.Certificate{cert}, aad.CertificateOptions{}, demand(), 3804, "not one of"},
		{"PKCS #1 whatever was asked for", deaf, []*x509.Certificate{cert}, aad.CertificateOptions{}, demand(), 3804, "not one of"},
		{"a token that is gone", failing, []*x509.Certificate{cert}, aad.CertificateOptions{}, demand(), 3807, unplugged.Error()},
		{"an enormous certificate", hardware(key), []*x509.Certificate{heavy}, aad.CertificateOptions{SendChain: true}, demand(), 3808, "is the chain needed?"},
		{"the same, not sent", hardware(key), []*x509.Certificate{heavy}, aad.CertificateOptions{}, demand(), 0, ""},
		{"the same one that signs PKCS #1, asked for it", deaf, []*x509.Certificate{cert}, aad.CertificateOptions{RS256: true}, demand(), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cred, err := aad.NewSigner(application, c.key, c.chain, &c.opts)
			require.NoError(t, err)
			a := &authority{answer: numbered(3599)}
			_, err = exchanging(t, cred, a).Get(t.Context(), c.at)
			if c.code == 0 {
				require.NoError(t, err)
				return
			}
			e := requireCode(t, c.code, err)
			assert.Equal(t, "acquireToken", e.Op)
			assert.Equal(t, ekm.Local, e.Party)
			assert.ErrorContains(t, err, c.says)
			assert.Equal(t, c.code == 3807, errors.Is(err, unplugged))
			assert.Zero(t, a.requests.Load(), "nobody is asked")
		})
	}
}

func mustParsePKCS1(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := x509.ParsePKCS1PrivateKey(keyFile(t, "pkcs1.der"))
	require.NoError(t, err)
	return key
}

// What cold start with a certificate costs.
func TestColdStart(t *testing.T) {
	fake, _ := entra(t)
	fake.AddKey("tde", testRSA())
	key := hardware(testRSA())
	cert := newCertificate(t, testRSA(), time.Now().Add(-time.Hour), 48*time.Hour)
	fake.AddCertificate(application, cert)
	cred, err := aad.NewSigner(application, key, []*x509.Certificate{cert}, nil)
	require.NoError(t, err)
	assert.Zero(t, key.signatures.Load(), "none before it is needed")
	client, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: fake.Transport()})
	require.NoError(t, err)
	defer client.Close()
	_, err = client.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	var steps []string
	for _, e := range fake.Journal() {
		steps = append(steps, fmt.Sprintf("%s %d", e.Operation, e.Status))
	}
	assert.Equal(t, []string{"get 401", "token 200", "get 200"}, steps)
	assert.EqualValues(t, 1, key.signatures.Load())

	_, err = client.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	assert.Len(t, fake.Journal(), 4)
	assert.EqualValues(t, 1, key.signatures.Load())
}

// untold fails if err shows any of the secrets, or a third of one, however it is printed.
func untold(t testing.TB, err error, secrets ...string) {
	t.Helper()
	text, jsonErr := json.Marshal(err)
	require.NoError(t, jsonErr)
	for _, shown := range []string{err.Error(), fmt.Sprintf("%v %+v %s %q", err, err, err, err), string(text)} {
		for _, secret := range secrets {
			require.NotEmpty(t, secret)
			for part := 0; part < 3; part++ {
				n := len(secret) / 3
				assert.NotContains(t, shown, secret[part*n:(part+1)*n])
			}
		}
	}
}

func TestUnregisteredCertificate(t *testing.T) {
	whileValid(t, func(t *testing.T) {
		fake, tap := entra(t)
		fake.AddCertificate(application, certificateFile(t, "stranger"))
		cred, err := aad.NewPEM(application, keyFile(t, "pkcs8.pem"), &aad.CertificateOptions{SendChain: true})
		require.NoError(t, err)
		_, err = exchanging(t, cred, tap).Get(t.Context(), vaultDemand(fake))
		e := requireCode(t, ekm.ErrorGetTokenBadCredentials, err)
		assert.Equal(t, "AADSTS700027", e.AADSTS)
		assert.Equal(t, "invalid_client", e.ServiceCode)
		assert.Contains(t, e.Message, "The key was not found.")
		untold(t, err, strings.Split(tap.forms[0].Get("client_assertion"), ".")[1:]...)
	})
}

// An authority that quotes the assertion does not get it into a log.
func TestAssertionIsNotPrinted(t *testing.T) {
	whileValid(t, func(t *testing.T) {
		for status, code := range map[int]string{401: "invalid_client", 400: "invalid_request", 503: "temporarily_unavailable"} {
			cred, err := aad.NewPEM(application, keyFile(t, "pkcs8.pem"), nil)
			require.NoError(t, err)
			a := &authority{answer: func(_ int64, _ *http.Request, form url.Values) (int, string) {
				text := form.Get("client_assertion")
				return status, fmt.Sprintf(`{"error":%q,"error_description":"AADSTS50027: %s is invalid","suberror":%q}`, code, text, text)
			}}
			_, err = exchanging(t, cred, a).Get(t.Context(), demand())
			require.Error(t, err)
			untold(t, err, strings.Split(a.forms[0].Get("client_assertion"), ".")...)
		}
	})
}

// ecSigner is a signer with a key that Entra ID takes no assertions of.
func ecSigner(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}
