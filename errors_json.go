package ekm

import (
	"bytes"
	"encoding/json"
)

// MarshalJSON is the error as one object. Its members are stable: "code" and
// "symbol" always, then the known facts under the names that %+v prints;
// retryAfter is in seconds, time in RFC 3339, UTC.
func (e *Error) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	member := func(name string, value any) error {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		b.WriteString(`"` + name + `":`)
		b.Write(text)
		return nil
	}
	facts := append([]field{{"code", int(e.Code)}, {"symbol", e.Code.Symbol()}}, e.fields()...)
	for _, f := range facts {
		if err := member(f.name, f.plain()); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
