package keyfile_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/keyfile"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
)

// quick is what a refusal may take that runs no derivation worth the name. It
// takes milliseconds, but on a machine that does other things at the same time,
// under the race detector, more; what it must not take is the minutes and hours
// that the files of these tests ask for.
const quick = 15 * time.Second

func requireQuickFailure(t *testing.T, read reader, data []byte, password string, code ekm.Code, words string) {
	t.Helper()
	began := time.Now()
	_, err := read(data, password, "")
	require.Less(t, time.Since(began), quick)
	requireFailure(t, err, code, words, password)
	requireNoSecret(t, err.Error(), password)
}

// TestRounds: files that ask for more work than there is a reason for.
func TestRounds(t *testing.T) {
	// A real file patched: the first INTEGER 2048 becomes 32,767, which is
	// allowed, and wrong.
	patched := bytes.Replace(load(t, "openssl3.pfx"), []byte("\x02\x02\x08\x00"), []byte("\x02\x02\x7f\xff"), 1)
	requireQuickFailure(t, keyfile.PFX, patched, pw, 3809, "wrong password")

	// A number that is longer moves everything, so these are built.
	key, cert := pemBytes(t, "key.pem"), testCert(t, "leaf.pem").Raw
	const twelve = 12_000_000
	for name, data := range map[string][]byte{
		"content": func() []byte {
			alg, data := aes256(t, pw, twelve-1, seq(certBag(cert)))
			return buildPFX(nil, encryptedItem(alg, data), plainItem(seq(shroudedBag(t, pw, 1, key))))
		}(),
		"key": buildPFX(nil, plainItem(seq(certBag(cert), shroudedBag(t, pw, twelve, key)))),
		"mac": buildPFX(func(m []byte) []byte {
			sum := sha256.Sum256(m)
			return seq(seq(seq(oid(oidSHA256)), octets(sum[:])), octets([]byte("saltsalt")), number(twelve))
		}, plainItem(seq(certBag(cert), bag(1, key)))),
		"pbmac1":    buildPFX(pbmac1(t, pw, twelve, 32), plainItem(seq(certBag(cert), bag(1, key)))),
		"safe bag":  buildPFX(nil, plainItem(seq(certBag(cert), bag(6, seq(shroudedBag(t, pw, twelve, key)))))),
		"in pieces": buildPFX(nil, plainItem(seq(shroudedBag(t, pw, 6_000_000, key))), plainItem(seq(shroudedBag(t, pw, 6_000_000, key)))),
		"hidden": func() []byte { // comes to light when the content is decrypted
			alg, data := aes256(t, pw, 1, seq(certBag(cert), shroudedBag(t, pw, twelve-1, key)))
			return buildPFX(nil, encryptedItem(alg, data))
		}(),
		"hidden behind a MAC": func() []byte {
			alg, data := aes256(t, pw, 1, seq(certBag(cert), shroudedBag(t, pw, twelve-3, key)))
			return buildPFX(pbmac1(t, pw, 2, 32), encryptedItem(alg, data))
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			requireQuickFailure(t, keyfile.PFX, data, pw, 3809, "12,000,000 key-derivation rounds, limit is 2,000,000")
		})
	}
	for _, rounds := range []int64{0, -1, -1 << 62} {
		requireQuickFailure(t, keyfile.PFX, buildPFX(nil, plainItem(seq(shroudedBag(t, pw, rounds, key)))), pw, 3809, "rounds make no sense")
	}
	t.Run("most there is", func(t *testing.T) {
		requireQuickFailure(t, keyfile.PFX, buildPFX(nil, plainItem(seq(shroudedBag(t, pw, 1<<62, key), shroudedBag(t, pw, 1<<62, key)))),
			pw, 3809, "limit is 2,000,000")
	})
	t.Run("pem", func(t *testing.T) {
		alg, data := aes256(t, pw, twelve, key)
		text := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: seq(alg, octets(data))})
		requireQuickFailure(t, keyfile.PEM, text, pw, 3816, "12,000,000 key-derivation rounds")
	})
	t.Run("legacy", func(t *testing.T) {
		alg, data := aes256(t, pw, twelve, key)
		requireQuickFailure(t, keyfile.Legacy, seq(alg, octets(data)), pw, 3821, "12,000,000 key-derivation rounds")
	})
}

