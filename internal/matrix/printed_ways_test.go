package matrix_test

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
)

// A printing prints values in all ways and looks for secrets in what comes of it.
type printing struct {
	*testing.T
	forms []string      // of the secrets, in all encodings
	plain []string      // parts of the secrets, as they are
	words map[uint]bool // of secret numbers
	// exposed is why Go lets nobody protect the type in an unexported field or from
	// what reads exported fields directly. leaked is whether that is still so.
	exposed string
	leaked  bool
	faults  int
}

// secret adds a secret, of at least eight bytes: its beginning and its end.
func (p *printing) secret(text string) string {
	require.GreaterOrEqual(p, len(text), 8)
	for _, part := range []string{text[:8], text[len(text)-8:]} {
		p.plain = append(p.plain, part)
		p.forms = append(p.forms, encodings(part)...)
	}
	return text
}

// key adds the numbers of a private key.
func (p *printing) key(key *rsa.PrivateKey) *rsa.PrivateKey {
	for _, n := range append(key.Primes, key.D) {
		p.forms = append(p.forms, n.String(), n.Text(16))
		for _, word := range n.Bits() {
			p.words[uint(word)] = true
			p.forms = append(p.forms, strconv.FormatUint(uint64(word), 10), strconv.FormatUint(uint64(word), 16))
		}
	}
	return key
}

// encodings are the forms that text takes in what is printed: itself, quoted, in
// base64 at any offset, and byte by byte.
func encodings(text string) []string {
	all := []string{text, strings.Trim(strconv.Quote(text), `"`), strings.Trim(strconv.QuoteToASCII(text), `"`)}
	for offset := range 3 {
		whole := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", offset) + text))
		whole = whole[(offset*8+5)/6 : (offset+len(text))*8/6]
		all = append(all, whole, strings.NewReplacer("+", "-", "/", "_").Replace(whole))
	}
	for _, verb := range []string{"%d", "%x", "%02x", "%02X", "%#x", "%#X", "%o", "%#o", "%b", "%c", "%U", "%q", "0x%02x"} {
		for _, between := range []string{"", " ", ", "} {
			var b strings.Builder
			for i, c := range []byte(text) {
				if i > 0 {
					b.WriteString(between)
				}
				fmt.Fprintf(&b, verb, c)
			}
			all = append(all, b.String())
		}
	}
	return all
}

// clean looks for the secrets in text.
func (p *printing) clean(holder, way, text string) {
	p.Helper()
	text = strings.Join(strings.Fields(text), " ")
	for _, form := range p.forms {
		if strings.Contains(text, form) {
			p.found(holder, way, text)
			return
		}
	}
}

func (p *printing) found(holder, way, text string) {
	p.Helper()
	if p.exposed != "" && (strings.HasPrefix(holder, "unexported") || slices.Contains(printedDirect, way)) {
		p.leaked = true
		return
	}
	if p.faults++; p.faults > 5 {
		return // enough to see what is wrong
	}
	p.Errorf("%s, by %s: a secret is in %.300s", holder, way, text)
}

// printedDirect are the ways that call no methods: dumpers, and package fmt where it
// complains of the verb.
var printedDirect = []string{"a dump", "testify's diff", "%p", "%w"}

// show prints v by itself and in what may hold it. want is what v shows; it is not
// looked at if it is empty.
func show[T any](p *printing, v T, want string) {
	p.Helper()
	type inner[U any] struct{ x U }
	type outer[U any] struct{ X U }
	for _, h := range []struct {
		name  string
		value any
		other any // of the same type, for a diff
	}{
		{"itself", v, *new(T)},
		{"pointer", &v, new(T)},
		{"slice", []T{v}, []T{}},
		{"array", [1]T{v}, [1]T{}},
		{"map", map[string]T{"k": v}, map[string]T{}},
		{"slice of any", []any{v}, []any{}},
		{"exported field", outer[T]{v}, outer[T]{}},
		{"exported field of a pointer", &outer[*T]{&v}, &outer[*T]{}},
		{"exported field of type any", outer[any]{v}, outer[any]{}},
		{"unexported field", inner[T]{v}, inner[T]{}},
		{"unexported field of a pointer", &inner[T]{v}, &inner[T]{}},
		{"unexported field with a pointer", inner[*T]{&v}, inner[*T]{}},
		{"unexported field of type any", inner[any]{v}, inner[any]{}},
		{"unexported slice", inner[[]T]{[]T{v}}, inner[[]T]{}},
		{"unexported map", inner[map[string]T]{map[string]T{"k": v}}, inner[map[string]T]{}},
	} {
		p.print(h.name, h.value)
		p.clean(h.name, "testify's diff", diff(h.value, h.other))
	}
	if e := reflect.ValueOf(v); e.Kind() == reflect.Pointer && !e.IsNil() {
		p.print("what it points to", e.Elem().Interface())
	}
	dump(p, reflect.ValueOf(&v), "value", map[any]bool{})
	if want != "" {
		p.shows(v, want)
	}
}

