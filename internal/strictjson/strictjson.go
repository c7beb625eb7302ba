// Package strictjson reads JSON objects of which every member has one meaning.
//
// encoding/json takes the last of members of the same name, takes "Value" for
// "value", and puts U+FFFD in place of bytes that are not UTF-8. Whoever reads the
// same reply in another way (a proxy that inspects it, a log) sees other data than
// the program acts upon. This package refuses a name that stands twice in an
// object and bytes that are not UTF-8, and compares names exactly.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// The errors quote nothing of the data.
var (
	errUTF8   = errors.New("the JSON holds bytes that are not UTF-8")
	errSyntax = errors.New("the text is not one JSON value")
	errObject = errors.New("the JSON is not an object")
	errTwice  = errors.New("a member stands twice in a JSON object")
)

// Object reads the members of the object in data. It calls field with each name,
// and decodes the value into what field returns: a pointer as for json.Unmarshal,
// or nil to pass over the member. A *json.RawMessage gets the bytes of data
// themselves, not a copy. The value null is an object without members.
func Object(data []byte, field func(name []byte) any) error {
	if !utf8.Valid(data) {
		return errUTF8
	}
	if !json.Valid(data) {
		return errSyntax
	}
	i := skipBlank(data, 0)
	if data[i] == 'n' {
		return nil
	}
	if data[i] != '{' {
		return errObject
	}
	var seen names
	for i = skipBlank(data, i+1); data[i] != '}'; i = skipBlank(data, i) {
		if data[i] == ',' {
			i = skipBlank(data, i+1)
		}
		end := valueEnd(data, i)
		name, err := nameOf(data[i:end])
		if err != nil {
			return err
		}
		if !seen.add(name) {
			return errTwice
		}
		i = skipBlank(data, skipBlank(data, end)+1) // the colon is between
		end = valueEnd(data, i)
		if err := decode(data[i:end], field(name)); err != nil {
			return err
		}
		i = end
	}
	return nil
}

func decode(value []byte, into any) error {
	switch into := into.(type) {
	case nil:
		return nil
	case *json.RawMessage:
		*into = value
		return nil
	}
	return json.Unmarshal(value, into)
}

// Text is the string that raw is, or "" if it is absent or something else.
func Text(raw json.RawMessage) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	if plain(raw) {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// nameOf is the name in a JSON string.
func nameOf(quoted []byte) ([]byte, error) {
	if plain(quoted) {
		return quoted[1 : len(quoted)-1], nil
	}
	var s string
	err := json.Unmarshal(quoted, &s)
	return []byte(s), err
}

func plain(quoted []byte) bool { return bytes.IndexByte(quoted, '\\') < 0 }

// names are those of one object's members. Comparing with all others is quick for
// the few members of an honest reply, and would not be for a hostile one.
type names struct {
	first [16][]byte
	n     int
	more  map[string]struct{} // all of them, once first is full
}

// add reports whether name is new.
func (s *names) add(name []byte) bool {
	if s.more != nil {
		_, old := s.more[string(name)]
		s.more[string(name)] = struct{}{}
		return !old
	}
	for _, old := range s.first[:s.n] {
		if bytes.Equal(old, name) {
			return false
		}
	}
	s.first[s.n] = name
	if s.n++; s.n == len(s.first) {
		s.more = make(map[string]struct{}, 2*len(s.first))
		for _, old := range s.first {
			s.more[string(old)] = struct{}{}
		}
	}
	return true
}

func skipBlank(data []byte, i int) int {
	for data[i] == ' ' || data[i] == '\t' || data[i] == '\r' || data[i] == '\n' {
		i++
	}
	return i
}

// valueEnd is the index behind the value that begins at i. The JSON is valid.
func valueEnd(data []byte, i int) int {
	depth := 0
	for {
		switch data[i] {
		case '"':
			for i++; data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\r', '\n':
			i++ // inside an object or array
		default: // a number, true, false or null
			for i < len(data) && !ends(data[i]) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// ends reports whether c ends a number, true, false or null.
func ends(c byte) bool {
	switch c {
	case ',', ':', ']', '}', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}
