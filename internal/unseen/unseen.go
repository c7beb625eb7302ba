// Package unseen finds invisible characters in pasted text: a byte order mark, a
// zero-width space, a line break, a NUL. The service refuses such text with an error in
// which the text looks right.
package unseen

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Around says what is wrong with a text that may contain spaces, such as a secret. It
// returns "" if nothing is wrong. The answer continues a sentence that begins with the
// text's name: "has blanks or a line break around it". It contains no part of s.
func Around(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "is not text in UTF-8: was the file that it comes from saved in another encoding?"
	case strings.ContainsRune(s, utf8.RuneError):
		return "has U+FFFD in it, which stands for what was not UTF-8: was the file that it comes from saved in another encoding?"
	case strings.ContainsFunc(s, invisible):
		return "has an invisible character in it, as copying from a web page or a document leaves it: type it anew"
	case strings.TrimSpace(s) != s:
		return "has blanks or a line break around it: take them away"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "has a control character in it, such as NUL, a tab or a line break: take it away"
	case strings.ContainsFunc(s, oddBlank):
		return "has a no-break space in it, or another blank that is not the usual one, as copying from a web page or a document leaves it: type it anew"
	}
	return ""
}

// Anywhere is like [Around] for a text that may not contain spaces, such as a name.
func Anywhere(s string) string {
	if why := Around(s); why != "" {
		return why
	}
	if strings.ContainsFunc(s, unicode.IsSpace) {
		return "has a blank in it: take it away"
	}
	return ""
}

// Without returns s without the characters that [Anywhere] finds.
func Without(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || invisible(r) || unicode.IsSpace(r) || unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}

func oddBlank(r rune) bool { return r != ' ' && unicode.IsSpace(r) }

// invisible reports whether r has no width, or is an empty glyph that is not a space: the
// characters of the Unicode property Default_Ignorable_Code_Point, the other format
// characters, and the empty Braille pattern.
func invisible(r rune) bool {
	return r == '\u2800' || unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