// print uses the ways of the standard library.
func (p *printing) print(holder string, v any) {
	p.Helper()
	for _, verb := range strings.Fields("%v %+v %#v %s %q %#q %+q %x %X %#x %d %#d %T %p %t %e %g %U %#U %c %b %o %O %w %30v %.3v %-9.2s") {
		p.clean(holder, verb, fmt.Sprintf(verb, v))
	}
	for _, verb := range []string{"% x", "% X", "%# x", "% d"} {
		p.clean(holder, verb, fmt.Sprintf(verb, v))
	}
	p.clean(holder, "Sprintln", fmt.Sprintln(v, v))
	p.clean(holder, "Errorf", fmt.Errorf("because of %v", v).Error())
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		logger := slog.New(handler).With("with", v).WithGroup("group")
		logger.Info("message", "x", v, slog.Group("inner", slog.Any("y", v)))
	}
	p.clean(holder, "slog", log.String())
	p.clean(holder, "slog.Value", fmt.Sprintf("%+v %#v", slog.AnyValue(v).Resolve().Any(), slog.AnyValue(v).Resolve().String()))
	for name, encode := range map[string]func() ([]byte, error){
		"json": func() ([]byte, error) { return json.Marshal(v) },
		"xml":  func() ([]byte, error) { return xml.Marshal(v) },
		"gob": func() (text []byte, err error) {
			var b bytes.Buffer
			defer func() { // it cannot encode a pointer to a pointer with methods
				text = b.Bytes()
				if fault := recover(); fault != nil {
					err = fmt.Errorf("%v", fault)
				}
			}()
			return nil, gob.NewEncoder(&b).Encode(v)
		},
	} {
		text, err := encode()
		p.clean(holder, name, fmt.Sprintf("%s %v", text, err))
	}
}

// diff is what a failed assertion of testify says.
func diff(a, b any) string {
	var said recorder
	assert.Equal(&said, a, b)
	assert.Empty(&said, a)
	return said.String()
}

type recorder struct{ strings.Builder }

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(r, format, args...) }

// shows demands that v shows want, whoever prints it. Clients and Tokens are no
// values to encode; to have String is enough.
func (p *printing) shows(v any, want string) {
	p.Helper()
	verbs := []string{"%v", "%+v", "%s"}
	switch v.(type) {
	case *akv.Client, *aad.Tokens:
	default:
		verbs = append(verbs, "%#v", "%q", "%x", "%d", "%t")
		assert.Equal(p, slog.StringValue(want), slog.AnyValue(v).Resolve(), "slog.Value")
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("", "x", v)
		assert.Equal(p, want, unquoted(p, log.Bytes(), "x"), "slog's JSON")
		if text, err := json.Marshal(map[string]any{"x": v}); err != nil {
			assert.ErrorIs(p, err, ekm.SCPErrNotSupported, "JSON")
		} else {
			assert.Equal(p, want, unquoted(p, text, "x"), "JSON")
		}
		assert.Error(p, gob.NewEncoder(new(bytes.Buffer)).Encode(v), "gob")
	}
	for _, verb := range verbs {
		assert.Equal(p, want, fmt.Sprintf(verb, v), verb)
	}
	if s, ok := v.(fmt.Stringer); assert.True(p, ok, "panics print what String returns") {
		assert.Equal(p, want, s.String())
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "x", v)
	_, text, _ := strings.Cut(strings.TrimSpace(log.String()), "x=")
	if plain, err := strconv.Unquote(text); err == nil {
		text = plain
	}
	assert.Equal(p, want, text, "slog's text")
}

// unquoted is the member of a JSON object.
func unquoted(p *printing, object []byte, name string) any {
	var members map[string]any
	require.NoError(p, json.Unmarshal(object, &members))
	return members[name]
}

// dump reads whatever reflection reaches, as dumpers and debuggers do: all fields,
// through all pointers, without calling methods.
func dump(p *printing, v reflect.Value, path string, seen map[any]bool) {
	p.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if at := [2]any{v.Pointer(), v.Type()}; v.IsNil() || seen[at] {
			return
		} else {
			seen[at] = true
		}
		dump(p, v.Elem(), path, seen)
	case reflect.Interface:
		if !v.IsNil() {
			dump(p, v.Elem(), path+".("+v.Elem().Type().String()+")", seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			dump(p, v.Field(i), path+"."+v.Type().Field(i).Name, seen)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			text := make([]byte, v.Len())
			for i := range text {
				text[i] = byte(v.Index(i).Uint())
			}
			p.read(path, string(text))
			return
		}
		for i := range v.Len() {
			dump(p, v.Index(i), path+"["+strconv.Itoa(i)+"]", seen)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			dump(p, k, path+".key", seen)
			dump(p, v.MapIndex(k), path+"[]", seen)
		}
	case reflect.String:
		p.read(path, v.String())
	case reflect.Uint, reflect.Uint64, reflect.Uintptr:
		if p.words[uint(v.Uint())] {
			p.found(path, "a dump", "a word of a private key")
		}
	}
}

func (p *printing) read(path, text string) {
	p.Helper()
	for _, secret := range p.plain {
		if strings.Contains(text, secret) {
			p.found(path, "a dump", text)
		}
	}
}
