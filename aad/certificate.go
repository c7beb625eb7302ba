package aad

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/keyfile"
)

// CertificateOptions are the settings of credentials that sign an assertion. The
// zero value is right for Entra ID and a file without password.
type CertificateOptions struct {
	// Password opens the file. Empty means none, or the empty one. No credential
	// keeps it. It is not shown where the options are printed or logged; but package
	// fmt shows it if it prints a struct with the options in an unexported field.
	Password string
	// Thumbprint names the certificate that is registered for the key, in base64
	// or hexadecimal, SHA-1 or SHA-256 by its length. It is needed for a key
	// without certificate; with several certificates it chooses.
	Thumbprint string
	// RS256 signs with RSASSA-PKCS1-v1_5 and names the certificate by its SHA-1
	// thumbprint, as AD FS and old set-ups need it, in place of PS256 and SHA-256.
	// A key for which only the SHA-1 thumbprint is known is used so anyhow.
	RS256 bool
	// SendChain puts the certificate and its issuers into the assertion (x5c),
	// for applications that trust an issuer and a subject name.
	SendChain bool
}

// NewPFX is an application with the certificate and key in a PFX (PKCS #12)
// file, or the base64 text of one, as the vault's own certificates are
// downloaded. The certificate is the one that belongs to the key, wherever it
// stands in the file. opts may be nil.
//
// Errors are 3809 if the file cannot be read, 3810 if it has no certificate for
// its key, 3811 if it has no key, 3812 if that is not an RSA key, 3813 if its
// numbers do not agree, 3814 if clientID is empty or the certificate has expired.
func NewPFX(clientID string, pfx []byte, opts *CertificateOptions) (Credential, error) {
	o := certificateOptions(opts)
	id, err := keyfile.PFX(pfx, o.Password, o.Thumbprint)
	if err != nil {
		return nil, err
	}
	return newCertificate(clientID, id, o, ekm.ErrorPfxCertAuthParamsCreateRequestBody)
}

// NewPEM is an application with a key and certificates in PEM, in any order,
// encrypted or not; or with a key alone and CertificateOptions.Thumbprint. opts
// may be nil.
//
// Errors are 3815 for the certificate or thumbprint, 3816 for a key that is
// absent or cannot be read, 3817 if it is not an RSA key, 3818 if its numbers do
// not agree, 3819 if clientID is empty or the certificate has expired.
func NewPEM(clientID string, pem []byte, opts *CertificateOptions) (Credential, error) {
	o := certificateOptions(opts)
	id, err := keyfile.PEM(pem, o.Password, o.Thumbprint)
	if err != nil {
		return nil, err
	}
	return newPEMCertificate(clientID, id, o)
}

// NewSigner is an application whose key is out of this program's reach: in an
// HSM, a TPM, another vault. signer's public key must be RSA and chain[0] its
// certificate; the issuers may follow. Without a chain, opts.Thumbprint names the
// certificate. Errors are 3815 and 3819 as with [NewPEM], 6
// (SCPErrInvalidArgument) for no signer and 3 (SCPErrNotSupported) for one whose
// key is not RSA.
func NewSigner(clientID string, signer crypto.Signer, chain []*x509.Certificate, opts *CertificateOptions) (Credential, error) {
	o := certificateOptions(opts)
	if signer == nil {
		return nil, invalid("the signer is nil")
	}
	public, ok := signer.Public().(*rsa.PublicKey)
	if !ok || public == nil || public.N == nil {
		return nil, &ekm.Error{Code: ekm.SCPErrNotSupported, Party: ekm.Local, Time: time.Now(), Err: errors.New("the signer's key is not an RSA key")}
	}
	id, err := keyfile.Foreign(signer, public, chain, o.Thumbprint)
	if err != nil {
		return nil, err
	}
	return newPEMCertificate(clientID, id, o)
}

// newPEMCertificate is where certificates that came in PEM or by themselves meet.
func newPEMCertificate(clientID string, id *keyfile.Identity, o CertificateOptions) (Credential, error) {
	return newCertificate(clientID, id, o, ekm.ErrorPEMCertAuthParamsCreateRequestBody)
}

