package keyfile_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/keyfile"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	pw     = "ekm-test-1"
	umlaut = "Schlüssel-ß"
	emoji  = "key🔑pass"
)

type reader func(data []byte, password, thumbprint string) (*keyfile.Identity, error)

// A fileCase is one file of testdata and what is expected of it.
type fileCase struct {
	file     string
	read     reader
	password string
	option   string // thumbprint option: a name out of thumbprints.txt, or literal text

	chain int      // reads, with so many certificates; 0: a key alone
	leaf  string   // name of the leaf expected; "leaf" if empty
	code  ekm.Code // or fails with this code
	words string   // and these words in the cause
}

func (c fileCase) name() string {
	n := c.file
	if c.password != pw && c.password != "" {
		n += "/other-password"
	}
	if c.option != "" {
		n += "/" + c.option
	}
	return n
}

func pfx(file string, chain int) fileCase {
	return fileCase{file: file, read: keyfile.PFX, password: pw, chain: chain}
}

func pfxFails(file, password string, code ekm.Code, words string) fileCase {
	return fileCase{file: file, read: keyfile.PFX, password: password, code: code, words: words}
}

func pemText(file string, chain int) fileCase {
	return fileCase{file: file, read: keyfile.PEM, password: pw, chain: chain}
}

func pemFails(file, password string, code ekm.Code, words string) fileCase {
	return fileCase{file: file, read: keyfile.PEM, password: password, code: code, words: words}
}

func legacy(file string) fileCase {
	return fileCase{file: file, read: keyfile.Legacy, password: pw, option: "leaf sha1"}
}

func legacyFails(file, password string, code ekm.Code, words string) fileCase {
	return fileCase{file: file, read: keyfile.Legacy, password: password, option: "leaf sha1", code: code, words: words}
}

func (c fileCase) with(password, option, leaf string) fileCase {
	c.password, c.option, c.leaf = password, option, leaf
	return c
}

