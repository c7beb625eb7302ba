package fakevault

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	_ "crypto/sha512" // for RS384 to ES512
)

type cryptoRequest struct {
	Alg    string  `json:"alg"`
	Value  *string `json:"value"`
	Digest *string `json:"digest"`
}

// cryptoReply: Managed HSM names the algorithm as well.
type cryptoReply struct {
	Kid   string `json:"kid,omitempty"`
	Value any    `json:"value"`
	Alg   string `json:"alg,omitempty"`
}

// bytesOf decodes a member: base64url without padding, as everything on this wire. The text is real
// (reported to vault-recovery-key).
func bytesOf(member string, value *string) ([]byte, *fail) {
	if value == nil || *value == "" {
		return nil, badParameter("Property '%s' is required.\r\n", member)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(*value)
	if err != nil {
		return nil, badParameter("Content of '%[1]s' is not base64url.\r\nProperty '%[1]s' is required.\r\n", member)
	}
	return b, nil
}

func (c *call) result(name string, v *keyVersion, alg string, value any) cryptoReply {
	r := cryptoReply{Kid: c.s.keyID(name, v.id), Value: value}
	if c.s.hsm {
		r.Alg = alg
	}
	return r
}

// cryptography is wrap, unwrap, encrypt and decrypt.
func (c *call) cryptography() (any, *fail) {
	var req cryptoRequest
	if err := c.decode(&req); err != nil {
		return nil, err
	}
	in, err := bytesOf("value", req.Value)
	if err != nil {
		return nil, err
	}
	name, v, err := c.find()
	if err != nil {
		return nil, err
	}
	if err := c.usable(v); err != nil {
		return nil, err
	}
	if v.rsa == nil {
		return nil, notPermitted(c.op)
	}
	var out []byte
	if c.op == OpWrap || c.op == OpEncrypt {
		out, err = encrypt(&v.rsa.PublicKey, req.Alg, in)
	} else {
		out, err = decrypt(v.rsa, req.Alg, in)
	}
	if err != nil {
		return nil, err
	}
	return c.result(name, v, req.Alg, b64(out)), nil
}

// usable checks key_ops, enabled and the time window for a cryptographic operation. Outside of the window decrypt,
// unwrap and verify are still allowed (Microsoft Learn, "Keys, keys, and more keys: about keys").
func (c *call) usable(v *keyVersion) *fail {
	forbidden := func(format, inner string) *fail {
		return &fail{http.StatusForbidden, "Forbidden", fmt.Sprintf(format, c.op), inner}
	}
	if !v.enabled {
		return forbidden("Operation %s is not allowed on a disabled key.", "KeyDisabled")
	}
	if !slices.Contains(v.ops, string(c.op)) {
		return notPermitted(c.op)
	}
	if c.op == OpDecrypt || c.op == OpUnwrap || c.op == OpVerify {
		return nil
	}
	now := time.Now().Unix()
	// Both texts are made after that for expired secrets (reported to Azure/AzureKeyVault).
	if v.nbf != nil && now < *v.nbf {
		return forbidden("Operation %s is not allowed on a key that is not yet valid.", "KeyNotYetValid")
	}
	if v.exp != nil && now >= *v.exp {
		return forbidden("Operation %s is not allowed on an expired key.", "KeyExpired")
	}
	return nil
}

// oaepHash is the hash of an OAEP algorithm name.
func oaepHash(alg string) hash.Hash {
	switch alg {
	case "RSA-OAEP":
		return sha1.New()
	case "RSA-OAEP-256":
		return sha256.New()
	}
	return nil
}

func encrypt(pub *rsa.PublicKey, alg string, in []byte) ([]byte, *fail) {
	var out []byte
	var err error
	if h := oaepHash(alg); h != nil {
		out, err = rsa.EncryptOAEP(h, rand.Reader, pub, in, nil)
	} else if alg == "RSA1_5" {
		//lint:ignore SA1019 RSA1_5 is what the service offers under that name
		out, err = rsa.EncryptPKCS1v15(rand.Reader, pub, in)
	} else {
		return nil, invalidProperty()
	}
	if err != nil {
		return nil, badParameter("The parameter is incorrect.\r\n") // too long for the key; no real text was found
	}
	return out, nil
}

// decrypt: the OAEP text is real (reported to azure-docs).
func decrypt(priv *rsa.PrivateKey, alg string, in []byte) ([]byte, *fail) {
	if h := oaepHash(alg); h != nil {
		out, err := rsa.DecryptOAEP(h, nil, priv, in, nil)
		if err != nil {
			return nil, badParameter("Error occurred while decoding OAEP padding.")
		}
		return out, nil
	}
	if alg != "RSA1_5" {
		return nil, invalidProperty()
	}
	//lint:ignore SA1019 RSA1_5 is what the service offers under that name
	out, err := rsa.DecryptPKCS1v15(nil, priv, in)
	if err != nil {
		return nil, badParameter("The parameter is incorrect.\r\n")
	}
	return out, nil
}

// digestOf is the hash that an algorithm such as RS256 or ES384 signs.
func digestOf(alg string) crypto.Hash {
	switch {
	case strings.HasSuffix(alg, "256"):
		return crypto.SHA256
	case strings.HasSuffix(alg, "384"):
		return crypto.SHA384
	case strings.HasSuffix(alg, "512"):
		return crypto.SHA512
	}
	return 0
}

// signing reads what sign and verify have in common. The digest is in the member "value" for sign, "digest" for verify.
func (c *call) signing(member func(*cryptoRequest) (string, *string)) (req cryptoRequest, digest []byte, name string, v *keyVersion, err *fail) {
	if err = c.decode(&req); err != nil {
		return
	}
	label, value := member(&req)
	if digest, err = bytesOf(label, value); err != nil {
		return
	}
	if name, v, err = c.find(); err != nil {
		return
	}
	if err = c.usable(v); err != nil {
		return
	}
	if h := digestOf(req.Alg); h == 0 || h.Size() != len(digest) || !v.signs(req.Alg) {
		err = invalidProperty()
	}
	return
}

// signs tells whether the algorithm fits the key.
func (v *keyVersion) signs(alg string) bool {
	if v.rsa != nil {
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	}
	return map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[v.crv] == alg
}

func (c *call) sign() (any, *fail) {
	req, digest, name, v, fault := c.signing(func(r *cryptoRequest) (string, *string) { return "value", r.Value })
	if fault != nil {
		return nil, fault
	}
	var sig []byte
	var err error
	h := digestOf(req.Alg)
	switch {
	case v.ec != nil:
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, v.ec, digest); err == nil {
			size := (v.ec.Curve.Params().BitSize + 7) / 8
			sig = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case strings.HasPrefix(req.Alg, "PS"):
		sig, err = rsa.SignPSS(rand.Reader, v.rsa, h, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	default:
		sig, err = rsa.SignPKCS1v15(rand.Reader, v.rsa, h, digest)
	}
	if err != nil {
		return nil, badParameter("The parameter is incorrect.\r\n")
	}
	return c.result(name, v, req.Alg, b64(sig)), nil
}

func (c *call) verify() (any, *fail) {
	req, digest, name, v, fault := c.signing(func(r *cryptoRequest) (string, *string) { return "digest", r.Digest })
	if fault != nil {
		return nil, fault
	}
	sig, fault := bytesOf("value", req.Value)
	if fault != nil {
		return nil, fault
	}
	h := digestOf(req.Alg)
	var ok bool
	switch {
	case v.ec != nil:
		half := len(sig) / 2
		ok = len(sig)%2 == 0 && ecdsa.Verify(&v.ec.PublicKey, digest, new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:]))
	case strings.HasPrefix(req.Alg, "PS"):
		ok = rsa.VerifyPSS(&v.rsa.PublicKey, h, digest, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	default:
		ok = rsa.VerifyPKCS1v15(&v.rsa.PublicKey, h, digest, sig) == nil
	}
	if c.s.hsm {
		return c.result(name, v, req.Alg, ok), nil
	}
	return cryptoReply{Value: ok}, nil // the vault sends no kid here
}

// random is Managed HSM's source of random bytes.
func (c *call) random() (any, *fail) {
	if !c.s.hsm {
		return nil, &fail{http.StatusNotFound, "NotFound", "The resource is not found.", ""}
	}
	var req struct {
		Count int `json:"count"`
	}
	if err := c.decode(&req); err != nil {
		return nil, err
	}
	if req.Count < 1 || req.Count > 128 {
		return nil, badParameter("GetRandomBytesRequest: count cannot be greater than 128 or less than 1")
	}
	b := make([]byte, req.Count)
	_, _ = rand.Read(b) // never fails
	return cryptoReply{Value: b64(b)}, nil
}
