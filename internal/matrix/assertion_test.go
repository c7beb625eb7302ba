package matrix_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"math/big"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// assertionScenarios are the steps of making an assertion: 3801 to 3808. Each is
// a part of the token's exchange, which then does not take place.
func assertionScenarios() []scenario {
	return slices.Concat(assertionTextScenarios(), signatureScenarios(), hashScenarios())
}

// asserting is a row about an assertion. run returns the credential that is to
// prove its identity.
func asserting(code ekm.Code, how string, cause error, says string, run func(*scene) aad.Credential) scenario {
	return scenario{
		code: code, how: how, op: "acquireToken", party: ekm.Local, cause: cause, says: says,
		run: func(s *scene) error {
			err := s.getAs(run(s))
			assert.Zero(s, s.fake.Count(fakevault.OpToken), "nobody is asked")
			return err
		},
	}
}

// assertionTextScenarios are those of the text around the signature: 3801 to 3803
// and 3808.
func assertionTextScenarios() []scenario {
	return []scenario{
		asserting(ekm.ErrorJWTTokenCreateHeader, "a chain that is to be sent, where only the thumbprint is known", nil, "there is no certificate",
			func(s *scene) aad.Credential {
				thumbprint := hexSHA256(s.certificate(rsaKey(), time.Hour))
				return s.certified(&aad.CertificateOptions{Thumbprint: thumbprint, SendChain: true})
			}),
		{
			code: ekm.ErrorJWTTokenCreatePayloadGUID, how: "a source of random numbers, set for package uuid, that fails",
			op: "acquireToken", party: ekm.Local, cause: errNoRandom, run: (*scene).proveWithoutRandom,
		},
		{
			code: ekm.ErrorJWTTokenCreatePayload, how: "a token asked for of no authority", op: "acquireToken", party: ekm.Local,
			says: "no authority", run: func(s *scene) error { return s.tokenFor(s.certified(nil), challenge.Challenge{}) },
		},
		asserting(ekm.ErrorJWTTokenCreateToken, "a certificate of 40 KiB that is to be sent along", nil, "the limit is 49152",
			func(s *scene) aad.Credential {
				heavy := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: bytes.Repeat([]byte{5}, 40<<10)}
				chain := []*x509.Certificate{s.certificate(rsaKey(), time.Hour, heavy)}
				return s.signer(rsaKey(), chain, &aad.CertificateOptions{SendChain: true})
			}),
	}
}

// tokenFor asks for a token as package akv does.
func (s *scene) tokenFor(cred aad.Credential, demand challenge.Challenge) error {
	tokens := aad.NewTokens(cred, &aad.Options{Transport: s.fake.Transport()})
	s.Cleanup(tokens.Close)
	_, err := tokens.Get(s.Context(), demand)
	return err
}

var errNoRandom = errors.New("the random number generator is not ready")

// proveWithoutRandom asks for a token while package uuid has random bytes for one
// id more: the exchange's own, which comes before the assertion's.
func (s *scene) proveWithoutRandom() error {
	cred := s.certified(nil)
	uuid.SetRand(io.MultiReader(bytes.NewReader(make([]byte, 16)), failingReader{}))
	defer uuid.SetRand(nil)
	return s.tokenFor(cred, challenge.Challenge{
		Authority: s.fake.AuthorityURL(), Tenant: s.fake.Tenant(), Resource: s.fake.Resource(), Scope: s.fake.Resource() + "/.default",
	})
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errNoRandom }

// signatureScenarios are those of a signer out of this program's reach: 3804 and 3807.
func signatureScenarios() []scenario {
	type sign = func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
	row := func(code ekm.Code, how string, cause error, says string, f sign) scenario {
		return asserting(code, how, cause, says, func(s *scene) aad.Credential {
			chain := []*x509.Certificate{s.certificate(rsaKey(), time.Hour)}
			return s.signer(hardwareKey{&rsaKey().PublicKey, f}, chain, nil)
		})
	}
	bad := func(how string, f sign) scenario {
		return row(ekm.ErrorJWTTokenCreateSignature, how, nil, "not one of the certificate's key", f)
	}
	unplugged := errors.New("the token was removed from its slot")
	return []scenario{
		bad("a signer that returns nothing and no error", func([]byte, crypto.SignerOpts) ([]byte, error) {
			return nil, nil
		}),
		bad("a signer that returns half a signature", func(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
			signature, err := rsaKey().Sign(rand.Reader, digest, opts)
			return signature[:len(signature)/2], err
		}),
		bad("a signer that holds another key than its certificate's", func(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
			return fileKey().Sign(rand.Reader, digest, opts)
		}),
		bad("a signer that knows PKCS #1 alone, asked for PSS", func(digest []byte, _ crypto.SignerOpts) ([]byte, error) {
			return rsaKey().Sign(rand.Reader, digest, crypto.SHA256)
		}),
		row(ekm.ErrorJWTTokenSignatureSignHash, "a signer whose hardware is gone", unplugged, "", func([]byte, crypto.SignerOpts) ([]byte, error) {
			return nil, unplugged
		}),
	}
}

// A hardwareKey is an RSA key of which this program sees the public half.
type hardwareKey struct {
	public *rsa.PublicKey
	sign   func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (k hardwareKey) Public() crypto.PublicKey { return k.public }

func (k hardwareKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.sign(digest, opts)
}

// hashScenarios are 3805 and 3806, of a program whose SHA-256 was taken away or replaced, as
// crypto.RegisterHash lets any package of it do. That is why no scenario runs in
// parallel with another.
func hashScenarios() []scenario {
	restricted := errors.New("the module is in its error state")
	row := func(code ekm.Code, how string, cause error, says string, sha func() hash.Hash) scenario {
		return scenario{
			code: code, how: how, op: "acquireToken", party: ekm.Local, cause: cause, says: says,
			run: func(s *scene) error {
				cred := s.certified(nil)
				crypto.RegisterHash(crypto.SHA256, sha)
				defer crypto.RegisterHash(crypto.SHA256, sha256.New)
				return s.getAs(cred)
			},
		}
	}
	return []scenario{
		row(ekm.ErrorJWTTokenSignatureHashAlg, "a program without SHA-256", nil, "not part of this program", nil),
		row(ekm.ErrorJWTTokenSignatureHash, "a SHA-256 that fails", restricted, "", func() hash.Hash { return brokenHash{sha256.New(), restricted} }),
	}
}

// A brokenHash fails as a hash should not.
type brokenHash struct {
	hash.Hash
	err error
}

func (h brokenHash) Write([]byte) (int, error) { return 0, h.err }

// certified is an identity with the key that all scenes share and a certificate
// of its own, or, by o, with a thumbprint alone.
func (s *scene) certified(o *aad.CertificateOptions) aad.Credential {
	s.Helper()
	var chain []*x509.Certificate
	if o == nil {
		chain = append(chain, s.certificate(rsaKey(), time.Hour))
	}
	return s.signer(rsaKey(), chain, o)
}

func (s *scene) signer(key crypto.Signer, chain []*x509.Certificate, o *aad.CertificateOptions) aad.Credential {
	s.Helper()
	cred, err := aad.NewSigner(s.fake.ClientID(), key, chain, o)
	require.NoError(s, err)
	return cred
}

// certificate is one of key's, from now on and for so long.
func (s *scene) certificate(key *rsa.PrivateKey, life time.Duration, more ...pkix.Extension) *x509.Certificate {
	s.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"},
		NotBefore: time.Now(), NotAfter: time.Now().Add(life), ExtraExtensions: more,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(s, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(s, err)
	return cert
}

func hexSHA256(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}
