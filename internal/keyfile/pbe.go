package keyfile

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // what the files use
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // what the files use
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// errPassword is the one thing that can be said when a check value or a padding
// does not come out right.
var errPassword = errors.New("wrong password, or the file is damaged")

// maxSalt bounds salts; tools write 8 to 64 bytes.
const maxSalt = 1024

// A scheme is one password-based encryption as its AlgorithmIdentifier says:
// read and checked, not yet run.
type scheme struct {
	rounds int
	key    func(password []byte) (key, iv []byte, err error)
	block  func(key []byte) (cipher.Block, error)
	bmp    bool // passwords go in as PKCS#12 wants them, not as UTF-8
}

// open decrypts data, whose plaintext is one ASN.1 SEQUENCE.
func (s scheme) open(pw password, data []byte) ([]byte, error) {
	candidates := [][]byte{pw.utf8}
	if s.bmp {
		candidates = pw.bmp
	}
	for _, p := range candidates {
		plain, err := s.try(p, data)
		if err != nil {
			return nil, err
		}
		if plain != nil {
			return plain, nil
		}
	}
	return nil, errPassword
}

// try decrypts with one form of the password; nil if that did not come out.
func (s scheme) try(password, data []byte) ([]byte, error) {
	key, iv, err := s.key(password)
	if err != nil {
		return nil, err
	}
	block, err := s.block(key)
	if err != nil {
		return nil, err
	}
	size := block.BlockSize()
	if len(iv) != size {
		return nil, fmt.Errorf("the initialisation vector has %d bytes instead of %d: the file is damaged", len(iv), size)
	}
	if len(data) == 0 || len(data)%size != 0 {
		return nil, fmt.Errorf("%s encrypted bytes are no multiple of the block size: the file is damaged", commas(len(data)))
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	n := int(plain[len(plain)-1])
	if n == 0 || n > size || !bytes.Equal(plain[len(plain)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, nil
	}
	if plain = normalise(plain[:len(plain)-n]); !isSequence(plain) {
		return nil, nil // right padding by chance: one in 256
	}
	return plain, nil
}

func isSequence(der []byte) bool {
	in := cryptobyte.String(der)
	return in.SkipASN1(cbasn1.SEQUENCE) && in.Empty()
}

// readScheme reads an AlgorithmIdentifier's content.
func readScheme(alg cryptobyte.String) (scheme, error) {
	oid, params, err := splitAlgorithm(alg)
	if err != nil {
		return scheme{}, err
	}
	const pkcs12 = "1.2.840.113549.1.12.1." // RFC 7292, appendix C
	switch oid {
	case "1.2.840.113549.1.5.13":
		return readPBES2(params)
	case pkcs12 + "3":
		return readPBE12(params, 24, des.NewTripleDESCipher)
	case pkcs12 + "5":
		return readPBE12(params, 16, newRC2)
	case pkcs12 + "6":
		return readPBE12(params, 5, newRC2)
	}
	return scheme{}, unsupported("encryption", oid)
}

// readPBE12 reads pkcs-12PbeParams: SEQUENCE { salt, iterations }.
func readPBE12(params cryptobyte.String, keyLen int, block func([]byte) (cipher.Block, error)) (scheme, error) {
	var seq, salt cryptobyte.String
	var rounds int
	if !params.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&salt, cbasn1.OCTET_STRING) ||
		!seq.ReadASN1Integer(&rounds) || len(salt) > maxSalt {
		return scheme{}, errors.New("unreadable encryption parameters (PKCS#12 PBE)")
	}
	return scheme{
		rounds: rounds, block: block, bmp: true,
		key: func(password []byte) (key, iv []byte, err error) {
			return pkcs12KDF(sha1.New, 1, password, salt, rounds, keyLen),
				pkcs12KDF(sha1.New, 2, password, salt, rounds, 8), nil
		},
	}, nil
}

// readPBES2 reads PBES2-params (RFC 8018, appendix A.4): a key derivation, which
// has to be PBKDF2, and a cipher with its initialisation vector.
func readPBES2(params cryptobyte.String) (scheme, error) {
	var seq, kdfAlg, encAlg, iv cryptobyte.String
	if !params.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&kdfAlg, cbasn1.SEQUENCE) ||
		!seq.ReadASN1(&encAlg, cbasn1.SEQUENCE) {
		return scheme{}, errors.New("unreadable encryption parameters (PBES2)")
	}
	kdf, err := readPBKDF2(kdfAlg)
	if err != nil {
		return scheme{}, err
	}
	oid, encParams, err := splitAlgorithm(encAlg)
	if err != nil {
		return scheme{}, err
	}
	s := scheme{rounds: kdf.rounds, block: aes.NewCipher}
	var keyLen int
	switch oid {
	case "2.16.840.1.101.3.4.1.2":
		keyLen = 16
	case "2.16.840.1.101.3.4.1.22":
		keyLen = 24
	case "2.16.840.1.101.3.4.1.42":
		keyLen = 32
	case "1.2.840.113549.3.7":
		keyLen, s.block = 24, des.NewTripleDESCipher
	default:
		return scheme{}, unsupported("encryption", oid)
	}
	if !encParams.ReadASN1(&iv, cbasn1.OCTET_STRING) {
		return scheme{}, errors.New("unreadable encryption parameters (initialisation vector)")
	}
	if kdf.keyLen != 0 && kdf.keyLen != keyLen {
		return scheme{}, fmt.Errorf("the file derives a key of %s bytes for a cipher that takes %d: it is damaged", commas(kdf.keyLen), keyLen)
	}
	s.key = func(password []byte) ([]byte, []byte, error) {
		key, err := kdf.derive(password, keyLen)
		return key, iv, err
	}
	return s, nil
}

