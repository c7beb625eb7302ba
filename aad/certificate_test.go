package aad_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
)

type fileReader func(clientID string, file []byte, opts *aad.CertificateOptions) (aad.Credential, error)

// Every key file that reads proves the identity: to the fake, which has the
// certificate or its thumbprint alone, and to golang-jwt.
func TestEveryFile(t *testing.T) {
	const (
		none   = "-"
		umlaut = "Schlüssel-ß"
		emoji  = "key🔑pass"
	)
	leaf := certificateFile(t, "leaf")
	for _, group := range []struct {
		name  string
		read  fileReader
		files []struct{ file, password, cert, thumbprint string }
	}{
		{"PFX", aad.NewPFX, []struct{ file, password, cert, thumbprint string }{
			{file: "openssl3.pfx"},
			{file: "openssl3-nopass.pfx", password: none},
			{file: "openssl3-chain.pfx"},
			{file: "openssl3-umlaut.pfx", password: umlaut},
			{file: "openssl3-emoji.pfx", password: emoji},
			{file: "openssl3-600k.pfx"},
			{file: "openssl-legacy.pfx"},
			{file: "openssl-legacy-nopass.pfx", password: none},
			{file: "openssl-legacy-chain.pfx"},
			{file: "openssl-legacy-emoji.pfx", password: emoji},
			{file: "3des-sha1.pfx"},
			{file: "3des-sha1-nopass.pfx", password: none},
			{file: "3des-sha1-chain.pfx"},
			{file: "3des-sha256.pfx"},
			{file: "3des-emoji.pfx", password: emoji},
			{file: "aes256-sha1.pfx"},
			{file: "aes128-sha256.pfx"},
			{file: "aes192-sha384.pfx"},
			{file: "aes256-sha224.pfx"},
			{file: "aes256-sha512.pfx"},
			{file: "pbes2-3des.pfx"},
			{file: "cert-plain.pfx"},
			{file: "nomac.pfx"},
			{file: "nomac-keyonly.pfx"},
			{file: "plain.pfx", password: none},
			{file: "plain-mac.pfx"},
			{file: "rc2-128.pfx"},
			{file: "windows-3des.pfx"},
			{file: "windows-aes.pfx"},
			{file: "keytool.p12"},
			{file: "keytool-legacy.p12"},
			{file: "keytool-trusted.p12"},
			{file: "python.pfx"},
			{file: "vault.b64", password: none},
			{file: "two-leaves.pfx"},
			{file: "two-leaves.pfx", cert: "old", thumbprint: "sha256"},
			{file: "no-cert.pfx", thumbprint: "sha1"},
			{file: "no-cert.pfx", thumbprint: "sha256"},
		}},
		{"PEM", aad.NewPEM, []struct{ file, password, cert, thumbprint string }{
			{file: "pkcs8.pem"},
			{file: "cert-first.pem"},
			{file: "shuffled.pem"},
			{file: "pkcs1.pem"},
			{file: "crlf.pem"},
			{file: "bom.pem"},
			{file: "utf16le.pem"},
			{file: "utf16be.pem"},
			{file: "bag-attributes.pem"},
			{file: "trailing.pem"},
			{file: "trusted.pem"},
			{file: "escaped.pem"},
			{file: "oneline.pem"},
			{file: "enc-default.pem"},
			{file: "enc-hmac-sha1.pem"},
			{file: "enc-hmac-sha224.pem"},
			{file: "enc-hmac-sha384.pem"},
			{file: "enc-hmac-sha512.pem"},
			{file: "enc-3des.pem"},
			{file: "enc-600k.pem"},
			{file: "enc-pbe-3des.pem"},
			{file: "dek-aes256.pem"},
			{file: "dek-des3.pem"},
			{file: "key.pem", thumbprint: "sha1"},
			{file: "key.pem", thumbprint: "sha256"},
			{file: "pkcs8.pem", thumbprint: "sha1"},
			{file: "two-leaves.pem"},
			{file: "two-leaves.pem", cert: "old", thumbprint: "sha1"},
		}},
		{"legacy", aad.NewLegacyKey, []struct{ file, password, cert, thumbprint string }{
			{file: "key.msblob", thumbprint: "sha1"},
			{file: "key.msblob", thumbprint: "sha256"},
			{file: "none.pvk", thumbprint: "sha1"},
			{file: "weak.pvk", thumbprint: "sha1"},
			{file: "strong.pvk", thumbprint: "sha1"},
			{file: "pkcs1.der", thumbprint: "sha1"},
			{file: "pkcs8.der", thumbprint: "sha256"},
			{file: "pkcs8-enc.der", thumbprint: "sha1"},
		}},
	} {
		for _, c := range group.files {
			t.Run(group.name+"/"+c.file+"/"+c.cert+c.thumbprint, func(t *testing.T) {
				t.Parallel()
				whileValid(t, func(t *testing.T) {
					cert := leaf
					if c.cert != "" {
						cert = certificateFile(t, c.cert)
					}
					opts := aad.CertificateOptions{Password: filePassword}
					switch c.password {
					case "":
					case none:
						opts.Password = ""
					default:
						opts.Password = c.password
					}
					fake, tap := entra(t)
					public := cert.PublicKey.(*rsa.PublicKey)
					alg, header := "PS256", "x5t#S256"
					switch c.thumbprint {
					case "sha1":
						opts.Thumbprint = hexSHA1(cert)
						fake.AddKeyThumbprint(application, public, hexSHA1(cert))
					case "sha256":
						opts.Thumbprint = hexSHA256(cert)
						fake.AddKeyThumbprint(application, public, hexSHA256(cert))
					}
					cred, err := group.read(application, keyFile(t, c.file), &opts)
					require.NoError(t, err)
					end, known := aad.NotAfter(cred)
					if known {
						assert.Equal(t, cert.NotAfter, end)
						fake.AddCertificate(application, cert)
					} else if c.thumbprint == "sha1" {
						alg, header = "RS256", "x5t" // all that is known of the certificate
					}
					_, err = exchanging(t, cred, tap).Get(t.Context(), vaultDemand(fake))
					require.NoError(t, err)
					verifyAssertion(t, tap.forms[0], public, fake.AuthorityURL()+"/oauth2/v2.0/token", alg).named(t, header, cert)
				})
			})
		}
	}
}

