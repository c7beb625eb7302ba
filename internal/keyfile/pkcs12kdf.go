package keyfile

import (
	"hash"
	"unicode/utf16"
)

// A password in the forms that a file may want it.
type password struct {
	utf8 []byte   // PBES2, PBMAC1
	bmp  [][]byte // PKCS#12's own derivation: the forms to try
}

// newPassword prepares text. RFC 7292, appendix B.1 wants a BMPString with a
// terminator; for characters outside the basic plane, which it cannot hold,
// OpenSSL and Windows use UTF-16 surrogates. The empty password is written by
// some tools as the terminator alone, by others as nothing at all.
func newPassword(text string) password {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = append(b, byte(u>>8), byte(u))
	}
	pw := password{utf8: []byte(text), bmp: [][]byte{append(b, 0, 0)}}
	if text == "" {
		pw.bmp = append(pw.bmp, nil)
	}
	return pw
}

// pkcs12KDF derives size bytes for the purpose id: 1 key, 2 IV, 3 MAC key
// (RFC 7292, appendix B.2).
func pkcs12KDF(newHash func() hash.Hash, id byte, password, salt []byte, rounds, size int) []byte {
	h := newHash()
	v := h.BlockSize()
	d := repeat([]byte{id}, v, v)
	i := append(repeat(salt, v, len(salt)), repeat(password, v, len(password))...)
	out := make([]byte, 0, size+h.Size())
	for {
		h.Reset()
		h.Write(d)
		h.Write(i)
		a := h.Sum(nil)
		for range rounds - 1 {
			h.Reset()
			h.Write(a)
			a = h.Sum(a[:0])
		}
		out = append(out, a...)
		if len(out) >= size {
			return out[:size]
		}
		b := repeat(a, v, v)
		for j := 0; j < len(i); j += v {
			addOne(i[j:j+v], b)
		}
	}
}

// repeat is pattern over and over, as many whole blocks of v as hold n bytes.
func repeat(pattern []byte, v, n int) []byte {
	if len(pattern) == 0 {
		return nil
	}
	out := make([]byte, (n+v-1)/v*v)
	for i := range out {
		out[i] = pattern[i%len(pattern)]
	}
	return out
}

// addOne sets x to x + y + 1, both big-endian and equally long, without the
// final carry.
func addOne(x, y []byte) {
	carry := 1
	for i := len(x) - 1; i >= 0; i-- {
		carry += int(x[i]) + int(y[i])
		x[i] = byte(carry)
		carry >>= 8
	}
}
