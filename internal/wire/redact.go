package wire

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/akv-ekm/ekm/internal/b64"
	"github.com/akv-ekm/ekm/internal/hidden"
)

// Clean makes text that a server wrote fit for an error or a log: at most max
// bytes, one line, and without anything that the request had to keep secret, or a
// part of it. A hostile server could otherwise have its caller log the caller's
// own token, and a careless one quotes half of what it was sent.
func (r *Request) Clean(s string, max int) string {
	const most = 16 << 10 // of what is looked at; what is beyond is cut anyway
	if len(s) > most+max {
		s = s[:most+max]
	}
	secrets := r.secrets()
	// Once before the cuts and once behind them: a secret with a blank in it was
	// perhaps sent with a line break there.
	s = secrets.hide(s)
	if plain, err := url.QueryUnescape(s); err == nil && secrets.within(plain) {
		s = redaction // escaped in some way of its own
	}
	s = redactJWT(s)
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError
	}), " ")
	s = secrets.hide(s)
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max-min(max, 3)], "") + "..."[:min(max, 3)]
	}
	for _, secret := range secrets.whole {
		if strings.Contains(s, secret) && !strings.Contains(redaction, secret) {
			return redaction[:min(max, len(redaction))] // the cuts have made one
		}
	}
	return s
}

const redaction = "[redacted]"

// secrets are what must not come back, in all the forms that it could have, the
// longest first.
type secrets struct {
	whole []string // as it was sent
	forms []string // as a URL, a quoted string, base64 or digits would hold it
	parts []string // those of forms of which no part may come back either
}

// secrets lists what r must keep secret. What is shorter than four bytes is left
// out: it would be found everywhere. Parts of the body are no secret as such, as
// it holds the names of algorithms and the like.
func (r *Request) secrets() *secrets {
	var s secrets
	s.add(string(r.Body), false)
	s.add(string(r.Secret), true)
	if key, err := b64.Decode(string(r.Secret)); err == nil {
		s.add(string(key), true)
	}
	for _, one := range r.Secrets {
		s.add(one, true)
	}
	if _, credentials, ok := strings.Cut(r.Authorization, " "); ok {
		s.add(strings.TrimSpace(credentials), true)
	} else {
		s.add(r.Authorization, true)
	}
	longest := func(a, b string) int { return len(b) - len(a) } // one may be a part of another
	slices.SortFunc(s.whole, longest)
	slices.SortFunc(s.forms, longest)
	return &s
}

func (s *secrets) add(text string, parts bool) {
	if len(text) < 4 {
		return
	}
	s.whole = append(s.whole, text)
	quoted, digits := strconv.Quote(text), hex.EncodeToString([]byte(text))
	for _, form := range []string{
		text, url.QueryEscape(text), url.PathEscape(text), quoted[1 : len(quoted)-1], digits, strings.ToUpper(digits),
		base64.RawStdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)),
	} {
		if slices.Contains(s.forms, form) {
			continue
		}
		s.forms = append(s.forms, form)
		if parts {
			s.parts = append(s.parts, form)
		}
	}
}

// hide takes the secrets out of text, and parts of them.
func (s *secrets) hide(text string) string {
	for _, form := range s.forms {
		text = strings.ReplaceAll(text, form, redaction)
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		end := i
		for end < len(text) && s.part(text, end) {
			end++
		}
		if end == i {
			b.WriteByte(text[i])
			i++
			continue
		}
		b.WriteString(redaction)
		i = end + partLength - 1
	}
	return b.String()
}

// partLength is how much of a secret is a part of it, and not a word that both
// happen to have.
const partLength = 8

// part reports whether a part of a secret begins in text at i.
func (s *secrets) part(text string, i int) bool {
	if i+partLength > len(text) {
		return false
	}
	word := text[i : i+partLength]
	return slices.ContainsFunc(s.parts, func(form string) bool { return strings.Contains(form, word) })
}

func (s *secrets) within(text string) bool {
	return slices.ContainsFunc(s.whole, func(secret string) bool { return strings.Contains(text, secret) })
}

// redactJWT hides whatever looks like the beginning of a JSON Web Token; the
// vault's AKV10046, for one, quotes the head of the token it was sent.
func redactJWT(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "eyJ")
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		end := i
		for end < len(s) && (s[end] == '.' || s[end] == '-' || s[end] == '_' || s[end] == '=' || isAlnum(s[end])) {
			end++
		}
		b.WriteString(redaction)
		s = s[end:]
	}
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// Redact is err with its text cleaned as Clean does it, for errors about what a
// server wrote that were made by others.
func (r *Request) Redact(err error) error {
	if err == nil {
		return nil
	}
	return r.redacted(err)
}

// redacted is err, its text cleaned where it holds a secret or control
// characters: net/http quotes what a server sent in place of a status line.
func (r *Request) redacted(err error) error {
	const limit = 1 << 10
	if clean := r.Clean(err.Error(), limit); clean != err.Error() {
		return &cleaned{clean, r.harmless(err), hidden.New(err)}
	}
	return err
}

// harmless lists the errors in err's tree whose texts hold no secret, each with
// what it wraps.
func (r *Request) harmless(err error) []error {
	text := err.Error()
	if !strings.Contains(r.Clean(text, len(text)+len(redaction)), redaction) {
		return []error{err}
	}
	var found []error
	switch outer := err.(type) {
	case interface{ Unwrap() error }:
		if inner := outer.Unwrap(); inner != nil {
			found = r.harmless(inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range outer.Unwrap() {
			found = append(found, r.harmless(inner)...)
		}
	}
	return found
}

// cleaned has the clean text, and those of the causes that hold no secret. errors.Is
// finds the others too, but errors.As does not: a caller would print what it got.
type cleaned struct {
	text   string
	causes []error
	whole  hidden.Value[error]
}

func (c *cleaned) Error() string        { return c.text }
func (c *cleaned) Unwrap() []error      { return c.causes }
func (c *cleaned) Is(target error) bool { return errors.Is(c.whole.Reveal(), target) }

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.Host, ":443")
}
