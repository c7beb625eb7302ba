package wire_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"math/rand/v2"
	"net"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/akv-ekm/ekm/internal/wire"
)

const leftOut = "[redacted] (the server's text repeats what was sent)"

func TestClean(t *testing.T) {
	r := &wire.Request{
		Authorization: "Bearer " + token, Body: []byte(`{"value":"AAAA"}`),
		Secrets: []string{"two words", `qu"ote\`, "longer secret", "longer", "abc"},
	}
	for in, out := range map[string]string{
		"plain":                               "plain",
		"a " + token + " b":                   leftOut,
		"a " + url.QueryEscape(token):         leftOut,
		"said two\nwords":                     leftOut, // a blank that became a line break
		"said two%20words":                    leftOut,
		"said two+words":                      leftOut,
		"said twowords":                       leftOut,
		`said "qu\"ote\\"`:                    leftOut,
		"the longer way":                      leftOut, // the whole of one of six bytes
		"the long way":                        "the long way",
		`body {"value":"AAAA"}`:               leftOut,
		`body {"value":"AAAB"}`:               `body {"value":"AAAB"}`, // parts of the body are no secret
		"abc is too short to be looked for":   "abc is too short to be looked for",
		"a\r\n\tb\x00c\u2028d\u202e\xff e":    "a b c d e",
		strings.Repeat("é", 60):               strings.Repeat("é", 60),
		strings.Repeat("é", 61):               strings.Repeat("é", 58) + "...",
		"EncodedJwtHeader: 'eyJhbGciOi-_='":   "EncodedJwtHeader: '[redacted]'", // AKV10046
		"another's eyJhbGciOi.eyJ-_x=.s tail": "another's [redacted] tail",
	} {
		assert.Equal(t, out, r.Clean(in, 120), "%q", in)
	}
	assert.Equal(t, "..", r.Clean("long", 2))
	assert.Empty(t, r.Clean("long", 0))
	assert.Equal(t, "[redacted]", r.Clean(token, 100), "in place of an id or a code")
	assert.Equal(t, "[redac", r.Clean(token, 6))
	assert.Equal(t, leftOut, (&wire.Request{Authorization: token}).Clean(token, 101), "no scheme")
}

// A token that is a JSON Web Token: its head alone is no secret.
func TestCleanOwnToken(t *testing.T) {
	const head, payload = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9", "eyJhdWQiOiJjYW5hcnkifQ"
	jwt := head + "." + payload + ".c2lnbmF0dXJlIG9mIGl0"
	r := &wire.Request{Authorization: "Bearer " + jwt}
	assert.Equal(t, "EncodedJwtHeader: '[redacted]'", r.Clean("EncodedJwtHeader: '"+head+"'", 200))
	for _, echo := range []string{jwt, jwt[20:], "c2lnbmF0dXJl", payload[5:]} {
		assert.Equal(t, leftOut, r.Clean("you sent "+echo, 200), echo)
	}
}

// One row for each encoding that is documented, and for what hid it before.
func TestCleanEchoes(t *testing.T) {
	const secret = "Abc8Q~canary/Value+of-a_secret"
	key := []byte("\x00\x01canary\xff\xfe\x80: thirty-two bytes\xe9\xe8!")
	r := &wire.Request{
		Authorization: "Bearer " + token, Secrets: []string{secret, "p4ss"},
		Secret: []byte(base64.RawURLEncoding.EncodeToString(key)),
	}
	std := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	each := func(format string, s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			fmt.Fprintf(&b, format, c)
		}
		return b.String()
	}
	var latin1 strings.Builder
	for _, c := range key {
		latin1.WriteRune(rune(c))
	}
	long := std(strings.Repeat("x", 40) + "\r\nAuthorization: Bearer " + token + "\r\nUser-Agent: " + strings.Repeat("y", 20))
	for name, echo := range map[string]string{
		"the beginning":                       secret[:20],
		"the end":                             secret[10:],
		"eight bytes":                         secret[11:19],
		"a short one":                         "p4ss",
		"percent-encoding":                    url.QueryEscape(secret)[:25] + "...",
		"percent-encoding of all":             each("%%%02x", secret),
		"percent-encoding beside a percent":   "100% of " + url.QueryEscape(secret) + " %",
		"percent-encoding behind bad digits":  "%zz%4" + "%" + url.QueryEscape(secret),
		"percent-encoding, twice":             url.QueryEscape(url.QueryEscape(secret)),
		"JSON escapes":                        each(`\u%04x`, secret),
		"JSON escapes of some":                strings.ReplaceAll(secret, "a", `\u0061`),
		"escapes in upper case":               each(`\u%04X`, secret),
		"escapes of escapes":                  each(`\\u%04x`, secret),
		"hexadecimal escapes":                 each(`\x%02x`, secret),
		"octal escapes":                       each(`\%03o`, secret),
		"braced escapes":                      each(`\u{%x}`, secret),
		"long escapes":                        each(`\U%08x`, secret),
		"character references":                each("&#%d;", secret),
		"character references in hexadecimal": each("&#x%X;", secret),
		"HTML":                                html.EscapeString(secret),
		"base64":                              std(secret),
		"base64, cut":                         std(secret)[:30],
		"base64 in lines":                     std(secret)[:20] + "\r\n  " + std(secret)[20:],
		"base64 of something around it, 0":    std("abc" + secret + "d"),
		"base64 of something around it, 1":    std("Bearer abc " + secret),
		"base64 of something around it, 2":    std("ab" + secret),
		"base64 of a header's dump":           long,
		"base64 of a short one":               std("user:p4ss"),
		"base64 right behind a word":          "token" + std(secret),
		"base64 in base64":                    std("x" + std("yy"+secret)),
		"base64, percent-encoded":             url.QueryEscape(std(secret + "?>?")),
		"percent-encoding in base64":          std(url.QueryEscape(secret)),
		"hexadecimal digits":                  hex.EncodeToString([]byte(secret)),
		"hexadecimal digits, upper case":      strings.ToUpper(hex.EncodeToString([]byte(secret)))[:40],
		"hexadecimal digits behind a digit":   "0" + hex.EncodeToString([]byte(secret)),
		"hexadecimal digits, in groups":       strings.ReplaceAll(each("%02x ", secret), "20 ", "20"),
		"spaced out":                          strings.Join(strings.Split(secret, ""), " "),
		"zero-width spaces in between":        strings.Join(strings.Split(secret, ""), "\u200b"),
		"NULs in between":                     strings.Join(strings.Split(secret, ""), "\x00"),
		"key: as sent":                        base64.RawURLEncoding.EncodeToString(key),
		"key: standard base64":                base64.StdEncoding.EncodeToString(key),
		"key: bytes":                          string(key),
		"key: characters of those numbers":    latin1.String(),
		"key: JSON escapes":                   each(`\u%04x`, string(key)),
		"key: hexadecimal digits":             hex.EncodeToString(key),
		"token":                               token[5:],
	} {
		for _, around := range []string{"%s", "the request was: %s and so on", "<%s>", `{"a":"%s"}`} {
			in := fmt.Sprintf(strings.ReplaceAll(around, "%s", "%[1]s"), echo)
			assert.Equal(t, leftOut, r.Clean(in, 300), "%s: %q", name, in)
		}
	}
	for _, harmless := range []string{
		"the algorithm RSA-OAEP-256 is not supported by this key",
		"100 % wrong: %zz \\u12 &# &amp 3q2+7w== 72f988bf-86f1-41af-91ab-2d7cd011db47",
		"Caller is not authorized to perform action on resource. Caller: appid=72f988bf;oid=01111cf6;iss=https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/ Action: 'Microsoft.KeyVault/vaults/keys/wrap/action'",
	} {
		assert.Equal(t, harmless, r.Clean(harmless, 300))
	}
}

// Each pair of the documented encodings, for a text and for a key.
func TestCleanChains(t *testing.T) {
	for _, secret := range []string{"Abc8Q~ca%41\\u0041 <é>&lt;+of-a_secret", "\x00\x9f\xffkey bytes\xc3\x28 and more \xe2\x82"} {
		r := &wire.Request{Secrets: []string{secret}}
		for first := range byte(9) {
			if !utf8.ValidString(secret) && (first == 3 || first > 5) {
				continue // leaves bytes as they are
			}
			for second := range byte(9) {
				for choice := range byte(4) {
					if !utf8.ValidString(secret) && choice > 0 && first < 4 {
						continue
					}
					echo := encode(encode(secret, "a b+c", "d/e", first, choice), "x=y&z", " q", second, choice)
					assert.Equal(t, leftOut, r.Clean("it said: "+echo+".", 4000), "%d %d %d: %q", first, second, choice, echo)
				}
			}
		}
	}
}

// The search is bounded: what would take longer is left out.
func TestCleanIsBounded(t *testing.T) {
	r := &wire.Request{Authorization: "Bearer " + strings.Repeat("opaque-Token+", 200)}
	for name, text := range hostile() {
		start := time.Now()
		out := r.Clean(text, 512)
		assert.LessOrEqual(t, len(out), 512, name)
		assert.Less(t, time.Since(start), 2*time.Second, name) // milliseconds, but for a busy machine
	}
	deep := "Abc8Q~canary"
	for range 6 {
		deep = base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(deep)))
	}
	assert.Equal(t, leftOut, (&wire.Request{Secrets: []string{"Abc8Q~canary"}}).Clean(deep, 512))
}

// hostile are texts that take long to search, or should.
func hostile() map[string]string {
	const size = 16 << 10
	random := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, size)
	_, _ = random.Read(noise)
	all := make([]byte, 0, size)
	for len(all) < size {
		all = append(all, `%25\u005c&amp;+QUJD `...)
	}
	nested := make([]byte, size)
	for i := range nested {
		nested[i] = "%2"[i%2]
	}
	text := strings.Repeat("What is said here has the form of an honest message; it goes on for long. ", size/74)
	deep := noise[:600]
	for len(deep) < size/2 {
		deep = []byte(base64.StdEncoding.EncodeToString(deep))
	}
	return map[string]string{
		"noise": string(noise), "base64": base64.StdEncoding.EncodeToString(noise), "all escapes": string(all), "percents": string(nested),
		"backslashes": strings.Repeat(`\`, size), "references": strings.Repeat("&amp;", size/5), "text": text, "deep": string(deep),
		"hexadecimal digits": strings.Repeat("6", size), "one letter": strings.Repeat("A", size),
	}
}

func BenchmarkClean(b *testing.B) {
	r := &wire.Request{Authorization: "Bearer " + strings.Repeat("opaque-Token+", 200), Body: []byte(`{"alg":"RSA-OAEP-256","value":"..."}`)}
	texts := hostile()
	texts["a request id"] = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	texts["a message"] = "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\nCaller: appid=72f988bf;oid=01111cf6;iss=https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/\r\nAction: 'Microsoft.KeyVault/vaults/keys/wrap/action'"
	for name, text := range texts {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Clean(text, 512)
			}
		})
	}
}

// FuzzClean: a secret in a text, under a chain of the documented encodings, does
// not come out. chain chooses them, two bytes for each.
func FuzzClean(f *testing.F) {
	f.Add("a ", token, " b", []byte{}, uint16(50))
	f.Add("", "two words", "\n", []byte{0, 3, 4, 1}, uint16(900))
	f.Add("100% ", "a%41\\x41&#65;", " %", []byte{0, 9, 1, 9, 2, 9, 3, 9, 4, 9, 5, 9, 6, 9, 7, 9}, uint16(2000))
	f.Add("xx[red", "x[redacted]y", "act", []byte{6, 0, 4, 2}, uint16(300))
	f.Add("eyJ", "eyJhbGciOi.eyJx.y", ".z", []byte{4, 0}, uint16(300))
	f.Fuzz(func(t *testing.T, before, secret, after string, chain []byte, limit uint16) {
		if len(before)+len(secret)+len(after) > 300 || len(chain) > 8 {
			return
		}
		visible := strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError {
				return -1
			}
			return r
		}, secret)
		if len(visible) < 4 {
			return // without its blanks it is too short to be looked for
		}
		if !utf8.ValidString(secret) && len(chain) >= 2 { // all of its bytes are encoded first
			chain = append([]byte{[]byte{0, 1, 2, 4, 5}[chain[0]%5], chain[1]}, chain[2:]...)
			if chain[0] < 3 {
				chain[1] = 0
			}
		}
		r := &wire.Request{Secrets: []string{secret}}
		echo := secret
		for i := 0; i+1 < len(chain); i += 2 {
			echo = encode(echo, before, after, chain[i], chain[i+1])
		}
		// An escape ends where the text around it begins.
		out := r.Clean(before+" "+echo+" "+after, int(limit))
		if len(out) > int(limit) {
			t.Fatalf("%d bytes, limit %d", len(out), limit)
		}
		if strings.ContainsFunc(out, unicode.IsControl) || !utf8.ValidString(out) {
			t.Fatalf("%q is not one line of text", out)
		}
		fixed := strings.HasPrefix(leftOut, out) || strings.HasPrefix("[redacted]", out)
		if len(secret) >= 4 && !fixed && strings.Contains(out, secret) {
			t.Fatalf("%q in %q", secret, out)
		}
		// What was not cut off, nor hidden as a token, must have made it a fixed text.
		whole := len(before)+len(echo)+len(after)+2 <= int(limit) && !strings.Contains(before+echo+after, "eyJ")
		if len(secret) >= 4 && whole && !fixed {
			t.Fatalf("%q under %v in %q", secret, chain, out)
		}
	})
}

// encode applies one of the documented encodings; choice says to which characters,
// or at which offset.
func encode(s, before, after string, encoding, choice byte) string {
	chosen := rand.New(rand.NewPCG(uint64(choice), 0))
	some := func(must byte, format func(byte) string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			if c == must || c >= 0x80 || choice == 0 || chosen.IntN(3) == 0 {
				b.WriteString(format(c))
			} else {
				b.WriteByte(c)
			}
		}
		return b.String()
	}
	packed := []byte(s + after)
	if n := min(len(before), int(choice)%8); n > 0 {
		packed = []byte(before[:n] + " " + s + after)
	}
	switch encoding % 9 {
	case 0:
		return some('%', func(c byte) string { return fmt.Sprintf([]string{"%%%02x", "%%%02X"}[choice%2], c) })
	case 1:
		return url.QueryEscape(s)
	case 2:
		return some('\\', func(c byte) string { return fmt.Sprintf([]string{`\x%02x`, `\%03o`}[choice%2], c) })
	case 3: // characters, not bytes
		if !utf8.ValidString(s) {
			return s
		}
		var b strings.Builder
		for _, c := range s {
			switch {
			case c == '\\' || choice == 0 || chosen.IntN(3) == 0:
				q := strconv.QuoteToASCII(string(c))
				if c < 0x80 {
					q = fmt.Sprintf(`"\u%04x"`, c)
				}
				b.WriteString(q[1 : len(q)-1])
			default:
				b.WriteRune(c)
			}
		}
		return b.String()
	case 4:
		all := []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding}
		return all[choice%4].EncodeToString(packed)
	case 5:
		return []func(string) string{func(s string) string { return s }, strings.ToUpper}[choice%2](hex.EncodeToString(packed))
	case 6:
		return some('&', func(c byte) string {
			if c >= 0x80 || c < ' ' || c == 0x7f {
				return string([]byte{c}) // no character reference stands for a byte
			}
			return fmt.Sprintf([]string{"&#%d;", "&#x%x;"}[choice%2], c)
		})
	case 7:
		return html.EscapeString(s)
	default:
		if !utf8.ValidString(s) || strings.ContainsAny(s, `%\&`) {
			return s // a break within an escape is none of this encoding
		}
		var b strings.Builder
		for _, c := range s {
			b.WriteRune(c)
			if chosen.IntN(3) == 0 {
				b.WriteString([]string{" ", "\r\n", "\t", "\u200b"}[chosen.IntN(4)])
			}
		}
		return b.String()
	}
}

// The causes of an error whose text is left out can be told by kind, and do not
// tell the text.
func TestRedactedCauses(t *testing.T) {
	r := &wire.Request{Authorization: "Bearer " + token}
	refused := &net.DNSError{Err: "no such host", Name: "v.example"}
	err := r.Redact(fmt.Errorf("%w, %w, %w", textproto.ProtocolError("malformed MIME header line: "+token),
		&net.OpError{Op: "proxyconnect", Err: errors.New("said " + token)}, refused))
	for _, verb := range []string{"%v", "%+v", "%#v", "%q", "%s"} {
		assert.NotContains(t, fmt.Sprintf(verb, err), token, verb)
	}
	assert.Equal(t, leftOut, err.Error())
	assert.ErrorIs(t, err, refused)
	dns, ok := errors.AsType[*net.DNSError](err)
	assert.True(t, ok)
	assert.Same(t, refused, dns)
	_, ok = errors.AsType[textproto.ProtocolError](err)
	assert.False(t, ok)
	_, ok = errors.AsType[*net.OpError](err)
	assert.False(t, ok)

	certificate := &x509.Certificate{DNSNames: []string{token}}
	err = r.Redact(fmt.Errorf("tls: %w", x509.HostnameError{Certificate: certificate, Host: "v.example"}))
	assert.Equal(t, leftOut, err.Error())
	_, ok = errors.AsType[x509.HostnameError](err)
	assert.True(t, ok, "that it is final is told by its kind")

	plain := errors.New("plain")
	assert.Same(t, plain, r.Redact(plain))
	assert.NoError(t, r.Redact(nil))
}