var pfxCases = []fileCase{
	// OpenSSL 3, and what it can be told to write.
	pfx("openssl3.pfx", 1),
	pfx("openssl3-nopass.pfx", 1).with("", "", ""),
	pfx("openssl3-chain.pfx", 3),
	pfx("openssl3-umlaut.pfx", 1).with(umlaut, "", ""),
	pfx("openssl3-emoji.pfx", 1).with(emoji, "", ""), // outside the BMP: x/crypto and go-pkcs12 refuse it
	pfx("openssl3-600k.pfx", 1),                      // 1,800,000 rounds: just below the limit
	pfx("openssl-legacy.pfx", 1),
	pfx("openssl-legacy-nopass.pfx", 1).with("", "", ""),
	pfx("openssl-legacy-chain.pfx", 3), // x/crypto wants exactly two bags
	pfx("openssl-legacy-emoji.pfx", 1).with(emoji, "", ""),
	pfx("3des-sha1.pfx", 1),
	pfx("3des-sha1-nopass.pfx", 1).with("", "", ""),
	pfx("3des-sha1-chain.pfx", 3),
	pfx("3des-sha256.pfx", 1),
	pfx("3des-emoji.pfx", 1).with(emoji, "", ""),
	pfx("aes256-sha1.pfx", 1),
	pfx("aes128-sha256.pfx", 1),
	pfx("aes192-sha384.pfx", 1), // SHA-384 and SHA-224 MACs: go-pkcs12 refuses them
	pfx("aes256-sha224.pfx", 1),
	pfx("aes256-sha512.pfx", 1),
	pfx("pbes2-3des.pfx", 1), // PBES2 with a 3DES cipher: go-pkcs12 refuses it
	pfx("cert-plain.pfx", 1),
	pfx("nomac.pfx", 1), // no MAC, but encrypted: padding and structure tell the password
	pfx("nomac-keyonly.pfx", 1),
	pfx("plain.pfx", 1).with("", "", ""),
	pfx("plain-mac.pfx", 1),
	pfx("rc2-128.pfx", 1),

	// Other producers.
	pfx("windows-3des.pfx", 1),
	pfx("windows-aes.pfx", 1),
	pfx("keytool.p12", 3),
	pfx("keytool-legacy.p12", 3),
	pfx("keytool-trusted.p12", 3), // the root twice: once in the chain, once as trusted entry
	pfx("python.pfx", 3),          // root before issuer: the chain is put in order
	pfx("vault.b64", 3).with("", "", ""),

	// Thumbprint option.
	pfx("openssl3-chain.pfx", 3).with(pw, "leaf sha1", ""),
	pfx("openssl3-chain.pfx", 3).with(pw, "leaf sha256", ""),
	pfx("two-leaves.pfx", 1), // the one that is valid longest
	pfx("two-leaves.pfx", 1).with(pw, "old sha256", "old"),
	pfxFails("two-leaves.pfx", pw, 3810, "no certificate in the file has the thumbprint").with(pw, "stranger sha1", ""),
	pfxFails("two-leaves.pfx", pw, 3810, "the thumbprint given; that of").with(pw, "stranger sha256", ""), // may be a key of 32 bytes
	pfxFails("openssl3-chain.pfx", pw, 3810, "does not belong to the private key").with(pw, "issuer sha1", ""),
	pfxFails("openssl3.pfx", pw, 3810, "neither hex nor base64").with(pw, "AB:CD", ""),
	pfx("no-cert.pfx", 0).with(pw, "leaf sha1", ""), // a key alone will do, if named

	// Passwords that are not right.
	pfxFails("openssl3.pfx", "wrong", 3809, "wrong password"),
	pfxFails("openssl3.pfx", "", 3809, "none was given"),
	pfxFails("3des-sha1.pfx", "wrong", 3809, "wrong password"),
	pfxFails("3des-sha1.pfx", "", 3809, "none was given"),
	pfxFails("nomac.pfx", "wrong", 3809, "wrong password"),
	pfxFails("nomac-keyonly.pfx", "wrong", 3809, "private key: wrong password"),
	pfxFails("openssl3-nopass.pfx", pw, 3809, "wrong password"),
	pfxFails("openssl3-emoji.pfx", "key\U0001F511\U0001F511pass", 3809, "wrong password"),
	pfxFails("openssl3-umlaut.pfx", "Schluessel-ss", 3809, "wrong password"),
	pfxFails("plain.pfx", pw, 3809, "not protected by any password"), // as go-pkcs12

	// What does not read, and says why.
	pfxFails("rc4-128.pfx", pw, 3809, "1.2.840.113549.1.12.1.1 (RC4-128)"),
	pfxFails("no-cert.pfx", pw, 3810, "no certificate in the file"),
	pfxFails("no-key.pfx", pw, 3811, "certificates but no private key"),
	pfxFails("two-keys.p12", pw, 3811, "2 private keys"),
	pfxFails("ec.pfx", pw, 3812, "not RSA"),
	pfxFails("ec-legacy.pfx", pw, 3812, "not RSA"), // this way through x/crypto
	pfxFails("rsa-pss.pfx", pw, 3812, "RSA-PSS"),
	pfxFails("rsa1024.pfx", pw, 3813, "1024 bits"),
	pfxFails("leaf.cer", "", 3809, "certificate without its private key"),
	pfxFails("chain.p7b", "", 3809, "PKCS#7"),
	pfxFails("keytool.jks", pw, 3809, "keytool -importkeystore"),
	pfxFails("pkcs8.pem", "", 3809, "PEM text: read it as PEM"),
	pfxFails("utf16le.pem", "", 3809, "PEM text: read it as PEM"),
	pfxFails("pkcs8.der", "", 3809, "bare private key"),
	pfxFails("pkcs8-enc.der", pw, 3809, "bare encrypted private key"),
	pfxFails("public.der", "", 3809, "only a public key"),
	pfxFails("key.msblob", "", 3809, "read it as a legacy key"),
	pfxFails("strong.pvk", pw, 3809, "read it as a legacy key"),
	pfxFails("thumbprints.txt", "", 3809, "the file is text"),
}

