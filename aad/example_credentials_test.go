package aad_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// The examples read files that were made for tests, and ask a fake in place of
// Entra ID, which has their certificate.
const (
	exampleFiles = "../internal/keyfile/testdata"
	clientID     = fakevault.DefaultClientID
)

func exampleFile(name string) []byte {
	data, err := os.ReadFile(filepath.Join(exampleFiles, name))
	if err != nil {
		log.Fatal(err)
	}
	return data
}

func exampleCertificate() *x509.Certificate {
	block, _ := pem.Decode(exampleFile("leaf.pem"))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	return cert
}

// login gets a token with cred and tells whether that worked.
func login(cred aad.Credential) {
	fake := fakevault.New(fakevault.Options{})
	defer fake.Close()
	fake.AddCertificate(clientID, exampleCertificate())
	tokens := aad.NewTokens(cred, &aad.Options{Transport: fake.Transport()})
	defer tokens.Close()
	token, err := tokens.Get(context.Background(), challenge.Challenge{
		Authority: fake.AuthorityURL(), Tenant: fake.Tenant(),
		Resource: "https://vault.azure.net", Scope: "https://vault.azure.net/.default",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("a token for", time.Until(token.Expires).Round(time.Hour))
}

// A file of any current producer, chain included, with its password.
func ExampleNewPFX() {
	cred, err := aad.NewPFX(clientID, exampleFile("openssl3-chain.pfx"), &aad.CertificateOptions{Password: "ekm-test-1"})
	if err != nil {
		log.Fatal(err)
	}
	login(cred)

	_, err = aad.NewPFX(clientID, exampleFile("openssl3-chain.pfx"), nil)
	fmt.Println(err != nil)
	// Output:
	// a token for 1h0m0s
	// true
}

// A certificate that a vault made is downloaded as the secret of its name: the
// base64 text of a PFX without a password.
func ExampleNewPFX_fromVault() {
	cred, err := aad.NewPFX(clientID, exampleFile("vault.b64"), nil)
	if err != nil {
		log.Fatal(err)
	}
	login(cred)
	// Output: a token for 1h0m0s
}

// Key and certificates in one text, in any order.
func ExampleNewPEM() {
	cred, err := aad.NewPEM(clientID, exampleFile("shuffled.pem"), nil)
	if err != nil {
		log.Fatal(err)
	}
	login(cred)
	// Output: a token for 1h0m0s
}

// A key without its certificate does, too, if the thumbprint is known.
func ExampleNewPEM_thumbprint() {
	cred, err := aad.NewPEM(clientID, exampleFile("key.pem"), &aad.CertificateOptions{
		Thumbprint: "4D:43:44:F2:5F:88:BC:FA:39:74:63:CD:F1:B8:82:E9:04:B0:41:4F:25:A5:89:E6:E0:DC:52:D4:59:AC:70:2F",
	})
	if err != nil {
		log.Fatal(err)
	}
	login(cred)
	// Output: a token for 1h0m0s
}

// A PVK file, as makecert wrote it, with the thumbprint that the portal shows.
func ExampleNewLegacyKey() {
	cred, err := aad.NewLegacyKey(clientID, exampleFile("strong.pvk"), &aad.CertificateOptions{
		Password:   "ekm-test-1",
		Thumbprint: "E1ABE76DFE912E7E7A855FE374AAE30E199BB4FF",
	})
	if err != nil {
		log.Fatal(err)
	}
	login(cred)
	// Output: a token for 1h0m0s
}

// A module stands for an HSM or a TPM, which signs and does not give the key away.
type module struct{ key *rsa.PrivateKey }

func (m module) Public() crypto.PublicKey { return m.key.Public() }

func (m module) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return m.key.Sign(random, digest, opts)
}

func ExampleNewSigner() {
	key, err := x509.ParsePKCS1PrivateKey(exampleFile("pkcs1.der"))
	if err != nil {
		log.Fatal(err)
	}
	cred, err := aad.NewSigner(clientID, module{key}, []*x509.Certificate{exampleCertificate()}, nil)
	if err != nil {
		log.Fatal(err)
	}
	login(cred)
	// Output: a token for 1h0m0s
}

// The SECRET of a SQL Server credential.
func ExampleParseSecret() {
	cred, err := aad.ParseSecret("5EEDF00DC11E4D008A11FA4E00000002" + fakevault.DefaultClientSecret)
	if err != nil {
		log.Fatal(err)
	}
	login(cred)

	_, err = aad.ParseSecret("5EEDF00D-C11E-4D00-8A11-FA4E00000002" + fakevault.DefaultClientSecret)
	fmt.Println(err)
	_, err = aad.ParseSecret("5EEDF00DC11E4D008A11FA4E00000002")
	fmt.Println(err)
	// Output:
	// a token for 1h0m0s
	// 6 scp_err_InvalidArgument: there are hyphens in the client id: take them away, but leave those of the secret
	// 2050 scp_err_PasswordTooShort: the credential string has 32 characters: 32 digits of client id and the secret's value behind them are needed
}

// The file is read for each exchange: who replaces it needs no restart.
func ExampleNewReloading() {
	cred, err := aad.NewReloading(func(context.Context) (aad.Credential, error) {
		pfx, err := os.ReadFile(filepath.Join(exampleFiles, "windows-aes.pfx"))
		if err != nil {
			return nil, err
		}
		return aad.NewPFX(clientID, pfx, &aad.CertificateOptions{Password: "ekm-test-1"})
	})
	if err != nil {
		log.Fatal(err)
	}
	login(cred)
	// Output: a token for 1h0m0s
}

// A service can tell of a certificate that is about to expire.
func ExampleNotAfter() {
	cred, err := aad.NewPEM(clientID, exampleFile("pkcs8.pem"), nil)
	if err != nil {
		log.Fatal(err)
	}
	if end, known := aad.NotAfter(cred); known {
		fmt.Println(end.UTC().Format("January 2006"), time.Until(end) < 30*24*time.Hour)
	}
	// Output: October 2126 false
}

func ExampleNewReloadingFile() {
	_, err := aad.NewReloadingFile("no/such/file.pem", func(pem []byte) (aad.Credential, error) {
		return aad.NewPEM("5eedf00d-c11e-4d00-8a11-fa4e00000002", pem, nil)
	})
	fmt.Println(errors.Is(err, os.ErrNotExist), int(ekm.CodeOf(err)))
	// Output: true 3304
}
