package unseen_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv-ekm/ekm/internal/unseen"
)

func TestUnseen(t *testing.T) {
	const (
		encoding, invisible, around = "UTF-8", "invisible character", "blanks or a line break around it"
		control, inside, odd        = "control character", "a blank in it", "no-break space"
	)
	for _, c := range []struct{ why, text, around, anywhere string }{
		{"nothing", "", "", ""},
		{"all of ASCII that is seen", "!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~", "", ""},
		{"letters of other languages", "ключ-Schlüssel-鍵", "", ""},
		{"a blank inside, which a secret may have", "a b", "", inside},
		{"a no-break space inside, which looks like a blank", "a\u00a0b", odd, odd},
		{"a narrow no-break space inside", "a\u202fb", odd, odd},
		{"an em space inside", "a\u2003b", odd, odd},

		{"a blank before", " a", around, around},
		{"a line break behind", "a\n", around, around},
		{"Windows' line break", "a\r\n", around, around},
		{"a no-break space", "a\u00a0", around, around},
		{"an ideographic space", "\u3000a", around, around},
		{"blanks alone", "  ", around, around},

		{"a byte order mark", "\ufeffa", invisible, invisible},
		{"a zero-width space, which is no blank to Unicode", "a\u200b", invisible, invisible},
		{"a zero-width joiner inside", "a\u200db", invisible, invisible},
		{"a word joiner", "a\u2060", invisible, invisible},
		{"a soft hyphen", "a\u00adb", invisible, invisible},
		{"a mark of direction, as Windows' certificate dialog has it", "\u200ea", invisible, invisible},
		{"a variation selector", "a\ufe0f", invisible, invisible},
		{"a combining grapheme joiner, no format character", "a\u034f", invisible, invisible},
		{"a Hangul filler, a letter to Unicode", "a\u3164", invisible, invisible},
		{"an empty Braille pattern, a symbol to Unicode", "a\u2800", invisible, invisible},
		{"a tag character", "a\U000e0041", invisible, invisible},

		{"NUL behind, as C's buffers have it", "a\x00", control, control},
		{"a tab inside", "a\tb", control, control},
		{"a line break inside", "a\nb", control, control},
		{"a control character of Latin-1", "a\u0081b", control, control},
		{"DEL", "a\x7f", control, control},

		{"UTF-16 with its byte order mark", "\xff\xfea\x00", encoding, encoding},
		{"Latin-1", "Schl\xfcssel", encoding, encoding},
		{"what a decoder has put for a byte of Latin-1", "Schl\ufffdssel", "U+FFFD", "U+FFFD"},
	} {
		t.Run(c.why, func(t *testing.T) {
			for _, x := range []struct{ got, want string }{{unseen.Around(c.text), c.around}, {unseen.Anywhere(c.text), c.anywhere}} {
				if x.want == "" {
					assert.Empty(t, x.got)
				} else {
					assert.Contains(t, x.got, x.want)
				}
			}
		})
	}
}

func TestWithout(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "a-Z0~": "a-Z0~", "ключ": "ключ",
		" a\u00a0\u2003b\r\n\x00\u200b\ufeff\u2800\u3164\ufffd\xff": "ab",
	} {
		assert.Equal(t, want, unseen.Without(s), "%+q", s)
		assert.Empty(t, unseen.Anywhere(unseen.Without(s)), "%+q", s)
	}
}
