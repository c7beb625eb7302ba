package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"math"
	"math/big"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/b64"
	"github.com/akv-ekm/ekm/internal/strictjson"
)

// Secp256k1 is a public key on the curve that Key Vault calls P-256K (SEC 2,
// secp256k1), for which the standard library has no type.
type Secp256k1 struct{ X, Y *big.Int }

// setPublic fills Public and Bits from w's two numbers: n and e of an RSA key,
// x and y of an EC key, which share their codes as they share their role.
func (k *Key) setPublic(w wireKey) error {
	ec := k.Type == "EC" || k.Type == "EC-HSM"
	if k.Type == "" || ec && k.Curve == "" {
		return fail(ekm.ErrorGetKeyByNameExtractKeyType, "the key has no kty, or an EC key no crv")
	}
	names, raw := [2]string{"n", "e"}, [2]json.RawMessage{w.N, w.E}
	build := k.rsa
	if ec {
		names, raw = [2]string{"x", "y"}, [2]json.RawMessage{w.X, w.Y}
		build = k.ec
	}
	if !k.supported() {
		return fail(ekm.SCPErrNotSupported, "keys of type %.40q, curve %.40q, are not supported", k.Type, k.Curve)
	}

	if strictjson.Text(raw[0]) == "" {
		return fail(ekm.ErrorGetKeyByNameExtractKeyN, "the key has no %s", names[0])
	}
	a, ok := number(strictjson.Text(raw[0]))
	if !ok || !ec && a.Bit(0) == 0 {
		return fail(ekm.ErrorGetKeyByNameBase64DecodeN, "the key's %s is not base64url of such a number", names[0])
	}
	if strictjson.Text(raw[1]) == "" {
		return fail(ekm.ErrorGetKeyByNameExtractKeyE, "the key has no %s", names[1])
	}
	b, ok := number(strictjson.Text(raw[1]))
	if ok {
		k.Public, k.Bits, ok = build(a, b)
	}
	if !ok {
		return fail(ekm.ErrorGetKeyByNameBase64DecodeE, "the key's %s is not base64url of a number that goes with its %s", names[1], names[0])
	}
	if !ec && k.Bits != 2048 && k.Bits != 3072 && k.Bits != 4096 {
		return fail(ekm.SCPErrNotSupported, "RSA keys of %d bits are not supported: 2048, 3072 and 4096 are", k.Bits)
	}
	return nil
}

func (k *Key) supported() bool {
	switch k.Type {
	case "RSA", "RSA-HSM":
		return true
	case "EC", "EC-HSM":
		return k.Curve == "P-256K" || nist(k.Curve) != nil
	}
	return false
}

func nist(name string) elliptic.Curve {
	switch name {
	case "P-256":
		return elliptic.P256()
	case "P-384":
		return elliptic.P384()
	case "P-521":
		return elliptic.P521()
	}
	return nil
}

// rsa makes an RSA key. The exponent's bounds are those of RFC 8017, section
// 3.1, narrowed to what crypto/rsa computes with.
func (k *Key) rsa(n, e *big.Int) (crypto.PublicKey, int, bool) {
	if !e.IsInt64() || e.Int64() < 3 || e.Int64() > math.MaxInt32 || e.Bit(0) == 0 {
		return nil, 0, false
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, n.BitLen(), true
}

// ec makes an EC key if (x, y) is a point of k's curve.
func (k *Key) ec(x, y *big.Int) (crypto.PublicKey, int, bool) {
	curve := nist(k.Curve)
	if curve == nil {
		return &Secp256k1{x, y}, 256, onSecp256k1(x, y)
	}
	bits := curve.Params().BitSize
	size := (bits + 7) / 8
	if x.BitLen() > 8*size || y.BitLen() > 8*size {
		return nil, 0, false
	}
	point := make([]byte, 1+2*size) // SEC 1, 2.3.3: uncompressed
	point[0] = 4
	x.FillBytes(point[1 : 1+size])
	y.FillBytes(point[1+size:])
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	return public, bits, err == nil
}

// onSecp256k1 checks y² = x³ + 7 mod p, with p = 2²⁵⁶ - 2³² - 977 (SEC 2, 2.4.1).
func onSecp256k1(x, y *big.Int) bool {
	p := new(big.Int).Lsh(big.NewInt(1), 256)
	p.Sub(p, big.NewInt(1<<32+977))
	if x.Cmp(p) >= 0 || y.Cmp(p) >= 0 {
		return false
	}
	right := new(big.Int).Exp(x, big.NewInt(3), p)
	right.Add(right, big.NewInt(7)).Mod(right, p)
	return new(big.Int).Exp(y, big.NewInt(2), p).Cmp(right) == 0
}

// number reads a Base64urlUInt (RFC 7518, section 2). Leading zeros, which real
// replies have, do not count.
func number(s string) (*big.Int, bool) {
	b, err := b64.Decode(s)
	n := new(big.Int).SetBytes(b)
	return n, err == nil && n.Sign() > 0
}
