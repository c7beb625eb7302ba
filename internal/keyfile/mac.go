package keyfile

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what the files use
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A mac is the check value over a PFX's content, by which a wrong password
// shows: read, not yet computed.
type mac struct {
	digest []byte
	rounds int
	hash   func() hash.Hash
	salt   []byte // of PKCS#12's own derivation
	pbmac1 *kdf2  // nil: PKCS#12's own derivation
}

// readMAC reads MacData (RFC 7292, section 4):
// SEQUENCE { mac SEQUENCE { algorithm, digest }, macSalt, iterations DEFAULT 1 }.
func readMAC(data cryptobyte.String) (*mac, error) {
	var seq, info, alg, digest, salt cryptobyte.String
	rounds := 1
	if !data.ReadASN1(&seq, cbasn1.SEQUENCE) || !data.Empty() ||
		!seq.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1(&alg, cbasn1.SEQUENCE) ||
		!info.ReadASN1(&digest, cbasn1.OCTET_STRING) || !seq.ReadASN1(&salt, cbasn1.OCTET_STRING) ||
		!seq.Empty() && !seq.ReadASN1Integer(&rounds) || len(salt) > maxSalt {
		return nil, errors.New("the check value (MAC) cannot be read: the file is damaged")
	}
	oid, params, err := splitAlgorithm(alg)
	if err != nil {
		return nil, err
	}
	m := &mac{digest: digest, rounds: rounds, salt: salt}
	if oid == "1.2.840.113549.1.5.14" {
		return m, m.readPBMAC1(params)
	}
	if m.hash = digestHash(oid); m.hash == nil {
		return nil, unsupported("check value (MAC)", oid)
	}
	return m, nil
}

// readPBMAC1 reads PBMAC1-params (RFC 8018, appendix A.5), in which salt and
// rounds of MacData do not count (RFC 9579).
func (m *mac) readPBMAC1(params cryptobyte.String) error {
	var seq, kdfAlg, macAlg cryptobyte.String
	if !params.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&kdfAlg, cbasn1.SEQUENCE) ||
		!seq.ReadASN1(&macAlg, cbasn1.SEQUENCE) {
		return errors.New("the check value (PBMAC1) cannot be read: the file is damaged")
	}
	kdf, err := readPBKDF2(kdfAlg)
	if err != nil {
		return err
	}
	// RFC 9579, section 6: a derived key of a few bytes makes a check that any
	// file passes. More than the longest hash makes no sense.
	if kdf.keyLen < 20 || kdf.keyLen > sha512.Size {
		return fmt.Errorf("the check value (PBMAC1) derives a key of %s bytes; it has to be 20 to 64", commas(kdf.keyLen))
	}
	oid, _, err := splitAlgorithm(macAlg)
	if err != nil {
		return err
	}
	if m.hash = hmacHash(oid); m.hash == nil {
		return unsupported("check value (PBMAC1)", oid)
	}
	m.pbmac1, m.rounds = &kdf, kdf.rounds
	return nil
}

// check is the password with the one form of it that makes the digest come out.
func (m *mac) check(message []byte, pw password) (password, error) {
	if m.pbmac1 != nil {
		key, err := m.pbmac1.derive(pw.utf8, m.pbmac1.keyLen)
		if err != nil {
			return password{}, err
		}
		if !m.right(message, key) {
			return password{}, errPassword
		}
		return pw, nil
	}
	size := m.hash().Size()
	for _, p := range pw.bmp {
		if m.right(message, pkcs12KDF(m.hash, 3, p, m.salt, m.rounds, size)) {
			return password{utf8: pw.utf8, bmp: [][]byte{p}}, nil
		}
	}
	return password{}, errPassword
}

func (m *mac) right(message, key []byte) bool {
	h := hmac.New(m.hash, key)
	h.Write(message)
	return hmac.Equal(h.Sum(nil), m.digest)
}

func digestHash(oid string) func() hash.Hash {
	const sha2 = "2.16.840.1.101.3.4.2."
	switch oid {
	case "1.3.14.3.2.26":
		return sha1.New
	case sha2 + "1":
		return sha256.New
	case sha2 + "2":
		return sha512.New384
	case sha2 + "3":
		return sha512.New
	case sha2 + "4":
		return sha256.New224
	}
	return nil
}