// TestLimitIsAboutASecond runs the longest derivation that is allowed.
func TestLimitIsAboutASecond(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the limit")
	}
	alg, data := aes256(t, pw, keyfile.MaxRounds, pemBytes(t, "key.pem")) // derived with fewer: comes out wrong
	began := time.Now()
	_, err := keyfile.Legacy(seq(alg, octets(data)), pw, "")
	requireFailure(t, err, 3821, "wrong password", pw)
	require.Less(t, time.Since(began), slow)
}

// TestHugeKeys: checking a modulus takes time that grows with its square, in
// crypto/rsa as in the PFX libraries, which do it unasked.
func TestHugeKeys(t *testing.T) {
	huge := func(bits uint) []byte {
		n := new(big.Int).Lsh(big.NewInt(1), bits)
		n.Sub(n, big.NewInt(1))
		p := new(big.Int).Rsh(n, bits/2)
		return seq(number(0), integer(n), number(65537), integer(n), integer(p), integer(p), integer(p), integer(p), integer(p))
	}
	wrap := func(pkcs1 []byte) []byte {
		return seq(number(0), seq(oid([]int{1, 2, 840, 113549, 1, 1, 1})), octets(pkcs1))
	}
	cert := certBag(testCert(t, "leaf.pem").Raw)
	for _, bits := range []uint{8193, 20_000, 1_000_000} {
		key := huge(bits)
		requireQuickFailure(t, keyfile.PFX, buildPFX(nil, plainItem(seq(cert, bag(1, wrap(key))))), "", 3813, "bits; it has to have 2048 to 8192")
		requireQuickFailure(t, keyfile.PFX, buildPFX(pbmac1(t, pw, 1, 32), plainItem(seq(cert, shroudedBag(t, pw, 1, wrap(key))))), pw, 3813, "bits; it has to have 2048 to 8192")
		requireQuickFailure(t, keyfile.PEM, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: key}), "", 3818, "bits; it has to have")
		requireQuickFailure(t, keyfile.Legacy, key, "", 3821, "bits; it has to have")
	}
	// The largest that is taken, and wrong.
	requireQuickFailure(t, keyfile.Legacy, huge(8192), "", 3821, "do not agree")
}

func integer(n *big.Int) []byte {
	var b cryptobyte.Builder
	b.AddASN1BigInt(n)
	return b.BytesOrPanic()
}

// TestWrongNumbers swaps, shifts and zeroes the numbers of a real key.
func TestWrongNumbers(t *testing.T) {
	blob := load(t, "key.msblob")
	const n, half, full = 20, 128, 256
	for name, change := range map[string]func(b []byte){
		"modulus":        func(b []byte) { b[n] ^= 2 },
		"modulus, even":  func(b []byte) { b[n] ^= 1 },
		"exponent":       func(b []byte) { b[16] ^= 2 },
		"exponent 0":     func(b []byte) { clear(b[16:20]) },
		"exponent 2^31":  func(b []byte) { copy(b[16:20], "\x01\x00\x00\x80") },
		"p":              func(b []byte) { b[n+full] ^= 2 },
		"p is 0":         func(b []byte) { clear(b[n+full : n+full+half]) },
		"p is 1":         func(b []byte) { clear(b[n+full : n+full+half]); b[n+full] = 1 },
		"q":              func(b []byte) { b[n+full+half] ^= 2 },
		"p and q are n":  func(b []byte) { copy(b[n+full:], b[n:n+full]) },
		"d mod p-1":      func(b []byte) { b[n+full+2*half] ^= 2 },
		"d mod q-1":      func(b []byte) { b[n+full+3*half] ^= 2 },
		"1/q mod p":      func(b []byte) { b[n+full+4*half] ^= 2 },
		"d":              func(b []byte) { b[n+full+5*half] ^= 2 },
		"d is 0":         func(b []byte) { clear(b[n+full+5*half:]) },
		"modulus, small": func(b []byte) { clear(b[n+half : n+full]) },
		"bit length":     func(b []byte) { b[13] = 0x10 },
		"bit length 0":   func(b []byte) { clear(b[12:16]) },
		"bit length max": func(b []byte) { copy(b[12:16], "\xff\xff\xff\xff") },
		"bit length odd": func(b []byte) { b[12] = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			bad := bytes.Clone(blob)
			change(bad)
			requireQuickFailure(t, keyfile.Legacy, bad, "", 3821, "")
			pvk := bytes.Clone(load(t, "none.pvk"))
			change(pvk[24:])
			requireQuickFailure(t, keyfile.Legacy, pvk, "", 3821, "")
		})
	}
	for name, data := range map[string][]byte{
		"one byte more": append(bytes.Clone(blob), 0),
		"one byte less": blob[:len(blob)-1],
		"header":        blob[:20],
		"half a header": blob[:12],
		"four bytes":    blob[:4],
		"pvk, more":     append(bytes.Clone(load(t, "strong.pvk")), 0),
		"pkcs1, more":   append(bytes.Clone(load(t, "pkcs1.der")), 0),
		"pkcs8, less":   load(t, "pkcs8.der")[:1000],
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keyfile.Legacy(data, pw, "")
			e := requireEither(t, err, 3820, 3821)
			requireNoSecret(t, e, pw)
		})
	}
}

