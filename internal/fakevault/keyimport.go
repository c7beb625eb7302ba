package fakevault

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
)

// importedKey is a private JSON Web Key (RFC 7518 section 6).
type importedKey struct {
	Kty    string   `json:"kty"`
	KeyOps []string `json:"key_ops"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	D      string   `json:"d"`
	P      string   `json:"p"`
	Q      string   `json:"q"`
	Crv    string   `json:"crv"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
}

func (c *call) importKey() (any, *fail) {
	var req keyRequest
	if err := c.decode(&req); err != nil {
		return nil, err
	}
	v := req.Key.version()
	if v == nil {
		if c.s.hsm && (req.Key == nil || req.Key.Kty == "") {
			return nil, badParameter("JSON Web Key: kty is missing")
		}
		return nil, badParameter(`The property "key" must be a valid JsonWebKey object.`)
	}
	if (c.s.hsm || req.HSM) && (v.kty == "RSA" || v.kty == "EC") {
		v.kty += "-HSM"
	}
	if req.KeyOps == nil {
		req.KeyOps = req.Key.KeyOps
	}
	return c.addVersion(v, &req)
}

// version checks the key; nil if it is none.
func (k *importedKey) version() *keyVersion {
	if k == nil {
		return nil
	}
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			return new(big.Int)
		}
		return new(big.Int).SetBytes(b)
	}
	v := &keyVersion{kty: k.Kty, crv: k.Crv, enabled: true}
	switch k.Kty {
	case "RSA", "RSA-HSM":
		v.rsa = &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())},
			D:         number(k.D), Primes: []*big.Int{number(k.P), number(k.Q)},
		}
		v.bits, v.crv = v.rsa.N.BitLen(), ""
		if v.bits < 2048 || v.bits > 4096 || v.rsa.Validate() != nil {
			return nil
		}
		v.rsa.Precompute()
	case "EC", "EC-HSM":
		curve := curveOf(k.Crv)
		if curve == nil {
			return nil
		}
		size := (curve.Params().BitSize + 7) / 8
		d := number(k.D)
		if d.BitLen() > size*8 {
			return nil
		}
		var err error
		if v.ec, err = ecdsa.ParseRawPrivateKey(curve, d.FillBytes(make([]byte, size))); err != nil {
			return nil
		}
	default:
		return nil
	}
	return v
}
