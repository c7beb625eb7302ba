package matrix_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// certificateScenarios are the files of keys and certificates: 3809 to 3814 of a
// PFX, 3815 to 3819 of PEM and of signers, 3820 to 3822 of legacy keys.
func certificateScenarios() []scenario {
	return slices.Concat(
		pfxFileScenarios(), pfxContentScenarios(), pemCertificateScenarios(), pemKeyScenarios(), legacyKeyScenarios(), unusableScenarios(),
	)
}

// The files are those of package keyfile's tests. All hold one key.
const filePassword = "ekm-test-1"

func testFile(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join("..", "keyfile", "testdata", name))
}

func (s *scene) file(name string) []byte {
	s.Helper()
	data, err := testFile(name)
	require.NoError(s, err)
	return data
}

// fileCertificate is the certificate in a file that holds one: "leaf", "stranger".
func (s *scene) fileCertificate(name string) *x509.Certificate {
	s.Helper()
	block, _ := pem.Decode(s.file(name + ".pem"))
	require.NotNil(s, block)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(s, err)
	return cert
}

// fileKey is the key of the files.
var fileKey = sync.OnceValue(func() *rsa.PrivateKey {
	der, err := testFile("pkcs1.der")
	if err != nil {
		panic(err)
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		panic(err)
	}
	return key
})

// fileSecrets are what no error about a file may hold: passwords, and pieces of
// the private key as errors might spell them.
func (s *scene) fileSecrets() {
	s.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(fileKey())
	require.NoError(s, err)
	piece := fileKey().D.Bytes()[:9]
	s.secret("canary", filePassword, hex.EncodeToString(piece), fileKey().D.String()[:20],
		base64.StdEncoding.EncodeToString(piece), base64.StdEncoding.EncodeToString(pkcs8[306:315])) // which the private exponent covers
}

type fileReader func(clientID string, file []byte, o *aad.CertificateOptions) (aad.Credential, error)

// What is given with a file.
var (
	noPassword    = aad.CertificateOptions{}
	rightPassword = aad.CertificateOptions{Password: filePassword}
	wrongPassword = aad.CertificateOptions{Password: "canary-password"}
)

// otherThumbprint is no certificate's.
const otherThumbprint = "00112233445566778899AABBCCDDEEFF00112233"

// reading makes rows about a file, or about what edits make of it.
func reading(read fileReader) func(code ekm.Code, how, says, file string, o aad.CertificateOptions, edits ...func([]byte) []byte) scenario {
	return func(code ekm.Code, how, says, file string, o aad.CertificateOptions, edits ...func([]byte) []byte) scenario {
		return scenario{code: code, how: how, party: ekm.Local, says: says, run: func(s *scene) error {
			s.fileSecrets()
			data := s.file(file)
			for _, edit := range edits {
				data = edit(data)
			}
			_, err := read(s.fake.ClientID(), data, &o)
			return err
		}}
	}
}

// cutOff is the first half of a file.
func cutOff(data []byte) []byte { return data[:len(data)/2] }

// manyRounds makes 8,388,607 of each 600,000 rounds that a file asks for.
func manyRounds(der []byte) []byte {
	return bytes.ReplaceAll(der, []byte("\x02\x03\x09\x27\xc0"), []byte("\x02\x03\x7f\xff\xff"))
}

// otherExponent puts another private exponent into a file that is not encrypted.
func otherExponent(der []byte) []byte {
	right := fileKey().D.Bytes()
	wrong := bytes.Clone(right)
	wrong[len(wrong)-1] ^= 2
	return bytes.Replace(der, right, wrong, 1)
}

// inPEM edits what is in the first block of a PEM file, and leaves the rest away.
func inPEM(edit func([]byte) []byte) func([]byte) []byte {
	return func(text []byte) []byte {
		block, _ := pem.Decode(text)
		block.Bytes = edit(block.Bytes)
		return pem.EncodeToMemory(block)
	}
}