func requireEither(t *testing.T, err error, a, b ekm.Code) string {
	t.Helper()
	require.Error(t, err)
	require.Contains(t, []ekm.Code{a, b}, ekm.CodeOf(err))
	return err.Error()
}

// TestPVKHeader lies about sizes and encryption.
func TestPVKHeader(t *testing.T) {
	for name, change := range map[string]func(b []byte){
		"salt of 4 GiB": func(b []byte) { copy(b[16:20], "\xff\xff\xff\xff") },
		"blob of 4 GiB": func(b []byte) { copy(b[20:24], "\xff\xff\xff\xff") },
		"salt left out": func(b []byte) { copy(b[16:24], "\x00\x00\x00\x00\xa4\x04\x00\x00") },
		"not encrypted": func(b []byte) { b[12] = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			bad := bytes.Clone(load(t, "strong.pvk"))
			change(bad)
			requireQuickFailure(t, keyfile.Legacy, bad, pw, 3821, "")
		})
	}
}

func TestTooLong(t *testing.T) {
	long := make([]byte, keyfile.MaxSize+1)
	requireQuickFailure(t, keyfile.PFX, long, pw, 3809, "1,048,577 bytes, limit is 1,048,576")
	requireQuickFailure(t, keyfile.PEM, long, pw, 3816, "1,048,577 bytes")
	requireQuickFailure(t, keyfile.Legacy, long, pw, 3820, "1,048,577 bytes")
	for name, data := range map[string][]byte{
		"zeros":     long[1:],
		"blanks":    bytes.Repeat([]byte(" "), keyfile.MaxSize),
		"begins":    bytes.Repeat([]byte("-----BEGIN A-----\n"), keyfile.MaxSize/18),
		"armour":    bytes.Repeat([]byte("-----BEGIN A-----\n-----END A-----\n"), keyfile.MaxSize/34),
		"base64":    bytes.Repeat([]byte("MIIB"), keyfile.MaxSize/4),
		"open":      bytes.Repeat([]byte("\x30\x80"), keyfile.MaxSize/2),
		"sequences": nested(keyfile.MaxSize),
		"utf-16":    append([]byte("\xff\xfe"), bytes.Repeat([]byte("-\x00"), keyfile.MaxSize/2-1)...),
		"pfx":       append([]byte("\x30\x80\x02\x01\x03"), bytes.Repeat([]byte("\x30\x80"), keyfile.MaxSize/2-3)...),
	} {
		t.Run(name, func(t *testing.T) {
			requireQuickFailure(t, keyfile.PFX, data, pw, 3809, "")
			requireQuickFailure(t, keyfile.PEM, data, pw, 3816, "")
			began := time.Now()
			_, err := keyfile.Legacy(data, pw, "")
			require.Less(t, time.Since(began), quick)
			requireEither(t, err, 3820, 3821)
		})
	}
}