// The readers' own codes pass through the constructors; what the file's table
// says of each broken file is tested where they are read.
func TestFilesThatDoNotRead(t *testing.T) {
	leaf := certificateFile(t, "leaf")
	for _, c := range []struct {
		why   string
		read  fileReader
		id    string
		file  string
		opts  *aad.CertificateOptions
		code  ekm.Code
		needs string
	}{
		{"", aad.NewPFX, application, "openssl3.pfx", &aad.CertificateOptions{Password: "another-password"}, 3809, "wrong password"},
		{"no options are no password", aad.NewPFX, application, "openssl3.pfx", nil, 3809, "none was given"},
		{"", aad.NewPFX, application, "no-cert.pfx", &aad.CertificateOptions{Password: filePassword}, 3810, "certificate"},
		{"", aad.NewPFX, application, "no-key.pfx", &aad.CertificateOptions{Password: filePassword}, 3811, "no private key"},
		{"", aad.NewPFX, application, "ec.pfx", &aad.CertificateOptions{Password: filePassword}, 3812, "not RSA"},
		{"", aad.NewPFX, application, "rsa1024.pfx", &aad.CertificateOptions{Password: filePassword}, 3813, "1024"},
		{"no client id", aad.NewPFX, "", "openssl3.pfx", &aad.CertificateOptions{Password: filePassword}, 3814, "client id"},
		{"", aad.NewPEM, application, "key.pem", nil, 3815, "thumbprint"},
		{"", aad.NewPEM, application, "wrong-cert.pem", nil, 3815, "belongs"},
		{"", aad.NewPEM, application, "leaf.pem", nil, 3816, "no private key"},
		{"", aad.NewPEM, application, "ec-pkcs8.pem", nil, 3817, "not RSA"},
		{"", aad.NewPEM, application, "rsa1024.pem", nil, 3818, "1024"},
		{"a line break in the client id", aad.NewPEM, application + "\n", "pkcs8.pem", nil, 3819, "client id"},
		{"", aad.NewLegacyKey, application, "public.msblob", &aad.CertificateOptions{Thumbprint: hexSHA1(leaf)}, 3820, "public key"},
		{"", aad.NewLegacyKey, application, "weak.pvk", &aad.CertificateOptions{Thumbprint: hexSHA1(leaf)}, 3821, "password"},
		{"no thumbprint: no body can be made", aad.NewLegacyKey, application, "key.msblob", nil, 3822, "thumbprint"},
		{"a thumbprint of no known length", aad.NewLegacyKey, application, "key.msblob", &aad.CertificateOptions{Thumbprint: "AB:CD"}, 3822, "thumbprint"},
		{"no client id", aad.NewLegacyKey, "", "key.msblob", &aad.CertificateOptions{Thumbprint: hexSHA1(leaf)}, 3822, "client id"},
	} {
		t.Run(c.file+" "+c.why, func(t *testing.T) {
			whileValid(t, func(t *testing.T) {
				cred, err := c.read(c.id, keyFile(t, c.file), c.opts)
				assert.Nil(t, cred)
				e := requireCode(t, c.code, err)
				assert.Equal(t, ekm.Local, e.Party)
				assert.ErrorContains(t, err, c.needs)
				assert.NotContains(t, err.Error(), "another-password")
			})
		})
	}
}