// A kdf2 is PBKDF2 with its parameters.
type kdf2 struct {
	salt   []byte
	rounds int
	keyLen int // 0: as long as the cipher takes
	prf    func() hash.Hash
}

func (k kdf2) derive(password []byte, keyLen int) ([]byte, error) {
	return pbkdf2.Key(k.prf, string(password), k.salt, k.rounds, keyLen)
}

// readPBKDF2 reads PBKDF2-params (RFC 8018, appendix A.2).
func readPBKDF2(alg cryptobyte.String) (kdf2, error) {
	oid, params, err := splitAlgorithm(alg)
	if err != nil {
		return kdf2{}, err
	}
	if oid != "1.2.840.113549.1.5.12" {
		return kdf2{}, unsupported("key derivation", oid)
	}
	k := kdf2{prf: sha1.New} // the default of RFC 8018
	var seq, salt cryptobyte.String
	if !params.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&salt, cbasn1.OCTET_STRING) ||
		!seq.ReadASN1Integer(&k.rounds) || len(salt) > maxSalt {
		return kdf2{}, errors.New("unreadable key-derivation parameters (PBKDF2)")
	}
	k.salt = salt
	if seq.PeekASN1Tag(cbasn1.INTEGER) && (!seq.ReadASN1Integer(&k.keyLen) || k.keyLen < 1) {
		return kdf2{}, errors.New("unreadable key-derivation parameters (key length)")
	}
	if seq.Empty() {
		return k, nil
	}
	var prf cryptobyte.String
	if !seq.ReadASN1(&prf, cbasn1.SEQUENCE) || !seq.Empty() {
		return kdf2{}, errors.New("unreadable key-derivation parameters (hash)")
	}
	if oid, _, err = splitAlgorithm(prf); err != nil {
		return kdf2{}, err
	}
	if k.prf = hmacHash(oid); k.prf == nil {
		return kdf2{}, unsupported("key-derivation hash", oid)
	}
	return k, nil
}

// splitAlgorithm is the OID of an AlgorithmIdentifier's content, as text, and
// its parameters.
func splitAlgorithm(alg cryptobyte.String) (string, cryptobyte.String, error) {
	var oid asn1.ObjectIdentifier
	if !alg.ReadASN1ObjectIdentifier(&oid) {
		return "", nil, errors.New("unreadable algorithm identifier: the file is damaged")
	}
	return oid.String(), alg, nil
}

// hmacHash is the hash of an HMAC algorithm (RFC 8018, appendix B.1).
func hmacHash(oid string) func() hash.Hash {
	const rsadsi = "1.2.840.113549.2."
	switch oid {
	case rsadsi + "7":
		return sha1.New
	case rsadsi + "8":
		return sha256.New224
	case rsadsi + "9":
		return sha256.New
	case rsadsi + "10":
		return sha512.New384
	case rsadsi + "11":
		return sha512.New
	}
	return nil
}

// unsupported names an algorithm and the way out.
func unsupported(use, oid string) error {
	name := ""
	switch oid {
	case "1.2.840.113549.1.12.1.1":
		name = " (RC4-128)"
	case "1.2.840.113549.1.12.1.2":
		name = " (RC4-40)"
	case "1.2.840.113549.1.12.1.4":
		name = " (two-key 3DES)"
	case "1.2.840.113549.1.5.3":
		name = " (MD5 and DES)"
	case "1.2.840.113549.1.5.10":
		name = " (SHA-1 and DES)"
	case "1.3.6.1.4.1.11591.4.11":
		name = " (scrypt)"
	}
	return fmt.Errorf("%s algorithm %s%s is not supported: write the file again with AES-256 and PBKDF2, as OpenSSL 3 does by default", use, shorten(oid), name)
}

// shorten bounds an OID that a file of a mebibyte may give.
func shorten(oid string) string {
	if len(oid) > 64 {
		return oid[:64] + "..."
	}
	return oid
}