// nested is sequences in sequences, size bytes in all.
func nested(size int) []byte {
	var out []byte
	for n := size - 5; n > 0; n -= 5 {
		out = append(out, 0x30, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return out
}

// TestManyBags fills a file with whatever is cheapest to write.
func TestManyBags(t *testing.T) {
	key, cert := pemBytes(t, "key.pem"), testCert(t, "leaf.pem").Raw
	t.Run("certificates", func(t *testing.T) {
		certs := bytes.Repeat(certBag(testCert(t, "issuer.pem").Raw), 2000)
		began := time.Now()
		id, err := keyfile.PFX(buildPFX(nil, plainItem(seq(certs, certBag(cert), bag(1, key)))), "", "")
		require.Less(t, time.Since(began), slow)
		require.NoError(t, err)
		requireConsistent(t, id)
		require.Len(t, id.Chain, 2)
	})
	t.Run("strangers", func(t *testing.T) {
		certs := bytes.Repeat(certBag(testCert(t, "stranger.pem").Raw), 1000)
		requireQuickFailure(t, keyfile.PFX, buildPFX(nil, plainItem(seq(certs, bag(1, key)))), "", 3810, "997 more")
	})
	t.Run("keys", func(t *testing.T) {
		alg, data := aes256(t, pw, 1, []byte("x"))
		keys := bytes.Repeat(bag(2, seq(alg, octets(data))), 8000)
		requireQuickFailure(t, keyfile.PFX, buildPFX(nil, plainItem(seq(keys))), pw, 3811, "8,000 private keys")
	})
	t.Run("items", func(t *testing.T) {
		alg, data := aes256(t, pw, 1, seq())
		items := bytes.Repeat(encryptedItem(alg, data), 7000)
		requireQuickFailure(t, keyfile.PFX, buildPFX(nil, items, plainItem(seq(certBag(cert)))), pw, 3811, "no private key")
	})
	t.Run("bags in bags", func(t *testing.T) {
		inner := seq(bag(1, key))
		for range 10 {
			inner = seq(bag(6, inner))
		}
		requireQuickFailure(t, keyfile.PFX, buildPFX(nil, plainItem(inner)), "", 3809, "damaged")
	})
}

// TestUnusualForms are files that do read, of producers that are not at hand.
func TestUnusualForms(t *testing.T) {
	key, leaf, ca := pemBytes(t, "key.pem"), certBag(testCert(t, "leaf.pem").Raw), certBag(testCert(t, "issuer.pem").Raw)
	hidden, hiddenData := aes256(t, pw, 5, seq(shroudedBag(t, pw, 5, key)))
	certs, certsData := aes256(t, pw, 5, seq(ca, leaf))
	noPassword := func(m []byte) []byte { // password absent, not empty: no terminator goes into the derivation
		mac := hmacSHA1(keyfile.PKCS12KDF(sha1.New, 3, nil, []byte("saltsalt"), 7, 20), m)
		return seq(seq(seq(oid([]int{1, 3, 14, 3, 2, 26})), octets(mac)), octets([]byte("saltsalt")), number(7))
	}
	for name, c := range map[string]struct {
		data     []byte
		password string
	}{
		"three items":             {buildPFX(nil, encryptedItem(certs, certsData), plainItem(seq()), plainItem(seq(shroudedBag(t, pw, 5, key)))), pw},
		"key in encrypted item":   {buildPFX(nil, encryptedItem(hidden, hiddenData), encryptedItem(certs, certsData)), pw},
		"bags in a bag":           {buildPFX(nil, plainItem(seq(bag(6, seq(ca, leaf, bag(1, key)))))), ""},
		"PBMAC1":                  {buildPFX(pbmac1(t, pw, 5, 32), encryptedItem(certs, certsData), plainItem(seq(shroudedBag(t, pw, 5, key)))), pw},
		"password absent":         {buildPFX(noPassword, plainItem(seq(ca, leaf, bag(1, key)))), ""},
		"MAC of one round":        {buildPFX(oneRound, plainItem(seq(ca, leaf, bag(1, key)))), pw},
		"CRL and secret bags":     {buildPFX(nil, plainItem(seq(bag(4, seq()), bag(5, seq(oid(oidData))), ca, leaf, bag(1, key)))), ""},
		"issuer that is damaged":  {buildPFX(nil, plainItem(seq(certBag([]byte("\x30\x00")), leaf, bag(1, key)))), ""},
		"BER":                     {toBER(t, load(t, "nomac.pfx"), true), pw},
		"BER, chain":              {toBER(t, buildPFX(nil, encryptedItem(certs, certsData), plainItem(seq(shroudedBag(t, pw, 5, key)))), true), pw},
		"BER outside of DER":      {toBER(t, load(t, "openssl3-chain.pfx"), false), pw},
		"BER, 3DES":               {toBER(t, load(t, "3des-sha1.pfx"), false), pw},
		"PFX in certutil's PEM":   {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: load(t, "openssl3.pfx")}), pw},
		"base64, lines and quote": {append(append([]byte("\""), bytes.ReplaceAll(load(t, "vault.b64"), []byte("AA"), []byte("A\r\nA"))...), "\"\r\n"...), ""},
		"base64, UTF-16":          {utf16le(load(t, "vault.b64")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := keyfile.PFX(c.data, c.password, "")
			require.NoError(t, err)
			requireConsistent(t, id)
			require.Equal(t, testCert(t, "leaf.pem").Raw, id.Leaf.Raw)
		})
	}
	pkcs8InRSA := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: key}) // wrong label
	id, err := keyfile.PEM(append(pkcs8InRSA, load(t, "leaf.pem")...), "", "")
	require.NoError(t, err)
	requireConsistent(t, id)
}

