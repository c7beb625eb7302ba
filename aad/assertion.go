package aad

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/keyfile"
)

// assertionLife is how long an assertion is good for; the page "Certificate
// credentials" recommends five to ten minutes. Each exchange makes a new one.
const assertionLife = 10 * time.Minute

// assertionLimit is far above what Entra ID takes; a long x5c chain meets it.
const assertionLimit = 48 << 10

// assertion makes the signed JWT (RFC 7523, section 2.2) by which an application
// proves that it has the private key of a registered certificate: Microsoft's
// page "Microsoft identity platform application authentication certificate
// credentials". Each of its failure points has a code of its own, 3801 to 3808.
func assertion(id *keyfile.Identity, clientID, audience string, o *CertificateOptions, now time.Time) (string, error) {
	method := signing{signer: id.Signer.Reveal(), public: id.Public, pss: !o.RS256 && (id.SHA256 != nil || id.SHA1 == nil)}
	header, err := assertionHeader(id, method, o.SendChain)
	if err != nil {
		return "", assertionFault(ekm.ErrorJWTTokenCreateHeader, err)
	}
	jti, err := uuid.NewRandom()
	if err != nil {
		return "", assertionFault(ekm.ErrorJWTTokenCreatePayloadGUID, err)
	}
	// aud is plain text, as Microsoft's page and libraries have it; golang-jwt's
	// RegisteredClaims would make a list of it.
	token := &jwt.Token{Header: header, Method: method, Claims: jwt.MapClaims{
		"aud": audience, "iss": clientID, "sub": clientID, "jti": jti.String(),
		"nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	}}
	text, err := token.SigningString()
	if err == nil && !strings.Contains(audience, "://") {
		err = errors.New("there is no authority to make it for")
	}
	if err != nil {
		return "", assertionFault(ekm.ErrorJWTTokenCreatePayload, err)
	}
	signature, err := method.sign(text)
	if err != nil {
		return "", err
	}
	text += "." + base64.RawURLEncoding.EncodeToString(signature)
	if len(text) > assertionLimit {
		return "", assertionFault(ekm.ErrorJWTTokenCreateToken, fmt.Errorf("the assertion has %d bytes, the limit is %d; is the chain needed?", len(text), assertionLimit))
	}
	return text, nil
}

// assertionHeader names the algorithm and the certificate: by SHA-256 thumbprint
// with PS256, by the SHA-1 one with RS256, or by the one there is.
func assertionHeader(id *keyfile.Identity, method signing, sendChain bool) (map[string]any, error) {
	header := map[string]any{"typ": "JWT", "alg": method.Alg()}
	switch {
	case id.SHA256 != nil && (method.pss || id.SHA1 == nil):
		header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(id.SHA256)
	case id.SHA1 != nil:
		header["x5t"] = base64.RawURLEncoding.EncodeToString(id.SHA1)
	default:
		return nil, errors.New("there is no thumbprint to name the certificate with")
	}
	if sendChain {
		if id.Leaf == nil {
			return nil, errors.New("the chain is to be sent, but there is no certificate")
		}
		var chain []string
		for _, c := range id.Chain {
			chain = append(chain, base64.StdEncoding.EncodeToString(c.Raw)) // RFC 7515, 4.1.6: not base64url
		}
		header["x5c"] = chain
	}
	return header, nil
}

// signing is golang-jwt's signing method for any crypto.Signer; its own take
// keys in memory alone.
type signing struct {
	signer crypto.Signer
	public *rsa.PublicKey
	pss    bool
}

func (s signing) method() jwt.SigningMethod {
	if s.pss {
		return jwt.SigningMethodPS256
	}
	return jwt.SigningMethodRS256
}

// Alg implements [jwt.SigningMethod].
func (s signing) Alg() string { return s.method().Alg() }

// Verify implements [jwt.SigningMethod].
func (s signing) Verify(text string, signature []byte, _ any) error {
	return s.method().Verify(text, signature, s.public)
}

// Sign implements [jwt.SigningMethod].
func (s signing) Sign(text string, _ any) ([]byte, error) { return s.sign(text) }

func (s signing) sign(text string) ([]byte, error) {
	var opts crypto.SignerOpts = crypto.SHA256
	if s.pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256} // RFC 7518, 3.5
	}
	if !opts.HashFunc().Available() {
		return nil, assertionFault(ekm.ErrorJWTTokenSignatureHashAlg, errors.New("SHA-256 is not part of this program"))
	}
	hash := opts.HashFunc().New()
	if _, err := hash.Write([]byte(text)); err != nil {
		return nil, assertionFault(ekm.ErrorJWTTokenSignatureHash, err)
	}
	signature, err := s.signer.Sign(rand.Reader, hash.Sum(nil), opts)
	if err != nil {
		return nil, assertionFault(ekm.ErrorJWTTokenSignatureSignHash, err)
	}
	// A signer in hardware may hold another key than its public half says.
	if err := s.Verify(text, signature, nil); err != nil {
		return nil, assertionFault(ekm.ErrorJWTTokenCreateSignature, errors.New("the signature is not one of the certificate's key"))
	}
	return signature, nil
}

func assertionFault(code ekm.Code, err error) error {
	return &ekm.Error{Code: code, Op: opAcquireToken, Party: ekm.Local, Time: time.Now(), Err: err}
}