// pfxFileScenarios are 3809: the file cannot be opened.
func pfxFileScenarios() []scenario {
	const code = ekm.ErrorPfxCertAuthParamsImportPfx
	row := reading(aad.NewPFX)
	return []scenario{
		row(code, "a PFX with the wrong password", "wrong password", "openssl3.pfx", wrongPassword),
		row(code, "a PFX of the older encryption with the wrong password", "wrong password", "windows-3des.pfx", wrongPassword),
		row(code, "a PFX with a password, and none given", "none was given", "openssl3.pfx", noPassword),
		row(code, "a PFX without password, and one given", "not protected by any password", "plain.pfx", wrongPassword),
		row(code, "a PFX cut off", "it is truncated", "openssl3.pfx", rightPassword, cutOff),
		row(code, "a PFX with bytes behind its end", "3 bytes follow the end", "openssl3.pfx", rightPassword, func(data []byte) []byte {
			return append(data, "EOF"...)
		}),
		row(code, "a PFX that asks for 25 million rounds of key derivation", "25,165,821 key-derivation rounds, limit is 2,000,000",
			"openssl3-600k.pfx", rightPassword, manyRounds),
		row(code, "a PFX encrypted with RC4", "RC4-128", "rc4-128.pfx", rightPassword),
		row(code, "an empty file given as PFX", "the file is empty", "openssl3.pfx", rightPassword, func([]byte) []byte { return nil }),
		row(code, "a file of more than 1 MiB given as PFX", "1,048,577 bytes, limit is 1,048,576", "openssl3.pfx", rightPassword,
			func([]byte) []byte { return make([]byte, 1<<20+1) }),
		row(code, "a certificate without its key (.cer) given as PFX", "without its private key", "leaf.cer", noPassword),
		row(code, "a Java keystore given as PFX", "keytool -importkeystore", "keytool.jks", rightPassword),
		row(code, "PEM text given as PFX", "read it as PEM", "pkcs8.pem", noPassword),
	}
}

// pfxContentScenarios are 3810 to 3813: the file opens, and its content will not do.
func pfxContentScenarios() []scenario {
	row := reading(aad.NewPFX)
	named := func(thumbprint string) aad.CertificateOptions {
		return aad.CertificateOptions{Password: filePassword, Thumbprint: thumbprint}
	}
	const (
		certificate = ekm.ErrorPfxCertAuthParamsGetThumbprint
		key         = ekm.ErrorPfxCertAuthParamsGetPrivateKey
		algorithm   = ekm.ErrorPfxCertAuthParamsSignAlg
		numbers     = ekm.ErrorPfxCertAuthParamsImportForSign
	)
	return []scenario{
		row(certificate, "a PFX with a key alone", "no certificate in the file", "no-cert.pfx", rightPassword),
		row(certificate, "a PFX, and a thumbprint that is none", "neither hex nor base64", "openssl3.pfx", named("AB:CD")),
		row(certificate, "a PFX, and the thumbprint of a certificate that it does not hold", "no certificate in the file has the thumbprint",
			"openssl3.pfx", named(otherThumbprint)),
		row(key, "a PFX without the private key", "certificates but no private key", "no-key.pfx", rightPassword),
		row(key, "a PFX with two private keys", "2 private keys", "two-keys.p12", rightPassword),
		row(algorithm, "a PFX with an elliptic curve key", "not RSA", "ec.pfx", rightPassword),
		row(algorithm, "a PFX with a key for RSA-PSS alone", "RSA-PSS", "rsa-pss.pfx", rightPassword),
		row(numbers, "a PFX with an RSA key of 1024 bits", "1024 bits", "rsa1024.pfx", rightPassword),
		row(numbers, "a PFX whose RSA numbers do not agree", "do not agree", "plain.pfx", noPassword, otherExponent),
	}
}

// pemCertificateScenarios are 3815: no certificate for the key, in PEM or with a signer.
func pemCertificateScenarios() []scenario {
	const code = ekm.ErrorPEMCertAuthParamsGetThumbprint
	row := reading(aad.NewPEM)
	named := func(thumbprint string) aad.CertificateOptions { return aad.CertificateOptions{Thumbprint: thumbprint} }
	signing := func(how, says string, chain func(*scene) []*x509.Certificate) scenario {
		return scenario{code: code, how: how, party: ekm.Local, says: says, run: func(s *scene) error {
			_, err := aad.NewSigner(s.fake.ClientID(), rsaKey(), chain(s), nil)
			return err
		}}
	}
	return []scenario{
		row(code, "a PEM with a key alone, and no thumbprint", "or give its thumbprint", "key.pem", noPassword),
		row(code, "a PEM, and a thumbprint that is none", "neither hex nor base64", "key.pem", named("not a thumbprint")),
		row(code, "a PEM with the certificate of another key", "belongs to the private key", "wrong-cert.pem", noPassword),
		row(code, "a PEM, and the thumbprint of a certificate that it does not hold", "no certificate in the file has the thumbprint",
			"pkcs8.pem", named(otherThumbprint)),
		signing("a signer with neither certificate nor thumbprint", "thumbprint", func(*scene) []*x509.Certificate { return nil }),
		signing("a signer with the certificate of another key", "belongs to the private key", func(s *scene) []*x509.Certificate {
			return []*x509.Certificate{s.fileCertificate("leaf")}
		}),
	}
}