// TestUnusualFailures are files that must not read, and are not to be had.
func TestUnusualFailures(t *testing.T) {
	key, leaf := pemBytes(t, "key.pem"), certBag(testCert(t, "leaf.pem").Raw)
	domain := bag(5, seq(oid([]int{1, 3, 6, 1, 4, 1, 311, 17, 4}), element(tag0, octets([]byte("protected password")))))
	for name, c := range map[string]struct {
		data  []byte
		code  ekm.Code
		words string
	}{
		"protected to a domain account": {buildPFX(nil, plainItem(seq(domain)), plainItem(seq(shroudedBag(t, pw, 5, key)))), 3809, "-ProtectTo"},
		"encrypted to a certificate":    {buildPFX(nil, seq(oid(oidEnveloped), element(tag0, seq()))), 3809, "encrypted to a certificate"},
		"signed":                        {seq(number(3), seq(oid([]int{1, 2, 840, 113549, 1, 7, 2}), element(tag0, seq()))), 3809, "protected by a signature"},
		// RFC 9579, section 6, and CVE-2026-34181: a one-byte key passes one file in 256.
		"PBMAC1 with a short key": {buildPFX(pbmac1(t, pw, 5, 1), plainItem(seq(leaf, bag(1, key)))), 3809, "key of 1 bytes"},
		"PBMAC1 with a huge key":  {buildPFX(pbmac1(t, pw, 5, 1<<40), plainItem(seq(leaf, bag(1, key)))), 3809, "bytes; it has to be 20 to 64"},
		"MAC of nothing":          {buildPFX(func([]byte) []byte { return seq(seq(seq(oid(oidSHA256)), octets(nil)), octets(nil), number(1)) }, plainItem(seq(leaf, bag(1, key)))), 3809, "wrong password"},
		"bytes after the end":     {append(bytes.Clone(load(t, "openssl3.pfx")), 0), 3809, "1 bytes follow the end"},
		"cut":                     {load(t, "openssl3.pfx")[:2000], 3809, "2,000 bytes of 2,387: it is truncated"},
		"empty":                   {nil, 3809, "the file is empty"},
		"no bags at all":          {buildPFX(nil), 3811, "no private key"},
		"key that is none":        {buildPFX(nil, plainItem(seq(leaf, shroudedBag(t, pw, 1, seq())))), 3811, "damaged"},
		"certificate damaged":     {buildPFX(nil, plainItem(seq(certBag([]byte("\x30\x00")), shroudedBag(t, pw, 1, key)))), 3810, "cannot be read"},
		"CNG blob":                {append([]byte("RSA3"), make([]byte, 100)...), 3809, "BCRYPT_RSAKEY_BLOB"},
		"base64 of a certificate": {[]byte("MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"), 3809, "base64 text: "},
		"binary":                  {[]byte("\x01\x02\x03\x04"), 3809, "neither a PFX"},
	} {
		t.Run(name, func(t *testing.T) {
			requireQuickFailure(t, keyfile.PFX, c.data, pw, c.code, c.words)
		})
	}
	multi := x509.MarshalPKCS1PrivateKey(testKey(t))
	multi[bytes.Index(multi, []byte{2, 1, 0})+2] = 1
	requireQuickFailure(t, keyfile.Legacy, multi, "", 3821, "more than two primes")
	requireQuickFailure(t, keyfile.PEM, append(load(t, "pkcs8.pem"), "-----BEGIN CERTIFICATE-----\nMIIB"...), "", 3816, "of 5 PEM blocks, only 4")
}

func hmacSHA1(key, message []byte) []byte {
	h := hmac.New(sha1.New, key)
	h.Write(message)
	return h.Sum(nil)
}

// oneRound leaves the number of rounds out: it is 1 by default.
func oneRound(m []byte) []byte {
	var bmp []byte
	for _, r := range pw {
		bmp = append(bmp, 0, byte(r))
	}
	mac := hmacSHA1(keyfile.PKCS12KDF(sha1.New, 3, append(bmp, 0, 0), []byte("saltsalt"), 1, 20), m)
	return seq(seq(seq(oid([]int{1, 3, 14, 3, 2, 26})), octets(mac)), octets([]byte("saltsalt")))
}

func utf16le(text []byte) []byte {
	out := []byte("\xff\xfe")
	for _, b := range text {
		out = append(out, b, 0)
	}
	return out
}
