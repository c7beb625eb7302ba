package keyfile

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A privateKeyInfo is a private key of some algorithm, its inside unread.
type privateKeyInfo struct {
	oid string // algorithm
	der []byte // for RSA: PKCS#1
}

const (
	oidRSA = "1.2.840.113549.1.1.1"
	oidPSS = "1.2.840.113549.1.1.10"
	oidEC  = "1.2.840.10045.2.1"
	oidDSA = "1.2.840.10040.4.1"
)

// parsePrivateKey tells PKCS#8, PKCS#1, SEC 1 and OpenSSL's DSA form apart by
// what follows the version, whatever a label says.
func parsePrivateKey(der []byte) (privateKeyInfo, error) {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	var version int
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1Integer(&version) {
		return privateKeyInfo{}, errDamaged("private key")
	}
	switch {
	case seq.PeekASN1Tag(cbasn1.SEQUENCE):
		var alg, inner cryptobyte.String
		if !seq.ReadASN1(&alg, cbasn1.SEQUENCE) || !seq.ReadASN1(&inner, cbasn1.OCTET_STRING) {
			return privateKeyInfo{}, errDamaged("private key")
		}
		oid, _, err := splitAlgorithm(alg)
		return privateKeyInfo{oid: oid, der: inner}, err
	case seq.PeekASN1Tag(cbasn1.OCTET_STRING) && version == 1:
		return privateKeyInfo{oid: oidEC, der: der}, nil
	}
	numbers := 0
	for seq.PeekASN1Tag(cbasn1.INTEGER) && seq.SkipASN1(cbasn1.INTEGER) {
		numbers++
	}
	switch numbers {
	case 8: // n e d p q dp dq qinv
		return privateKeyInfo{oid: oidRSA, der: der}, nil
	case 5: // p q g y x
		return privateKeyInfo{oid: oidDSA, der: der}, nil
	}
	return privateKeyInfo{}, errDamaged("private key")
}

// rsa is the PKCS#1 inside, if it is an RSA key that may sign as Entra ID wants.
func (k privateKeyInfo) rsa() ([]byte, error) {
	name := ""
	switch k.oid {
	case oidRSA:
		return k.der, nil
	case oidPSS:
		return nil, errors.New("the private key is marked for RSA-PSS alone: make a certificate with a plain RSA key")
	case oidEC:
		name = " (elliptic curve)"
	case oidDSA:
		name = " (DSA)"
	case "1.3.101.112":
		name = " (Ed25519)"
	}
	return nil, fmt.Errorf("the private key is not RSA but %s%s: Entra ID takes RSA certificates of 2048 bits and more", shorten(k.oid), name)
}

// splitEncryptedKey splits EncryptedPrivateKeyInfo (RFC 5958, section 3) in the
// content of its AlgorithmIdentifier and the encrypted bytes.
func splitEncryptedKey(der []byte) (alg cryptobyte.String, data []byte, err error) {
	in := cryptobyte.String(der)
	var seq, body cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1(&alg, cbasn1.SEQUENCE) ||
		!seq.ReadASN1(&body, cbasn1.OCTET_STRING) || !seq.Empty() {
		return nil, nil, errDamaged("encrypted private key")
	}
	return alg, body, nil
}

// openKey reads a private key that stands alone, encrypted or not.
func openKey(der []byte, text string) (privateKeyInfo, error) {
	alg, data, err := splitEncryptedKey(der)
	if err != nil {
		return parsePrivateKey(der)
	}
	s, err := readScheme(alg)
	if err != nil {
		return privateKeyInfo{}, err
	}
	var b budget
	if err := b.takeAll([]int{s.rounds}); err != nil {
		return privateKeyInfo{}, err
	}
	plain, err := s.open(newPassword(text), data)
	if err != nil {
		return privateKeyInfo{}, orPassword(err, text)
	}
	return parsePrivateKey(plain)
}

// marshalKey is a parsed key of any kind as PKCS#8.
func marshalKey(key any) ([]byte, error) { return x509.MarshalPKCS8PrivateKey(key) }

// rsaNumbers are the eight numbers of PKCS#1 and of the Windows blobs.
type rsaNumbers struct{ n, e, d, p, q, dp, dq, qinv *big.Int }

// Sizes of the modulus. Entra ID refuses less than 2048 bits, and tools write
// 2048, 3072 and 4096; more than 8192 would be a way to keep us busy.
const (
	minBits = 2048
	maxBits = 8192
)

// importPKCS1 reads RSAPrivateKey (RFC 8017, appendix A.1.2).
func importPKCS1(der []byte) (*rsa.PrivateKey, error) {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	var version int
	k := rsaNumbers{}
	all := []**big.Int{&k.n, &k.e, &k.d, &k.p, &k.q, &k.dp, &k.dq, &k.qinv}
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1Integer(&version) {
		return nil, errDamaged("RSA private key")
	}
	if version != 0 {
		return nil, errors.New("RSA private keys with more than two primes are not supported")
	}
	for _, n := range all {
		*n = new(big.Int)
		if !seq.ReadASN1Integer(*n) {
			return nil, errDamaged("RSA private key")
		}
	}
	if !seq.Empty() {
		return nil, errDamaged("RSA private key")
	}
	return importRSA(k)
}

// importRSA checks the numbers and makes the key. Sizes come first: the checks
// of crypto/rsa take time that grows with the square of the modulus.
func importRSA(k rsaNumbers) (*rsa.PrivateKey, error) {
	bits := k.n.BitLen()
	if bits < minBits || bits > maxBits {
		return nil, fmt.Errorf("the RSA key has %d bits; it has to have %d to %d", bits, minBits, maxBits)
	}
	for _, x := range []*big.Int{k.n, k.e, k.d, k.p, k.q, k.dp, k.dq, k.qinv} {
		if x.Sign() <= 0 || x.BitLen() > bits {
			return nil, errNumbers
		}
	}
	if !k.e.IsInt64() || k.e.Int64() > 1<<31-1 {
		return nil, errors.New("the RSA key has a public exponent above 31 bits, which is not supported")
	}
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: k.n, E: int(k.e.Int64())},
		D:         k.d,
		Primes:    []*big.Int{k.p, k.q},
		Precomputed: rsa.PrecomputedValues{
			Dp: k.dp, Dq: k.dq, Qinv: k.qinv,
		},
	}
	key.Precompute()
	if err := key.Validate(); err != nil {
		return nil, fmt.Errorf("%w (%w)", errNumbers, err)
	}
	return key, nil
}

var errNumbers = errors.New("the numbers of the RSA key do not agree: the file is damaged")
