package fakevault_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

func TestWrapAndUnwrapAgainstCryptoRSA(t *testing.T) {
	s := fakevault.New(fakevault.Options{})
	u := newUser(t, s)
	created := u.ok("POST", "/keys/Main/create", `{"kty":"RSA"}`)
	key := created["key"].(map[string]any)
	n := dec(t, key["n"])
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	assert.Len(t, n, 256, "2048 bits is the default")
	assert.Equal(t, "AQAB", key["e"])
	priv := s.PrivateKey("main", "")
	dek := []byte("0123456789abcdef0123456789abcdef")

	hashes := map[string]hash.Hash{"RSA-OAEP": sha1.New(), "RSA-OAEP-256": sha256.New(), "RSA1_5": nil}
	for alg, h := range hashes {
		for _, ops := range [][2]string{{"wrapkey", "unwrapkey"}, {"wrapKey", "unwrapKey"}, {"encrypt", "decrypt"}} {
			for _, path := range []string{"/keys/main/" + version(created) + "/", "/keys/MAIN//"} {
				// The vault wraps, crypto/rsa unwraps.
				got := u.ok("POST", path+ops[0], `{"alg":"`+alg+`","value":"`+enc(dek)+`"}`)
				assert.Equal(t, kid(created), got["kid"])
				var plain, wrapped []byte
				var err error
				if h == nil {
					plain, err = rsa.DecryptPKCS1v15(nil, priv, dec(t, got["value"]))
				} else {
					plain, err = rsa.DecryptOAEP(h, nil, priv, dec(t, got["value"]), nil)
				}
				require.NoError(t, err)
				assert.Equal(t, dek, plain)

				// And the other way round.
				if h == nil {
					wrapped, err = rsa.EncryptPKCS1v15(rand.Reader, pub, dek)
				} else {
					wrapped, err = rsa.EncryptOAEP(h, rand.Reader, pub, dek, nil)
				}
				require.NoError(t, err)
				got = u.ok("POST", path+ops[1], `{"alg":"`+alg+`","value":"`+enc(wrapped)+`"}`)
				assert.Equal(t, dek, dec(t, got["value"]))
			}
		}
	}
	_ = crypto.SHA256
}
