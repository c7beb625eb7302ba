package wire

import (
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// rewrites undo encodings that leave the rest of a text as it is. Each returns its
// argument where there is nothing to undo.
var rewrites = [...]func(string) string{
	squeezed, unpercented, func(s string) string { return unpercented(strings.ReplaceAll(s, "+", " ")) }, unescaped, html.UnescapeString,
}

// squeezed is s without blanks and what does not print.
func squeezed(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
}

// unpercented undoes percent-encoding where there is some; url.QueryUnescape would
// stop at a percent sign that is none.
func unpercented(s string) string {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for i < len(s) {
		if c, ok := number(s, i+1, 2, 16); s[i] == '%' && ok {
			b = append(b, byte(c))
			i += 3
			continue
		}
		b = append(b, s[i])
		i++
	}
	return string(b)
}

// unescaped undoes what a backslash begins in JSON, JavaScript, Go and C.
func unescaped(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			i++
			continue
		}
		b, i = unescape(b, s, i+1)
	}
	return string(b)
}

// unescape appends what the escape means whose letter is s[i], and returns where
// the text goes on.
func unescape(b []byte, s string, i int) ([]byte, int) {
	if j := strings.IndexByte("abfnrtv", s[i]); j >= 0 {
		return append(b, "\a\b\f\n\r\t\v"[j]), i + 1
	}
	if c, ok := number(s, i, 3, 8); ok {
		return append(b, byte(c)), i + 3
	}
	if c, ok := number(s, i+1, 2, 16); s[i] == 'x' && ok {
		return append(b, byte(c)), i + 3
	}
	if c, ok := number(s, i+1, 8, 16); s[i] == 'U' && ok {
		return utf8.AppendRune(b, rune(c)), i + 9
	}
	if braced := strings.HasPrefix(s[i:], "u{"); braced {
		if end := strings.IndexByte(s[i:], '}'); end > 2 && end <= 8 {
			if c, ok := number(s, i+2, end-2, 16); ok {
				return utf8.AppendRune(b, rune(c)), i + end + 1
			}
		}
	}
	if c, ok := number(s, i+1, 4, 16); s[i] == 'u' && ok {
		if 0xd800 <= c && c < 0xdc00 && strings.HasPrefix(s[i+5:], `\u`) {
			if low, ok := number(s, i+7, 4, 16); ok && 0xdc00 <= low && low < 0xe000 {
				return utf8.AppendRune(b, rune((c-0xd800)<<10+(low-0xdc00)+0x10000)), i + 11
			}
		}
		return utf8.AppendRune(b, rune(c)), i + 5
	}
	return append(b, s[i]), i + 1
}

// number reads the n digits of s that begin at i.
func number(s string, i, n, base int) (uint64, bool) {
	if i+n > len(s) {
		return 0, false
	}
	for _, c := range []byte(s[i : i+n]) {
		if digit(c) >= base {
			return 0, false
		}
	}
	c, err := strconv.ParseUint(s[i:i+n], base, 32)
	return c, err == nil
}

// digit is the value of a hexadecimal digit, or 16.
func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return 16
}

// narrowed has the bytes of which s has the characters of the same number, as
// programs make text of bytes that are none; nil if there is no such character.
func narrowed(s string) []byte {
	if !utf8.ValidString(s) || strings.IndexFunc(s, func(r rune) bool { return 0x80 <= r && r <= 0xff }) < 0 {
		return nil
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r <= 0xff {
			b = append(b, byte(r))
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// unpacked decodes the runs of base64 and of hexadecimal digits in s, as if they
// began at each of the offsets that tell. Runs too short for least bytes are
// passed over.
func unpacked(s string, least int) [][]byte {
	return append(unpack(s, least, sextet, 6, 4), unpack(s, least, digit, 4, 2)...)
}

// unpack decodes the runs of characters that stand for so many bits each, value's
// results below 1<<bits, once for each of the offsets.
func unpack(s string, least int, value func(byte) int, bits, offsets int) [][]byte {
	all := make([][]byte, offsets)
	var run []byte
	for i := 0; i <= len(s); i++ {
		if i < len(s) {
			if v := value(s[i]); v < 1<<bits {
				run = append(run, byte(v))
				continue
			}
		}
		for offset := range all {
			if (len(run)-offset)*bits >= 8*least {
				all[offset] = append(join(all[offset], run[offset:], bits), 0) // where one run ends
			}
		}
		run = run[:0]
	}
	return all
}

// join appends the bytes that the values of so many bits each make up.
func join(b, values []byte, bits int) []byte {
	var held uint32
	n := 0
	for _, v := range values {
		held, n = held<<bits|uint32(v), n+bits
		if n >= 8 {
			n -= 8
			b = append(b, byte(held>>n))
		}
	}
	return b
}

// sextet is the value of a character of base64, in either alphabet, or 64.
func sextet(c byte) int {
	switch {
	case 'A' <= c && c <= 'Z':
		return int(c - 'A')
	case 'a' <= c && c <= 'z':
		return int(c-'a') + 26
	case '0' <= c && c <= '9':
		return int(c-'0') + 52
	case c == '+' || c == '-':
		return 62
	case c == '/' || c == '_':
		return 63
	}
	return 64
}

// textIn has the stretches of b that are UTF-8, of least bytes or more.
func textIn(b []byte, least int) string {
	var text strings.Builder
	for len(b) > 0 {
		n := 0
		for n < len(b) {
			r, size := utf8.DecodeRune(b[n:])
			if r == utf8.RuneError && size <= 1 {
				break
			}
			n += size
		}
		if n >= least {
			text.Write(b[:n])
			text.WriteByte('\n')
		}
		b = b[min(n+1, len(b)):]
	}
	return text.String()
}
