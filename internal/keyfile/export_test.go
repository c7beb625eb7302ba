package keyfile

import (
	"crypto/cipher"
	"hash"
)

// Holes for the tests outside the package.

func NewRC2(key []byte) (cipher.Block, error) { return newRC2(key) }

func PKCS12KDF(h func() hash.Hash, id byte, password, salt []byte, rounds, size int) []byte {
	return pkcs12KDF(h, id, password, salt, rounds, size)
}

const MaxRounds = maxRounds

// PFXRounds and KeyRounds are the rounds that a file asks for in plain sight,
// or -1 if it asks for none; a fuzzer wants to keep out of the long ones.
func PFXRounds(data []byte) int {
	data, err := findPFX(data)
	if err != nil {
		return -1
	}
	p, err := parsePFX(data)
	if err != nil {
		return -1
	}
	var b budget
	_ = p.charge(&b)
	return b.used
}

func PEMRounds(data []byte) int {
	most := -1
	blocks, err := readPEM(data)
	if err != nil {
		return most
	}
	for _, k := range blocks.keys {
		most = max(most, KeyRounds(k.Bytes))
	}
	return most
}

func KeyRounds(der []byte) int {
	alg, _, err := splitEncryptedKey(der)
	if err != nil {
		return -1
	}
	s, err := readScheme(alg)
	if err != nil {
		return -1
	}
	return s.rounds
}