var pemCases = []fileCase{
	pemText("pkcs8.pem", 3),
	pemText("cert-first.pem", 3),
	pemText("shuffled.pem", 3),
	pemText("pkcs1.pem", 1),
	pemText("crlf.pem", 3),
	pemText("bom.pem", 3),
	pemText("utf16le.pem", 3), // as PowerShell's ">" writes
	pemText("utf16be.pem", 3),
	pemText("bag-attributes.pem", 1),
	pemText("trailing.pem", 3),
	pemText("trusted.pem", 1),
	pemText("escaped.pem", 1), // "\n" in letters, as from a variable
	pemText("oneline.pem", 1), // line breaks turned to blanks
	pemText("enc-default.pem", 1),
	pemText("enc-hmac-sha1.pem", 1),
	pemText("enc-hmac-sha224.pem", 1),
	pemText("enc-hmac-sha384.pem", 1),
	pemText("enc-hmac-sha512.pem", 1),
	pemText("enc-3des.pem", 1),
	pemText("enc-600k.pem", 1),
	pemText("enc-pbe-3des.pem", 1),
	pemText("dek-aes256.pem", 1),
	pemText("dek-des3.pem", 1),

	pemText("key.pem", 0).with("", "leaf sha1", ""),
	pemText("key.pem", 0).with("", "leaf sha256", ""),
	pemText("pkcs8.pem", 3).with("", "leaf sha1", ""),
	pemText("two-leaves.pem", 1), // the one that is valid longest, though "old" comes first
	pemText("two-leaves.pem", 1).with("", "old sha1", "old"),

	pemFails("key.pem", "", 3815, "no certificate in the file"),
	pemFails("key.pem", "", 3815, "neither hex nor base64").with("", "not a thumbprint", ""),
	pemFails("wrong-cert.pem", "", 3815, "belongs to the private key"),
	pemFails("wrong-cert.pem", "", 3815, "does not belong").with("", "stranger sha1", ""),
	pemFails("pkcs8.pem", "", 3815, "no certificate in the file has the thumbprint").with("", "old sha1", ""),

	pemFails("enc-default.pem", "wrong", 3816, "wrong password"),
	pemFails("enc-default.pem", "", 3816, "none was given"),
	pemFails("enc-pbe-3des.pem", "wrong", 3816, "wrong password"),
	pemFails("dek-aes256.pem", "wrong", 3816, "wrong password"),
	pemFails("dek-aes256.pem", "", 3816, "none was given"),
	pemFails("enc-scrypt.pem", pw, 3816, "1.3.6.1.4.1.11591.4.11 (scrypt)"), // memory-hard at the file's will
	pemFails("enc-md5-des.pem", pw, 3816, "1.2.840.113549.1.5.3 (MD5 and DES)"),
	pemFails("two-keys.pem", "", 3816, "2 private keys"),
	pemFails("leaf.pem", "", 3816, "certificates but no private key"),
	pemFails("issuer.pem", "", 3816, "certificates but no private key"),
	pemFails("root.pem", "", 3816, "certificates but no private key"),
	pemFails("old.pem", "", 3816, "certificates but no private key"),
	pemFails("stranger.pem", "", 3816, "certificates but no private key"),
	pemFails("public.pem", "", 3816, "only a public key"),
	pemFails("openssh.pem", "", 3816, "ssh-keygen"),
	pemFails("openssl3.pfx", pw, 3816, "PFX (PKCS#12): read it as PFX"),
	pemFails("vault.b64", "", 3816, "PFX (PKCS#12): read it as PFX"),
	pemFails("leaf.cer", "", 3816, "certificate without its private key"),
	pemFails("pkcs8.der", "", 3816, "bare private key (DER)"),
	pemFails("make.sh", "", 3816, "no PEM block"),
	pemFails("ec-pkcs8.pem", "", 3817, "not RSA"),
	pemFails("ec-sec1.pem", "", 3817, "not RSA"),
	pemFails("rsa1024.pem", "", 3818, "1024 bits"),
}

var legacyCases = []fileCase{
	legacy("key.msblob"),
	legacy("none.pvk"),
	legacy("weak.pvk"),
	legacy("strong.pvk"),
	legacy("pkcs1.der"),
	legacy("pkcs8.der"),
	legacy("pkcs8-enc.der"),
	legacy("key.msblob").with("", "leaf sha256", ""),

	legacyFails("public.msblob", "", 3820, "only a public key"),
	legacyFails("public.der", "", 3820, "only a public key"),
	legacyFails("dsa.msblob", "", 3820, "not RSA but DSS"),
	legacyFails("ec.der", "", 3820, "not RSA"),
	legacyFails("openssl3.pfx", pw, 3820, "read it as PFX"),
	legacyFails("key.pem", "", 3820, "read it as PEM"),
	legacyFails("leaf.cer", "", 3820, "certificate without its private key"),
	legacyFails("rsa1024.msblob", "", 3821, "1024 bits"),
	legacyFails("strong.pvk", "wrong", 3821, "wrong password"),
	legacyFails("weak.pvk", "", 3821, "none was given"),
	legacyFails("pkcs8-enc.der", "wrong", 3821, "wrong password"),
}

