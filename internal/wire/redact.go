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
)

// Clean makes text that a server wrote fit for an error or a log: at most max
// bytes, one line, and without anything that the request had to keep secret. A
// hostile server could otherwise have its caller log the caller's own token.
func (r *Request) Clean(s string, max int) string {
	secrets := r.secrets()
	// Redact before cutting: half a secret is still one. And again in what is
	// left: a secret with a blank in it was perhaps sent with a line break there.
	s = hide(s, secrets)
	if plain, err := url.QueryUnescape(s); err == nil && holdsAny(plain, secrets) {
		s = redaction // escaped in some way of its own
	}
	s = redactJWT(s)
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError
	}), " ")
	s = hide(s, secrets)
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max-min(max, 3)], "") + "..."[:min(max, 3)]
	}
	for _, secret := range secrets {
		if strings.Contains(s, secret) && !strings.Contains(redaction, secret) {
			return redaction[:min(max, len(redaction))] // the cuts have made one
		}
	}
	return s
}

const redaction = "[redacted]"

// hide replaces the secrets, also as a URL or a quoted string would hold them.
func hide(s string, secrets []string) string {
	for _, secret := range secrets {
		quoted := strconv.Quote(secret)
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), quoted[1 : len(quoted)-1]} {
			s = strings.ReplaceAll(s, form, redaction)
		}
	}
	return s
}

func holdsAny(s string, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(secret string) bool { return strings.Contains(s, secret) })
}

// secrets lists what must not come back. Shorter ones than four bytes are left
// out: they would be found everywhere.
func (r *Request) secrets() []string {
	all := append([]string{string(r.Body), string(r.Secret)}, r.Secrets...)
	if key, err := b64.Decode(string(r.Secret)); err == nil {
		// The key itself, as a server might choose to write it.
		digits := hex.EncodeToString(key)
		all = append(all, string(key), digits, strings.ToUpper(digits), base64.RawStdEncoding.EncodeToString(key))
	}
	if _, credentials, ok := strings.Cut(r.Authorization, " "); ok {
		all = append(all, strings.TrimSpace(credentials))
	} else {
		all = append(all, r.Authorization)
	}
	all = slices.DeleteFunc(all, func(s string) bool { return len(s) < 4 })
	// The longest first: one may be a part of another.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
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
		return &cleaned{clean, err}
	}
	return err
}

// cleaned has the clean text, and the error itself only for errors.Is and As.
type cleaned struct {
	text string
	err  error
}

func (c *cleaned) Error() string        { return c.text }
func (c *cleaned) Is(target error) bool { return errors.Is(c.err, target) }
func (c *cleaned) As(target any) bool   { return errors.As(c.err, target) }

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.Host, ":443")
}
