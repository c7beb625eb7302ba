package keyfile

import (
	"bytes"
	"crypto/rc4" //nolint:gosec // how PVK files are encrypted
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // how PVK files derive their key
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/akv-ekm/ekm"
)

// Legacy reads a private key that stands alone: a CAPI PRIVATEKEYBLOB (MSBLOB),
// a PVK file, or DER of PKCS#1 or PKCS#8, encrypted ones with their password.
// The certificate's thumbprint has to be given; see [ErrThumbprint].
func Legacy(data []byte, password, thumbprint string) (*Identity, error) {
	key, err := openLegacy(data, password)
	var k *keyKindError
	switch {
	case errors.As(err, &k):
		return nil, fail(ekm.ErrorLegacyPrivateKeyAuthParamsSignAlg, err)
	case err != nil:
		return nil, fail(ekm.ErrorLegacyPrivateKeyAuthParamsImportForSign, err)
	}
	t, err := parseThumbprint(thumbprint)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrThumbprint, err)
	case t == nil:
		return nil, fmt.Errorf("%w: the file is a key alone: give the thumbprint of the certificate registered for it", ErrThumbprint)
	}
	return bare(key, &key.PublicKey, t), nil
}

// A keyKindError says that a file is something other than an RSA private key,
// as against one that cannot be read.
type keyKindError struct{ text string }

func (e *keyKindError) Error() string { return e.text }

func notRSAKey(format string, args ...any) error {
	return &keyKindError{fmt.Sprintf(format, args...)}
}

func openLegacy(data []byte, password string) (*rsa.PrivateKey, error) {
	if len(data) > MaxSize {
		return nil, notRSAKey("%v", tooLong(data))
	}
	switch k := sniff(data); k {
	case pvkFile:
		return openPVK(data, password)
	case capiBlob:
		return importBlob(data)
	case privateKey, encryptedKey:
		key, err := openKey(data, password)
		if err != nil {
			return nil, err
		}
		der, err := key.rsa()
		if err != nil {
			return nil, notRSAKey("%v", err)
		}
		return importPKCS1(der)
	case otherDER:
		if n, ok := claimed(data); ok && n > len(data) {
			return nil, truncated(data)
		}
		return nil, notRSAKey("the file is DER, but no private key that is known")
	case publicKey:
		return nil, notRSAKey("the file holds only a public key: take the private key's file")
	default:
		return nil, notRSAKey("%s", k.what())
	}
}

// The blob of CryptExportKey (Win32 documentation, "RSA/Schannel Key BLOBs"):
//
//	BLOBHEADER  type u8, version u8 = 2, reserved u16 = 0, algorithm u32
//	RSAPUBKEY   magic "RSA2", bits u32, public exponent u32
//	            n, p, q, d mod p-1, d mod q-1, 1/q mod p, d
//
// All is little-endian; n and d take bits/8 bytes, the others half of that.
const (
	blobPublic  = 0x06
	blobPrivate = 0x07

	blobHeader = 8
	rsaHeader  = 20 // both headers

	calgSign = 0x2400 // CALG_RSA_SIGN
	calgKeyX = 0xa400 // CALG_RSA_KEYX
)

// isBlob says whether data begins as a public or private key blob does.
func isBlob(data []byte) bool {
	return len(data) >= 4 && (data[0] == blobPrivate || data[0] == blobPublic) && bytes.Equal(data[1:4], []byte{2, 0, 0})
}

