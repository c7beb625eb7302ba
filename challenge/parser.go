package challenge

import (
	"iter"
	"net/http"
	"slices"
	"strings"
)

// A scheme is one challenge of a WWW-Authenticate field: RFC 9110, 11.3.
type scheme struct {
	name   string
	params []param
}

// A param is an auth-param: RFC 9110, 11.2.
type param struct {
	name  string
	value value
}

// A value is a parameter's value as it stands in the field, before unescaping.
type value struct {
	raw     string
	present bool
	escaped bool // raw holds quoted-pairs
	open    bool // a quoted-string whose closing quote is missing
}

// swallowed reports that the closing quote is missing and the next parameter's
// opening quote was taken for it: authorization="https://x/t, resource="...
func (v value) swallowed() bool {
	return strings.HasSuffix(v.raw, "=") && strings.ContainsAny(v.raw, ", ")
}

// text is the value with quoted-pairs resolved.
func (v value) text() string {
	if !v.escaped {
		return v.raw
	}
	var b strings.Builder
	b.Grow(len(v.raw))
	for i := 0; i < len(v.raw); i++ {
		if v.raw[i] == '\\' && i+1 < len(v.raw) {
			i++
		}
		b.WriteByte(v.raw[i])
	}
	return b.String()
}

// get is the value of the first of the names that is there and not empty,
// without case; of a name that is there twice, the first.
func (s scheme) get(names ...string) value {
	var empty value
	for _, name := range names {
		i := slices.IndexFunc(s.params, func(p param) bool { return strings.EqualFold(p.name, name) })
		if i < 0 {
			continue
		}
		if v := s.params[i].value; v.raw != "" || v.open {
			return v
		}
		empty.present = true
	}
	return empty
}

// fields yields the challenges of all WWW-Authenticate fields in order. Header
// maps made by hand may hold the name in any case.
func fields(h http.Header) iter.Seq[scheme] {
	return func(yield func(scheme) bool) {
		for name, values := range h {
			if !strings.EqualFold(name, "WWW-Authenticate") {
				continue
			}
			for _, v := range values {
				for _, s := range parseField(v) {
					if !yield(s) {
						return
					}
				}
			}
		}
	}
}

// parseField splits one field value into challenges. It never fails: what makes
// no sense is passed over, so that one broken scheme does not hide the next.
//
// Beyond the grammar it takes parameters without a comma between them, and
// unquoted values up to a blank or comma; both are in use. The grammar's own
// ambiguity, a word after a comma, is decided as RFC 9110 means it: with "=" it
// is a parameter, without it starts a challenge.
func parseField(s string) []scheme {
	var all []scheme
	fresh := false // the last thing read was a scheme's name, with no comma since
	for p := (scanner{s: s}); ; {
		if p.separators() {
			fresh = false
		}
		if p.done() {
			return all
		}
		word := p.word()
		switch {
		case word == "":
			p.skipNoise()
			fresh = false
		case fresh && p.token68Tail():
			fresh = false // "Negotiate oRQwEqADCgEB==": credentials-like data, of no use here
		case p.equals():
			if n := len(all); n > 0 {
				all[n-1].params = append(all[n-1].params, param{word, p.value()})
			} else {
				p.value() // a parameter before any scheme belongs to nobody
			}
			fresh = false
		default:
			all = append(all, scheme{name: word})
			fresh = true
		}
	}
}

// A scanner walks through a field value.
type scanner struct {
	s string
	i int
}

func (p *scanner) done() bool { return p.i >= len(p.s) }

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func (p *scanner) blanks() {
	for !p.done() && isBlank(p.s[p.i]) {
		p.i++
	}
}

// separators skips blanks and commas, and reports whether a comma was there.
func (p *scanner) separators() (comma bool) {
	for !p.done() && (isBlank(p.s[p.i]) || p.s[p.i] == ',') {
		comma = comma || p.s[p.i] == ','
		p.i++
	}
	return comma
}

// word reads up to a blank, comma, "=" or quote.
func (p *scanner) word() string {
	start := p.i
	for !p.done() && !isBlank(p.s[p.i]) && !strings.ContainsRune(`,="`, rune(p.s[p.i])) {
		p.i++
	}
	return p.s[start:p.i]
}

// skipNoise steps over a "=" or a quoted-string where none belongs.
func (p *scanner) skipNoise() {
	if p.s[p.i] == '"' {
		p.quoted()
		return
	}
	p.i++
}

// token68Tail reports whether the word just read was a token68, the lone datum
// of a scheme like Negotiate, and steps over its padding. The word is one if
// nothing but padding stands between it and a comma or the end.
func (p *scanner) token68Tail() bool {
	rest := strings.TrimLeft(p.s[p.i:], "=")
	rest = strings.TrimLeft(rest, " \t")
	if rest != "" && rest[0] != ',' {
		return false
	}
	p.i = len(p.s) - len(rest)
	return true
}

// equals steps over BWS "=" BWS if that is what comes next.
func (p *scanner) equals() bool {
	start := p.i
	p.blanks()
	if p.done() || p.s[p.i] != '=' {
		p.i = start
		return false
	}
	p.i++
	p.blanks()
	return true
}

// value reads a quoted-string, or anything up to a blank or comma.
func (p *scanner) value() value {
	if !p.done() && p.s[p.i] == '"' {
		return p.quoted()
	}
	start := p.i
	for !p.done() && !isBlank(p.s[p.i]) && p.s[p.i] != ',' {
		p.i++
	}
	return value{raw: p.s[start:p.i], present: true}
}

// quoted reads a quoted-string: RFC 9110, 5.6.4.
func (p *scanner) quoted() value {
	p.i++
	v := value{present: true}
	for start := p.i; ; p.i++ {
		if p.done() {
			v.raw, v.open = p.s[start:], true
			return v
		}
		switch p.s[p.i] {
		case '\\':
			v.escaped = true
			if p.i++; p.done() {
				p.i--
			}
		case '"':
			v.raw = p.s[start:p.i]
			p.i++
			return v
		}
	}
}
