package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes text that a server wrote fit for an error or a log: at most max
// bytes, one line, without control characters. If the text repeats a secret of
// the request, or a part of one, all of it is left out, and a fixed text stands in
// its place: a hostile server could otherwise have its caller log the caller's own
// token, and a careless one quotes half of what it was sent.
//
// The secrets are Authorization's credentials, Secret and the bytes that it
// encodes, each of Secrets, the whole Body, and the credentials of the proxy that
// the exchange went through: its password, user:password, and the user where
// there is no password or the user is as long as a token. A foreign round tripper
// tells its proxy only if it is an [*http.Transport].
//
// A text repeats a secret if it holds any eight bytes of it in a row, or the whole
// of a secret of four to seven bytes (of Body and user:password: the whole alone).
// Shorter secrets are not looked for: they would be found everywhere. The eight
// bytes are found as they are, and under any chain of these encodings, each
// applied to all of the text or to some of its characters (and to those that begin
// an escape in it), whatever stands around but for the beginning of an escape:
//
//   - percent-encoding, with + for a blank or without;
//   - the escapes of JSON, JavaScript, Go and C: \u0041, \u{41}, \U00000041, \x41, \101, \n, \";
//   - the character references of HTML and XML: &#65; &#x41; &amp;
//   - base64 in either alphabet, with or without padding, at any offset of what was encoded;
//   - hexadecimal digits in either case;
//   - blanks, line breaks and characters that do not print, put between the
//     characters or taken from between them, if four bytes remain without them.
//
// A secret that is not UTF-8, as keys are, is found under a chain whose first
// encoding was of all its bytes; and alone as characters of the same numbers (ISO
// 8859-1), escaped or not. Text that takes more than [searchBudget] to search is
// left out as well. Other encodings (base32, compression, encryption, digits with
// colons between, letters reversed) are not looked into.
//
// What looks like the head of a JSON Web Token is hidden by itself, and the rest
// is kept: Key Vault's AKV10046 quotes the head of the token that it was sent,
// which is no secret.
func (r *Request) Clean(s string, max int) string {
	const most = 2 << 10 // of what is looked at; what is beyond is cut anyway
	s = s[:min(len(s), most+max)]
	h := r.hidden()
	if h.repeatedBy(redactJWT(s, "")) {
		return leave(max)
	}
	s = oneLine(redactJWT(s, "."))
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max-min(max, 3)], "") + "..."[:min(max, 3)]
	}
	if h.in([]byte(s)) {
		return leave(max) // the cuts have made one
	}
	return s
}

const (
	redaction = "[redacted]"
	leftOut   = "(the server's text is left out: it repeats what was sent)"
)

// leave is what stands for a text that is left out, in max bytes: a sentence for a
// message, a word for what is a code or an id.
func leave(max int) string {
	if max > 100 {
		return leftOut
	}
	return redaction[:min(max, len(redaction))]
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError
	}), " ")
}

// redactJWT hides whatever looks like a JSON Web Token, as far as its characters
// and those of more go: its head alone, or with "." all of it.
func redactJWT(s, more string) string {
	more += "-_="
	var b strings.Builder
	for {
		i := strings.Index(s, "eyJ")
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		end := i
		for end < len(s) && (isAlnum(s[end]) || strings.IndexByte(more, s[end]) >= 0) {
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
	if _, ours := err.(*proxyRefusal); ours { // no server's text, whatever word the password is
		return err
	}
	text := err.Error()
	clean := r.Clean(text, limit)
	if clean == text {
		return err
	}
	return &cleaned{clean, func() error { return err }, r.presentable(err, nil)}
}

// cleaned has the clean text, and the error itself for errors.Is alone. errors.As
// finds those of its causes whose own text is clean: whoever finds one prints it.
type cleaned struct {
	text  string
	whole func() error // out of sight of %#v
	fit   []error
}

func (c *cleaned) Error() string        { return c.text }
func (c *cleaned) Is(target error) bool { return errors.Is(c.whole(), target) }

func (c *cleaned) As(target any) bool {
	into := reflect.ValueOf(target).Elem()
	for _, err := range c.fit {
		if reflect.TypeOf(err).AssignableTo(into.Type()) {
			into.Set(reflect.ValueOf(err))
			return true
		}
		if other, ok := err.(interface{ As(target any) bool }); ok && other.As(target) {
			return true
		}
	}
	return false
}

// presentable adds to fit the errors in err's tree whose text repeats nothing. What
// TLS says of a certificate is presentable in any case, as the decision to try
// again depends on it: a certificate is made before anything is sent.
func (r *Request) presentable(err error, fit []error) []error {
	const enough = 32 // foreign trees may be anything
	if err == nil || len(fit) >= enough {
		return fit
	}
	switch err.(type) {
	case *tls.CertificateVerificationError, x509.HostnameError, x509.UnknownAuthorityError, x509.CertificateInvalidError:
		fit = append(fit, err)
	default:
		if !r.hidden().repeatedBy(err.Error()) {
			fit = append(fit, err)
		}
	}
	switch tree := err.(type) {
	case interface{ Unwrap() error }:
		return r.presentable(tree.Unwrap(), fit)
	case interface{ Unwrap() []error }:
		for _, branch := range tree.Unwrap() {
			fit = r.presentable(branch, fit)
		}
	}
	return fit
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.Host, ":443")
}