func TestFiles(t *testing.T) {
	prints := thumbprints(t)
	for _, group := range [][]fileCase{pfxCases, pemCases, legacyCases} {
		for _, c := range group {
			t.Run(c.name(), func(t *testing.T) {
				option, given := prints[c.option]
				if !given {
					option = c.option
				}
				began := time.Now()
				id, err := c.read(load(t, c.file), c.password, option)
				assert.Less(t, time.Since(began), slow, "time")
				if c.code != 0 {
					requireFailure(t, err, c.code, c.words, c.password)
					return
				}
				require.NoError(t, err)
				requireConsistent(t, id)
				require.Len(t, id.Chain, c.chain)
				want := c.leaf
				if want == "" {
					want = "leaf"
				}
				require.Equal(t, testKey(t).Public(), id.Signer.Reveal().Public(), "key")
				if c.chain == 0 { // the option is all there is
					require.Nil(t, id.Leaf)
					require.Equal(t, option, colons(id.SHA1)+colons(id.SHA256))
					return
				}
				require.Equal(t, prints[want+" sha1"], colons(id.SHA1))
				require.Equal(t, prints[want+" sha256"], colons(id.SHA256))
				requireOrdered(t, id.Chain)
			})
		}
	}
}

// slow is what no file may take: the limit on rounds is about a second. The race
// detector and what else the machine does make several of it.
const slow = 30 * time.Second

// TestFilesAllListed keeps the tables complete.
func TestFilesAllListed(t *testing.T) {
	listed := map[string]bool{"README.md": true}
	for _, group := range [][]fileCase{pfxCases, pemCases, legacyCases} {
		for _, c := range group {
			listed[c.file] = true
		}
	}
	files, err := os.ReadDir("testdata")
	require.NoError(t, err)
	for _, f := range files {
		if !f.IsDir() {
			assert.True(t, listed[f.Name()], "testdata/%s is in no table", f.Name())
		}
	}
}

// requireFailure checks code and cause, and that the cause keeps the password.
func requireFailure(t *testing.T, err error, code ekm.Code, words, password string) {
	t.Helper()
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok, "want *ekm.Error, got %v", err)
	require.Equal(t, code, e.Code, "%v", err)
	require.Equal(t, ekm.Local, e.Party)
	require.ErrorContains(t, e.Err, words)
	if len(password) > 5 {
		require.NotContains(t, err.Error(), password)
	}
}

// requireConsistent is the oracle for anything that reads: the key signs, the
// certificate verifies, and the thumbprints are the certificate's.
func requireConsistent(t testing.TB, id *keyfile.Identity) {
	t.Helper()
	digest := sha256.Sum256([]byte(t.Name()))
	sig, err := id.Signer.Reveal().Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	require.NoError(t, err)
	pub := id.Public
	if id.Leaf != nil {
		pub = id.Leaf.PublicKey.(*rsa.PublicKey)
		require.Same(t, id.Leaf, id.Chain[0])
		s256 := sha256.Sum256(id.Leaf.Raw)
		require.Equal(t, s256[:], id.SHA256)
		require.Len(t, id.SHA1, 20)
	} else {
		require.Empty(t, id.Chain)
		require.True(t, len(id.SHA1) == 20 && id.SHA256 == nil || len(id.SHA256) == 32 && id.SHA1 == nil)
	}
	require.NoError(t, rsa.VerifyPSS(pub, crypto.SHA256, digest[:], sig, nil))
	require.True(t, id.Public.Equal(pub))
	require.GreaterOrEqual(t, pub.N.BitLen(), 2048)
}

func requireOrdered(t *testing.T, chain []*x509.Certificate) {
	t.Helper()
	for i := 1; i < len(chain); i++ {
		require.NoError(t, chain[i-1].CheckSignatureFrom(chain[i]), "chain at %d", i)
	}
}

func load(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return data
}

// thumbprints is what OpenSSL said: "leaf sha1" and so on.
func thumbprints(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(string(load(t, "thumbprints.txt"))) {
		f := strings.Fields(line)
		out[f[0]+" "+f[1]] = f[2]
	}
	require.Len(t, out, 10)
	return out
}

func colons(b []byte) string {
	var parts []string
	for _, x := range b {
		parts = append(parts, strings.ToUpper(hex.EncodeToString([]byte{x})))
	}
	return strings.Join(parts, ":")
}

// testKey is the key of all files, read by the standard library alone.
func testKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(pemBytes(t, "key.pem"))
	require.NoError(t, err)
	return key.(*rsa.PrivateKey)
}

func testCert(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(pemBytes(t, name))
	require.NoError(t, err)
	return c
}

func pemBytes(t testing.TB, name string) []byte {
	t.Helper()
	b, rest := pem.Decode(load(t, name))
	require.NotNil(t, b)
	require.Empty(t, bytes.TrimSpace(rest))
	return b.Bytes
}