// pemKeyScenarios are 3816 to 3818: the private key in PEM.
func pemKeyScenarios() []scenario {
	row := reading(aad.NewPEM)
	const (
		key       = ekm.ErrorPEMCertAuthParamsGetPrivateKey
		algorithm = ekm.ErrorPEMCertAuthParamsSignAlg
		numbers   = ekm.ErrorPEMCertAuthParamsImportForSign
	)
	return []scenario{
		row(key, "a PEM with certificates alone", "certificates but no private key", "leaf.pem", noPassword),
		row(key, "a PEM with a public key alone", "only a public key", "public.pem", noPassword),
		row(key, "a PEM with two private keys", "2 private keys", "two-keys.pem", noPassword),
		row(key, "a PEM with the wrong password", "wrong password", "enc-default.pem", wrongPassword),
		row(key, "a PEM of OpenSSL's older encryption with the wrong password", "wrong password", "dek-aes256.pem", wrongPassword),
		row(key, "a PEM with a password, and none given", "none was given", "enc-default.pem", noPassword),
		row(key, "a PEM cut off", "can be read: the file is damaged or truncated", "key.pem", noPassword, cutOff),
		row(key, "a PEM that asks for 8 million rounds of key derivation", "8,388,607 key-derivation rounds, limit is 2,000,000",
			"enc-600k.pem", rightPassword, inPEM(manyRounds)),
		row(key, "a PEM encrypted by way of scrypt", "scrypt", "enc-scrypt.pem", rightPassword),
		row(key, "a key in OpenSSH's format given as PEM", "ssh-keygen", "openssh.pem", noPassword),
		row(key, "a PFX given as PEM", "read it as PFX", "openssl3.pfx", rightPassword),
		row(algorithm, "a PEM with an elliptic curve key", "not RSA", "ec-pkcs8.pem", noPassword),
		row(numbers, "a PEM with an RSA key of 1024 bits", "1024 bits", "rsa1024.pem", noPassword),
		row(numbers, "a PEM whose RSA numbers do not agree", "do not agree", "key.pem", noPassword, inPEM(otherExponent)),
	}
}

// legacyKeyScenarios are 3820 and 3821: key files of older kinds.
func legacyKeyScenarios() []scenario {
	row := reading(aad.NewLegacyKey)
	const (
		algorithm = ekm.ErrorLegacyPrivateKeyAuthParamsSignAlg
		unread    = ekm.ErrorLegacyPrivateKeyAuthParamsImportForSign
	)
	return []scenario{
		row(algorithm, "an MSBLOB with a public key", "only a public key", "public.msblob", noPassword),
		row(algorithm, "an MSBLOB with a DSS key", "not RSA but DSS", "dsa.msblob", noPassword),
		row(algorithm, "an elliptic curve key in DER", "not RSA", "ec.der", noPassword),
		row(algorithm, "a PFX given as legacy key", "read it as PFX", "openssl3.pfx", rightPassword),
		row(unread, "a PVK with the wrong password", "wrong password", "strong.pvk", wrongPassword),
		row(unread, "a PVK with a password, and none given", "none was given", "weak.pvk", noPassword),
		row(unread, "a PKCS #8 key with the wrong password", "wrong password", "pkcs8-enc.der", wrongPassword),
		row(unread, "an MSBLOB cut off", "truncated", "key.msblob", noPassword, cutOff),
		row(unread, "a PKCS #1 key cut off", "truncated", "pkcs1.der", noPassword, cutOff),
		row(unread, "an MSBLOB with an RSA key of 1024 bits", "1024 bits", "rsa1024.msblob", noPassword),
		row(unread, "a PKCS #1 key whose numbers do not agree", "do not agree", "pkcs1.der", noPassword, otherExponent),
	}
}