// The bubble's clock begins in 2000 and goes where it is told.
func TestCertificateOutOfItsTime(t *testing.T) {
	leaf := certificateFile(t, "leaf")
	const minute = "2006-01-02 15:04 UTC"
	for _, c := range []struct {
		name string
		read fileReader
		file string
		code ekm.Code
	}{
		{"PFX", aad.NewPFX, "openssl3.pfx", 3814},
		{"PEM", aad.NewPEM, "enc-default.pem", 3819},
		{"signer", func(id string, _ []byte, opts *aad.CertificateOptions) (aad.Credential, error) {
			return aad.NewSigner(id, hardware(mustParsePKCS1(t)), []*x509.Certificate{leaf}, opts)
		}, "leaf.cer", 3819},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				read := func() (aad.Credential, error) {
					return c.read(application, keyFile(t, c.file), &aad.CertificateOptions{Password: filePassword})
				}
				_, err := read()
				requireCode(t, c.code, err)
				assert.ErrorContains(t, err, "not valid before "+leaf.NotBefore.UTC().Format(minute))
				assert.ErrorContains(t, err, "clock")

				time.Sleep(time.Until(leaf.NotBefore) - time.Second)
				_, err = read()
				requireCode(t, c.code, err)
				time.Sleep(time.Second)
				cred, err := read()
				require.NoError(t, err, "from the first second on")

				fake, tap := entra(t)
				fake.AddCertificate(application, leaf)
				tokens := exchanging(t, cred, tap)
				time.Sleep(time.Until(leaf.NotAfter))
				_, err = read()
				require.NoError(t, err, "to the last second")
				_, err = tokens.Get(t.Context(), vaultDemand(fake))
				require.NoError(t, err)

				time.Sleep(2 * time.Hour)
				_, err = tokens.Get(t.Context(), vaultDemand(fake))
				e := requireCode(t, c.code, err)
				assert.Equal(t, ekm.Local, e.Party)
				assert.Equal(t, "acquireToken", e.Op)
				assert.ErrorContains(t, err, "expired on "+leaf.NotAfter.UTC().Format(minute))
				assert.Len(t, tap.forms, 1, "nobody is asked")
				_, err = read()
				requireCode(t, c.code, err)
				assert.ErrorContains(t, err, "expired on "+leaf.NotAfter.UTC().Format(minute))
			})
		})
	}
}

func TestNotAfter(t *testing.T) {
	whileValid(t, func(t *testing.T) {
		leaf := certificateFile(t, "leaf")
		withCertificate, err := aad.NewPEM(application, keyFile(t, "pkcs8.pem"), nil)
		require.NoError(t, err)
		keyAlone, err := aad.NewPEM(application, keyFile(t, "key.pem"), &aad.CertificateOptions{Thumbprint: hexSHA256(leaf)})
		require.NoError(t, err)
		secret, err := aad.NewClientSecret(application, "s3cret~value")
		require.NoError(t, err)
		for _, c := range []struct {
			name  string
			cred  aad.Credential
			want  time.Time
			known bool
		}{
			{"certificate", withCertificate, leaf.NotAfter, true},
			{"thumbprint only", keyAlone, time.Time{}, false},
			{"secret", secret, time.Time{}, false},
			{"nil", nil, time.Time{}, false},
		} {
			end, known := aad.NotAfter(c.cred)
			assert.Equal(t, c.known, known, c.name)
			assert.Equal(t, c.want, end, c.name)
		}
	})
}

