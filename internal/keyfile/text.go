package keyfile

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// decodeText is data as UTF-8 text without byte order mark and trailing NULs,
// and whether it is text at all. UTF-16 with its mark is what PowerShell's ">"
// writes.
func decodeText(data []byte) ([]byte, bool) {
	data = bytes.TrimRight(data, "\x00\x1a") // padding, and DOS' end of file
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		data = data[3:]
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		data = decodeUTF16(data[2:], 0)
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		data = decodeUTF16(data[2:], 1)
	}
	return data, utf8.Valid(data) && !bytes.ContainsFunc(data, isBinary)
}

// decodeUTF16 reads units whose low byte is at index low. TrimRight may have
// taken the zero byte of a last little-endian unit.
func decodeUTF16(data []byte, low int) []byte {
	if len(data)%2 == 1 {
		data = append(bytes.Clone(data), 0)
	}
	units := make([]uint16, 0, len(data)/2)
	for ; len(data) >= 2; data = data[2:] {
		units = append(units, uint16(data[1-low])<<8|uint16(data[low]))
	}
	return bytes.TrimRight([]byte(string(utf16.Decode(units))), "\x00\x1a")
}

func isBinary(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) && r != 0x1a }

var armour = regexp.MustCompile(`-----(BEGIN|END) [A-Z0-9 ]+-----`)

// unfold mends text whose line breaks a variable, a form field or a JSON string
// has turned into "\n" in letters or into blanks.
func unfold(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte(`\r`), nil)
	text = bytes.ReplaceAll(text, []byte(`\n`), []byte("\n"))
	return armour.ReplaceAll(text, []byte("\n$0\n"))
}

// decodeBase64 is the content of text that is nothing but base64, as a vault
// hands out a certificate with its key.
func decodeBase64(text []byte) ([]byte, bool) {
	s := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '"' || r == 0x1a { // quotes: printed as JSON
			return -1
		}
		return r
	}, string(text))
	out, err := base64.StdEncoding.DecodeString(s)
	return out, err == nil && len(out) > 0
}