// importBlob reads a PRIVATEKEYBLOB, which has to end where its sizes say.
func importBlob(data []byte) (*rsa.PrivateKey, error) {
	if len(data) < rsaHeader {
		return nil, fmt.Errorf("the key blob has %d bytes and ends inside its header: it is truncated", len(data))
	}
	if data[0] == blobPublic {
		return nil, notRSAKey("the file holds only a public key (PUBLICKEYBLOB): export the private key")
	}
	alg := binary.LittleEndian.Uint32(data[4:])
	switch magic := string(data[8:12]); {
	case magic == "RSA2" && (alg == calgSign || alg == calgKeyX):
	case magic == "DSS2":
		return nil, notRSAKey("the private key is not RSA but DSS")
	case magic == "RSA1", magic == "DSS1":
		return nil, notRSAKey("the file holds only a public key: export the private key")
	default:
		return nil, notRSAKey("the key blob has magic %q and algorithm %#x, which is no RSA private key; "+
			"one that was exported with a session key cannot be read", magic, alg)
	}
	bits := binary.LittleEndian.Uint32(data[12:])
	if bits < minBits || bits > maxBits || bits%16 != 0 {
		return nil, fmt.Errorf("the RSA key has %d bits; it has to have %d to %d", bits, minBits, maxBits)
	}
	full, half := int(bits/8), int(bits/16)
	want := rsaHeader + 2*full + 5*half
	if len(data) != want {
		return nil, fmt.Errorf("the key blob has %s bytes instead of %s: it is truncated or damaged", commas(len(data)), commas(want))
	}
	rest := data[rsaHeader:]
	next := func(n int) *big.Int {
		x := littleEndian(rest[:n])
		rest = rest[n:]
		return x
	}
	k := rsaNumbers{e: littleEndian(data[16:20])}
	k.n, k.p, k.q = next(full), next(half), next(half)
	k.dp, k.dq, k.qinv, k.d = next(half), next(half), next(half), next(full)
	return importRSA(k)
}

func littleEndian(b []byte) *big.Int {
	b = bytes.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

// A PVK file (as OpenSSL reads it, crypto/pem/pvkfmt.c): six u32, little-endian
//
//	magic 0xb0b5f11e, reserved, key type, encrypted, salt length, blob length
//
// then salt and blob, whose first eight bytes are never encrypted.
const (
	pvkMagic  = "\x1e\xf1\xb5\xb0"
	pvkHeader = 24
)

func openPVK(data []byte, password string) (*rsa.PrivateKey, error) {
	if len(data) < pvkHeader {
		return nil, fmt.Errorf("the PVK file has %d bytes and ends inside its header: it is truncated", len(data))
	}
	encrypted := binary.LittleEndian.Uint32(data[12:]) != 0
	saltLen, blobLen := binary.LittleEndian.Uint32(data[16:]), binary.LittleEndian.Uint32(data[20:])
	if want := uint64(pvkHeader) + uint64(saltLen) + uint64(blobLen); uint64(len(data)) != want {
		return nil, fmt.Errorf("the PVK file has %s bytes, and its header says %d: it is truncated or damaged", commas(len(data)), want)
	}
	salt, blob := data[pvkHeader:pvkHeader+saltLen], data[pvkHeader+saltLen:]
	if !encrypted {
		if saltLen != 0 {
			return nil, errors.New("the PVK file has a salt but is not marked as encrypted: it is damaged")
		}
		return importPVKBlob(blob)
	}
	if saltLen == 0 || blobLen < rsaHeader {
		return nil, errors.New("the PVK file is marked as encrypted but has no salt or no key: it is damaged")
	}
	plain := decryptPVK(blob, salt, password)
	if plain == nil {
		return nil, passwordError(password)
	}
	return importPVKBlob(plain)
}

func importPVKBlob(blob []byte) (*rsa.PrivateKey, error) {
	if !isBlob(blob) {
		return nil, notRSAKey("the PVK file does not hold a key blob")
	}
	return importBlob(blob)
}

// decryptPVK tries the two strengths: the file does not say which it is. The
// export-grade one keeps 5 of the 16 key bytes and zeroes the rest.
func decryptPVK(blob, salt []byte, password string) []byte {
	sum := sha1.Sum(append(bytes.Clone(salt), password...)) //nolint:gosec // see the import
	strong := sum[:16]
	weak := append(bytes.Clone(sum[:5]), make([]byte, 11)...)
	for _, key := range [][]byte{strong, weak} {
		c, err := rc4.NewCipher(key) //nolint:gosec // see the import
		if err != nil {
			return nil
		}
		plain := bytes.Clone(blob)
		c.XORKeyStream(plain[blobHeader:], plain[blobHeader:])
		if m := string(plain[8:12]); m == "RSA2" || m == "DSS2" {
			return plain
		}
	}
	return nil
}