func TestNewSigner(t *testing.T) {
	key := testRSA()
	cert := newCertificate(t, key, time.Now().Add(-time.Hour), 48*time.Hour)
	stranger := newCertificate(t, mustParsePKCS1(t), time.Now().Add(-time.Hour), 48*time.Hour)
	noKey := hardware(key)
	noKey.public = (*rsa.PublicKey)(nil)
	for _, c := range []struct {
		why   string
		id    string
		key   crypto.Signer
		chain []*x509.Certificate
		opts  *aad.CertificateOptions
		code  ekm.Code
		says  string
	}{
		{"a key in memory", application, key, []*x509.Certificate{cert}, nil, 0, ""},
		{"a key in hardware", application, hardware(key), []*x509.Certificate{cert}, nil, 0, ""},
		{"RS256", application, hardware(key), []*x509.Certificate{cert}, &aad.CertificateOptions{RS256: true}, 0, ""},
		{"a thumbprint in place of the chain", application, hardware(key), nil, &aad.CertificateOptions{Thumbprint: hexSHA1(cert)}, 0, ""},
		{"a gap in the chain", application, hardware(key), []*x509.Certificate{cert, nil}, nil, 0, ""},
		{"no signer", application, nil, []*x509.Certificate{cert}, nil, ekm.SCPErrInvalidArgument, "signer is nil"},
		{"an EC key", application, ecSigner(t), []*x509.Certificate{cert}, nil, ekm.SCPErrNotSupported, "not an RSA key"},
		{"a signer that has lost its key", application, noKey, []*x509.Certificate{cert}, nil, ekm.SCPErrNotSupported, "not an RSA key"},
		{"neither chain nor thumbprint", application, hardware(key), nil, nil, 3815, "thumbprint"},
		{"a chain of nothing", application, hardware(key), []*x509.Certificate{nil}, nil, 3815, "thumbprint"},
		{"a certificate of another key", application, hardware(key), []*x509.Certificate{stranger}, nil, 3815, "belongs"},
		{"a thumbprint that no certificate has", application, hardware(key), []*x509.Certificate{cert}, &aad.CertificateOptions{Thumbprint: hexSHA1(stranger)}, 3815, "no certificate in the file has"},
		{"no client id", "", hardware(key), []*x509.Certificate{cert}, nil, 3819, "client id"},
	} {
		t.Run(c.why, func(t *testing.T) {
			cred, err := aad.NewSigner(c.id, c.key, c.chain, c.opts)
			if c.code != 0 {
				requireCode(t, c.code, err)
				assert.ErrorContains(t, err, c.says)
				assert.Nil(t, cred)
				return
			}
			require.NoError(t, err)
			fake, tap := entra(t)
			fake.AddCertificate(application, cert)
			_, err = exchanging(t, cred, tap).Get(t.Context(), vaultDemand(fake))
			require.NoError(t, err)
		})
	}
}

// The token's failure is that of the exchange alone: a key that comes back works.
func TestSignerComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := hardware(testRSA())
		works := key.sign
		gone := errors.New("gone")
		key.sign = func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, gone }
		cert := newCertificate(t, testRSA(), time.Now(), time.Hour)
		fake, tap := entra(t)
		fake.AddCertificate(application, cert)
		cred, err := aad.NewSigner(application, key, []*x509.Certificate{cert}, nil)
		require.NoError(t, err)
		tokens := exchanging(t, cred, tap)
		_, err = tokens.Get(t.Context(), vaultDemand(fake))
		require.ErrorIs(t, err, gone)
		key.sign = works
		time.Sleep(time.Second)
		_, err = tokens.Get(t.Context(), vaultDemand(fake))
		require.NoError(t, err)
	})
}
