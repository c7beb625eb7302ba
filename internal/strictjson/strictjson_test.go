package strictjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/strictjson"
)

func TestObject(t *testing.T) {
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf(`"m%d":%d`, i, i)
	}
	for _, c := range []struct {
		in, want string // want: the value of "value", "-" for an error
		why      string
	}{
		{`{"value":1}`, `1`, ""},
		{" {\t\"value\" :\r\n1 } \n", `1`, "blanks in all places"},
		{`{"a":{"value":2},"value":[1,{"value":3}],"b":"\"}"}`, `[1,{"value":3}]`, "members of members are none of its own"},
		{`{"val\u0075e":"x"}`, `"x"`, "an escaped name is the same name"},
		{`{"value":null}`, `null`, ""},
		{`{}`, ``, ""},
		{`null`, ``, "as encoding/json takes it"},
		{`{"Value":1}`, ``, "another name"},
		{`{"value":1,"Value":2}`, `1`, "encoding/json would take 2"},
		{`{"value":1,"value":1}`, `-`, "twice"},
		{`{"value":1,"val\u0075e":2}`, `-`, "twice, once escaped"},
		{`{"a":1,"a":1,"value":1}`, `-`, "twice, though nobody asks for it"},
		{`{` + strings.Join(many, ",") + `,"value":1}`, `1`, "many"},
		{`{` + strings.Join(many, ",") + `,"m99":1}`, `-`, "many, and one twice"},
		{`{` + strings.Join(many, ",") + `,"m3":1}`, `-`, "many, and one of the first twice"},
		{`{"value":1} x`, `-`, "something behind it"},
		{`{"value":1}{"value":2}`, `-`, "another one behind it"},
		{`{"value":1`, `-`, "cut"},
		{`[]`, `-`, "no object"},
		{`"value"`, `-`, "no object"},
		{``, `-`, "nothing"},
		{"{\"value\":\"\xff\"}", `-`, "no UTF-8"},
		{"{\"value\":1,\"\xff\":2}", `-`, "no UTF-8 in a name"},
	} {
		var value json.RawMessage
		err := strictjson.Object([]byte(c.in), func(name []byte) any {
			if string(name) == "value" {
				return &value
			}
			return nil
		})
		if c.want == "-" {
			assert.Error(t, err, "%s: %s", c.in, c.why)
			continue
		}
		assert.NoError(t, err, "%s: %s", c.in, c.why)
		assert.Equal(t, c.want, string(value), "%s: %s", c.in, c.why)
	}
}

func TestObjectDecodes(t *testing.T) {
	var n int
	require.NoError(t, strictjson.Object([]byte(`{"n":5}`), func([]byte) any { return &n }))
	assert.Equal(t, 5, n)
	assert.Error(t, strictjson.Object([]byte(`{"n":"5"}`), func([]byte) any { return &n }))
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		`"a"`: "a", `"a\u0062\n"`: "ab\n", `""`: "", ``: "", `5`: "", `null`: "", `["a"]`: "", `{"a":"b"}`: "", `"`: "",
	} {
		assert.Equal(t, want, strictjson.Text(json.RawMessage(in)), in)
	}
}

// FuzzObject: what is read is what encoding/json reads into a map, if it reads
// anything; a map has exact names, too.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[{}, "x\\\""],"c":{"d":null}}`, ` { "a" : tr`, `{"a":1,"a":2}`, `{"\ud800":1,"\ud801":2}`, "null", "5"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := make(map[string]*json.RawMessage)
		err := strictjson.Object(data, func(name []byte) any {
			raw := new(json.RawMessage)
			got[string(name)] = raw
			return raw
		})
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(data, &want))
		require.Len(t, got, len(want))
		for name, raw := range want {
			require.True(t, bytes.Equal(raw, *got[name]), "%s: %s, %s", name, raw, *got[name])
		}
	})
}