// A proof is a kind of file that reads, and the code if no request can be made
// from it: 3814, 3819, 3822.
type proof struct {
	code ekm.Code
	read fileReader
	file string
	o    aad.CertificateOptions
}

// row makes the credential at a time that is told by the file's certificate.
func (p proof) row(how, says, clientID string, at func(*x509.Certificate) time.Time) scenario {
	return scenario{code: p.code, how: how, party: ekm.Local, says: says, run: func(s *scene) error {
		s.fileSecrets()
		s.sleepUntil(at(s.fileCertificate("leaf")))
		_, err := p.read(clientID, s.file(p.file), &p.o)
		return err
	}}
}

// outlived is the row of a certificate that expires while the program runs.
func (p proof) outlived(how string) scenario {
	return scenario{code: p.code, how: how, op: "acquireToken", party: ekm.Local, says: "the certificate expired on", run: func(s *scene) error {
		s.fileSecrets()
		s.sleepUntil(whileValid(s.fileCertificate("leaf")))
		cred, err := p.read(s.fake.ClientID(), s.file(p.file), &p.o)
		require.NoError(s, err)
		s.sleepUntil(afterwards(s.fileCertificate("leaf")))
		err = s.getAs(cred)
		assert.Zero(s, s.fake.Count(fakevault.OpToken), "nobody is asked")
		return err
	}}
}

// sleepUntil lets virtual time, which begins in 2000, come to t.
func (s *scene) sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }

func tooEarly(c *x509.Certificate) time.Time   { return c.NotBefore.Add(-time.Minute) }
func whileValid(c *x509.Certificate) time.Time { return c.NotBefore.Add(24 * time.Hour) }
func afterwards(c *x509.Certificate) time.Time { return c.NotAfter.Add(time.Minute) }

// unusableScenarios are 3814, 3819 and 3822. A legacy key has no certificate, and
// so no dates.
func unusableScenarios() []scenario {
	const guid = fakevault.DefaultClientID
	pfx := proof{ekm.ErrorPfxCertAuthParamsCreateRequestBody, aad.NewPFX, "openssl3.pfx", rightPassword}
	text := proof{ekm.ErrorPEMCertAuthParamsCreateRequestBody, aad.NewPEM, "enc-default.pem", rightPassword}
	signer := text
	signer.read = func(clientID string, file []byte, _ *aad.CertificateOptions) (aad.Credential, error) {
		block, _ := pem.Decode(file)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return aad.NewSigner(clientID, fileKey(), []*x509.Certificate{cert}, nil)
	}
	signer.file = "leaf.pem"
	legacy := func(thumbprint string) proof {
		o := aad.CertificateOptions{Thumbprint: thumbprint}
		return proof{ekm.ErrorLegacyPrivateKeyAuthParamsCreateRequestBody, aad.NewLegacyKey, "key.msblob", o}
	}
	return []scenario{
		pfx.row("a PFX and no client id", "the client id is empty", "", whileValid),
		pfx.row("a PFX, and a line break in the client id", "the client id has blanks or a line break", guid+"\n", whileValid),
		pfx.row("a PFX whose certificate is not valid yet", "is not valid before", guid, tooEarly),
		pfx.row("a PFX whose certificate has expired", "expired on", guid, afterwards),
		pfx.outlived("a PFX whose certificate expires while the program runs"),
		text.row("a PEM and no client id", "the client id is empty", "", whileValid),
		text.row("a PEM whose certificate is not valid yet", "is not valid before", guid, tooEarly),
		text.row("a PEM whose certificate has expired", "expired on", guid, afterwards),
		text.outlived("a PEM whose certificate expires while the program runs"),
		signer.row("a signer whose certificate has expired", "expired on", guid, afterwards),
		legacy(otherThumbprint).row("a legacy key and no client id", "the client id is empty", "", whileValid),
		legacy("").row("a legacy key without thumbprint", "give the thumbprint", guid, whileValid),
		legacy("AB:CD").row("a legacy key, and a thumbprint that is none", "neither hex nor base64", guid, whileValid),
	}
}
