package keyfile_test

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"

	"github.com/akv-ekm/ekm/internal/keyfile"
	"github.com/stretchr/testify/require"
	sslmate "software.sslmate.com/src/go-pkcs12"
)

// The reader is our own because go-pkcs12, the only other one in Go that reads
// today's files, runs any number of rounds that it finds behind the password,
// checks a modulus of any size, and takes the first certificate for the leaf. As
// an independent opinion on what is in a file it is welcome here.

// TestAgreesWithGoPKCS12: what it reads, we read, and find the same.
func TestAgreesWithGoPKCS12(t *testing.T) {
	read := 0
	for _, c := range pfxCases {
		if c.option != "" || !strings.HasPrefix(filepath.Ext(c.file), ".p") || c.code != 0 || strings.Contains(c.file, "600k") {
			continue // the last for time's sake
		}
		key, cert, cas, err := sslmate.DecodeChain(load(t, c.file), c.password)
		if err != nil {
			t.Logf("%s: %v", c.file, err)
			continue
		}
		read++
		id, err := keyfile.PFX(load(t, c.file), c.password, "")
		require.NoError(t, err, c.file)
		require.Equal(t, key, id.Signer.Reveal(), c.file)
		require.Subset(t, append(cas, cert), id.Chain, c.file)
	}
	require.Greater(t, read, 20)
}

// TestReadsGoPKCS12 reads what it writes, the issuer in front included: there
// its own DecodeChain calls the issuer the leaf.
func TestReadsGoPKCS12(t *testing.T) {
	key, leaf := testKey(t), testCert(t, "leaf.pem")
	issuer, root := testCert(t, "issuer.pem"), testCert(t, "root.pem")
	for name, e := range map[string]*sslmate.Encoder{
		"LegacyRC2": sslmate.LegacyRC2, "LegacyDES": sslmate.LegacyDES, "Modern2023": sslmate.Modern2023,
		"Modern2026 (PBMAC1)": sslmate.Modern2026, "Passwordless": sslmate.Passwordless,
	} {
		t.Run(name, func(t *testing.T) {
			password := pw
			if e == sslmate.Passwordless {
				password = ""
			}
			for order, certs := range map[string][]*x509.Certificate{
				"alone": {leaf}, "first": {leaf, issuer, root}, "last": {root, issuer, leaf}, "between": {issuer, leaf, root},
			} {
				data, err := e.Encode(key, certs[0], certs[1:], password)
				require.NoError(t, err)
				id, err := keyfile.PFX(data, password, "")
				require.NoError(t, err, order)
				requireConsistent(t, id)
				require.Equal(t, leaf.Raw, id.Leaf.Raw, order)
				require.Len(t, id.Chain, len(certs), order)
				requireOrdered(t, id.Chain)
			}
		})
	}
}

// TestRC2Vectors are those of RFC 2268, section 5, whose effective length is the
// key's own: the PFX schemes have no others.
func TestRC2Vectors(t *testing.T) {
	for _, v := range []struct{ key, plain, cipher string }{
		{"ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"},
		{"3000000000000000", "1000000000000001", "30649edf9be7d2c2"},
		{"88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"},
	} {
		c, err := keyfile.NewRC2(unhex(t, v.key))
		require.NoError(t, err)
		out := make([]byte, 8)
		c.Encrypt(out, unhex(t, v.plain))
		require.Equal(t, v.cipher, hex.EncodeToString(out))
		c.Decrypt(out, out)
		require.Equal(t, v.plain, hex.EncodeToString(out))
	}
}

// TestPKCS12KDF has the vectors of golang.org/x/crypto/pkcs12, both of two blocks.
func TestPKCS12KDF(t *testing.T) {
	for _, v := range []struct {
		salt, password string
		id             byte
		size           int
		want           string
	}{
		{"ffffffffffffffff", "0073006500730061006d00650000", 1, 24, "7cd9fd3e2b3be7691a44e3bef0f9ea0fb9b897d4e325d9d1"},
		{"f37e05b518324b4b", "0000", 1, 24, "00f759ff47d14dd03665d5943cb3c4a39a2555c02aed66e1"},
	} {
		got := keyfile.PKCS12KDF(sha1.New, v.id, unhex(t, v.password), unhex(t, v.salt), 2048, v.size)
		require.Equal(t, v.want, hex.EncodeToString(got))
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}