// NewLegacyKey is an application with an older kind of private key file: a CAPI
// PRIVATEKEYBLOB (MSBLOB), a PVK, plain or encrypted, or PKCS #1 or PKCS #8 in
// DER. They hold no certificate, so CertificateOptions.Thumbprint is needed.
//
// Errors are 3820 if key is no RSA private key, 3821 if it cannot be opened or
// its numbers do not agree, 3822 if thumbprint or clientID is missing.
func NewLegacyKey(clientID string, key []byte, opts *CertificateOptions) (Credential, error) {
	o := certificateOptions(opts)
	id, err := keyfile.Legacy(key, o.Password, o.Thumbprint)
	if err != nil && !errors.Is(err, keyfile.ErrThumbprint) {
		return nil, err
	}
	const code = ekm.ErrorLegacyPrivateKeyAuthParamsCreateRequestBody
	if err != nil {
		return nil, (&certificate{code: code}).unusable("", err)
	}
	return newCertificate(clientID, id, o, code)
}

// A certificate is a credential that signs assertions.
type certificate struct {
	shown
	clientID string
	id       *keyfile.Identity
	options  CertificateOptions
	code     ekm.Code // for what keeps a request body from being made
	turns    turns
	kept     cache
}

func certificateOptions(o *CertificateOptions) CertificateOptions {
	if o == nil {
		return CertificateOptions{}
	}
	return *o
}

func newCertificate(clientID string, id *keyfile.Identity, o CertificateOptions, code ekm.Code) (Credential, error) {
	o.Password = "" // it has opened the file
	c := &certificate{clientID: clientID, id: id, options: o, code: code}
	c.shown = c.describe
	if fault := c.fault(time.Now()); fault != nil {
		return nil, c.unusable("", fault)
	}
	return c, nil
}

// fault is what keeps the credential from being used at a time.
func (c *certificate) fault(now time.Time) error {
	const day = "2006-01-02 15:04 MST"
	if err := clientIDFault(c.clientID); err != nil {
		return err
	}
	switch leaf := c.id.Leaf; {
	case leaf == nil:
		return nil
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate expired on %s", leaf.NotAfter.UTC().Format(day))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate is not valid before %s; is this machine's clock right?", leaf.NotBefore.UTC().Format(day))
	}
	return nil
}

func (c *certificate) unusable(op string, fault error) error {
	return &ekm.Error{Code: c.code, Op: op, Party: ekm.Local, Time: time.Now(), Err: fault}
}

func (c *certificate) cache() *cache { return &c.kept }

func (c *certificate) fingerprint() [32]byte {
	return digest(c.clientID, string(c.id.SHA1), string(c.id.SHA256), c.id.Public.N.String(),
		fmt.Sprint(c.options.RS256, c.options.SendChain))
}

func (c *certificate) token(ctx context.Context, x *exchange, demand challenge.Challenge) (Token, error) {
	if fault := c.fault(x.now()); fault != nil {
		return Token{}, c.unusable(opAcquireToken, fault)
	}
	return x.post(ctx, demand, func(ctx context.Context) (url.Values, []string, error) {
		end, err := c.turns.take(ctx, demand) // a signer cannot be called off
		if err != nil {
			return nil, nil, noToken(err, ekm.Local, "")
		}
		defer end() // also if the signer panics
		signed, err := assertion(c.id, c.clientID, x.endpoint(demand), &c.options, x.now())
		return assertionForm(c.clientID, signed), []string{signed}, err
	})
}

// assertionForm is the part of a token request that carries an assertion: RFC
// 7521, section 4.2.
func assertionForm(clientID, assertion string) url.Values {
	return url.Values{
		"client_id":             {clientID},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	}
}

// notAfter is the certificate's end, or zero if there is none in hand.
func (c *certificate) notAfter() time.Time {
	if c.id.Leaf == nil {
		return time.Time{}
	}
	return c.id.Leaf.NotAfter
}

// NotAfter is when cred's certificate expires; false if it has none, or none
// that is known. From then on the credential is refused without asking anybody.
func NotAfter(cred Credential) (time.Time, bool) {
	c, ok := cred.(interface{ notAfter() time.Time })
	if !ok || c.notAfter().IsZero() {
		return time.Time{}, false
	}
	return c.notAfter(), true
}
