package keyfile_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/asn1"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A PFX writer for the files that no tool writes: hostile ones, and forms of
// which no producer is at hand. It shares no code with the reader.

var (
	oidData      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEnveloped = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}
	oidEncrypted = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidPBES2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidPBMAC1    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}
	oidHMAC256   = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES256    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
	oidX509      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
	oidSHA256    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	tag0         = cbasn1.Tag(0).ContextSpecific().Constructed()
)

func oidBag(n int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, n}
}

// seq is a SEQUENCE of parts, which are whole elements.
func seq(parts ...[]byte) []byte { return element(cbasn1.SEQUENCE, parts...) }

func element(tag cbasn1.Tag, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) {
		for _, p := range parts {
			b.AddBytes(p)
		}
	})
	return b.BytesOrPanic()
}

func oid(o asn1.ObjectIdentifier) []byte {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(o)
	return b.BytesOrPanic()
}

func number(n int64) []byte {
	var b cryptobyte.Builder
	b.AddASN1Int64(n)
	return b.BytesOrPanic()
}

func octets(data []byte) []byte { return element(cbasn1.OCTET_STRING, data) }

// buildPFX puts content items together; mac may be nil.
func buildPFX(mac func(message []byte) []byte, items ...[]byte) []byte {
	safe := seq(items...)
	parts := [][]byte{number(3), plainItem(safe)}
	if mac != nil {
		parts = append(parts, mac(safe))
	}
	return seq(parts...)
}

func plainItem(content []byte) []byte { return seq(oid(oidData), element(tag0, octets(content))) }

func encryptedItem(alg, data []byte) []byte {
	return seq(oid(oidEncrypted), element(tag0, seq(number(0), seq(oid(oidData), alg, element(cbasn1.Tag(0).ContextSpecific(), data)))))
}

func bag(kind int, value []byte) []byte { return seq(oid(oidBag(kind)), element(tag0, value)) }

func certBag(der []byte) []byte { return bag(3, seq(oid(oidX509), element(tag0, octets(der)))) }

// aes256 is PBES2 with so many rounds; the ciphertext is right only if rounds is
// small enough to be run here.
func aes256(t testing.TB, password string, rounds int64, plain []byte) (alg, data []byte) {
	t.Helper()
	salt, iv := []byte("salt-of-8"), make([]byte, 16)
	alg = seq(oid(oidPBES2), seq(
		seq(oid(oidPBKDF2), seq(octets(salt), number(rounds), seq(oid(oidHMAC256)))),
		seq(oid(oidAES256), octets(iv))))
	run := int(min(rounds, 10))
	key, err := pbkdf2.Key(sha256.New, password, salt, max(run, 1), 32)
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	pad := 16 - len(plain)%16
	data = append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)
	return alg, data
}

func shroudedBag(t testing.TB, password string, rounds int64, pkcs8 []byte) []byte {
	t.Helper()
	alg, data := aes256(t, password, rounds, pkcs8)
	return bag(2, seq(alg, octets(data)))
}

// pbmac1 is MacData of RFC 9579 with a derived key of keyLen bytes.
func pbmac1(t testing.TB, password string, rounds, keyLen int64) func([]byte) []byte {
	t.Helper()
	return func(message []byte) []byte {
		salt := []byte("salt-of-8")
		key, err := pbkdf2.Key(sha256.New, password, salt, int(min(rounds, 10)), int(min(keyLen, 64)))
		require.NoError(t, err)
		h := hmac.New(sha256.New, key)
		h.Write(message)
		alg := seq(oid(oidPBMAC1), seq(
			seq(oid(oidPBKDF2), seq(octets(salt), number(rounds), number(keyLen), seq(oid(oidHMAC256)))),
			seq(oid(oidHMAC256))))
		return seq(seq(alg, octets(h.Sum(nil))), octets([]byte("unused")), number(1))
	}
}

// toBER writes DER as BER with open lengths, octet strings in pieces of 200
// bytes, and the same again inside the octet strings that hold content.
func toBER(t testing.TB, der []byte, inner bool) []byte {
	t.Helper()
	in := cryptobyte.String(der)
	var out []byte
	for !in.Empty() {
		var body cryptobyte.String
		var tag cbasn1.Tag
		require.True(t, in.ReadAnyASN1(&body, &tag))
		switch {
		case tag&0x20 != 0:
			out = append(out, open(byte(tag), toBER(t, body, inner))...)
		case tag == cbasn1.OCTET_STRING && isContent(body):
			content := []byte(body)
			if inner {
				content = toBER(t, content, inner)
			}
			out = append(out, open(0x24, pieces(content))...)
		case tag == 0x80:
			out = append(out, open(0xa0, pieces(body))...)
		default:
			out = append(out, element(tag, body)...)
		}
	}
	return out
}

func open(id byte, body []byte) []byte { return append(append([]byte{id, 0x80}, body...), 0, 0) }

func pieces(data []byte) (out []byte) {
	for len(data) > 0 {
		n := min(200, len(data))
		out = append(out, octets(data[:n])...)
		data = data[n:]
	}
	return out
}

// isContent says whether an octet string holds a SEQUENCE OF SEQUENCE { OID, ...:
// an authenticated safe, or bags. A certificate begins otherwise.
func isContent(data cryptobyte.String) bool {
	var outer, first cryptobyte.String
	return data.ReadASN1(&outer, cbasn1.SEQUENCE) && data.Empty() &&
		outer.ReadASN1(&first, cbasn1.SEQUENCE) && first.PeekASN1Tag(cbasn1.OBJECT_IDENTIFIER)
}
