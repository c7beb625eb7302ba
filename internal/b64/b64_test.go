package b64_test

import (
	"bytes"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv-ekm/ekm/internal/b64"
)

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string
		ok   bool
		why  string
	}{
		{"YXJlcGE", "arepa", true, "a recorded unwrap"},
		{"YXJlcGE=", "arepa", true, "padded"},
		{"-_-_", "\xfb\xff\xbf", true, "URL alphabet"},
		{"+/+/", "\xfb\xff\xbf", true, "standard alphabet, as in a published REST example"},
		{"", "", true, ""},
		{"YXJl\ncGE", "", false, "encoding/base64 would pass over the line break"},
		{"YXJl cGE", "", false, ""},
		{"Y", "", false, "no such length"},
		{"YX=J", "", false, "padding inside"},
		{"=", "", false, "padding of nothing is not an encoding of nothing"},
		{"==", "", false, ""},
		{"====", "", false, ""},
		{"Y===", "", false, "no such length"},
		{"YQ=", "", false, "padding that does not complete the group"},
		{"YQ===", "", false, "too much padding"},
		{"YXJl=", "", false, "padding behind a complete group"},
		{"YQ", "a", true, ""},
		{"YR", "", false, "bits behind the last byte: an encoder writes YQ"},
		{"YR==", "", false, "the same, padded"},
		{"YWJ", "", false, "the same behind two bytes: an encoder writes YWI"},
	} {
		got, err := b64.Decode(c.in)
		assert.Equal(t, c.ok, err == nil, "%q: %s", c.in, c.why)
		if c.ok {
			assert.Equal(t, c.want, string(got), "%q: %s", c.in, c.why)
		}
	}
}

// FuzzDecode: what any of the four encodings writes is read back.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("arepa"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			if got, err := b64.Decode(e.EncodeToString(b)); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%x: %x, %v", b, got, err)
			}
		}
	})
}
