package proxy_test

import (
	"encoding/binary"
	"encoding/hex"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/proxy"
)

// connection writes the binary value: version, counter, flags, and the strings
// with their lengths.
func connection(version, flags uint32, texts ...string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, version)
	b = binary.LittleEndian.AppendUint32(b, 7)
	b = binary.LittleEndian.AppendUint32(b, flags)
	for _, s := range texts {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

func TestConnection(t *testing.T) {
	const p, except, script = "p:8080", "<local>;*.x", "http://x/proxy.pac"
	all := proxy.Place{Server: p, Bypass: except, Script: script}
	for name, c := range map[string]struct {
		blob []byte
		want proxy.Place
	}{
		"netsh":               {connection(0x28, 3, p, except), proxy.Place{Server: p, Bypass: except}},
		"older Windows":       {connection(0x18, 3, p, ""), proxy.Place{Server: p}},
		"switched off":        {connection(0x46, 1, p, except, script), proxy.Place{}}, // Windows keeps the texts
		"detection only":      {connection(0x46, 9, "", "", ""), proxy.Place{}},
		"script only":         {connection(0x46, 5, p, except, script), proxy.Place{Script: script}},
		"all":                 {connection(0x46, 15, p, except, script), all},
		"followed by more":    {append(connection(0x46, 15, p, except, script), make([]byte, 32)...), all},
		"script not wanted":   {append(connection(0x28, 3, p, except), 0xFF, 0xFF, 0xFF), proxy.Place{Server: p, Bypass: except}},
		"some later version":  {connection(0x99, 3, p, except), proxy.Place{Server: p, Bypass: except}},
		"flags nobody knows":  {connection(0x28, 0xFFFFFFF3|2, p, except), proxy.Place{Server: p, Bypass: except}},
		"enabled and nothing": {connection(0x28, 3, "", except), proxy.Place{Bypass: except}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := proxy.ParseConnection(c.blob)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}

	t.Run("as Windows has it for direct access", func(t *testing.T) {
		for _, text := range []string{"1800000000000000010000000000000000000000", "2800000000000000010000000000000000000000"} {
			blob, err := hex.DecodeString(text)
			require.NoError(t, err)
			got, err := proxy.ParseConnection(blob)
			require.NoError(t, err)
			assert.Zero(t, got)
		}
	})
	t.Run("cut short anywhere", func(t *testing.T) {
		whole := connection(0x46, 15, p, except, script)
		for n := range whole {
			_, err := proxy.ParseConnection(whole[:n])
			require.Error(t, err, "%d bytes", n)
		}
	})
	t.Run("length out of reach", func(t *testing.T) {
		for _, n := range []uint32{1, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 4, 1<<32 - 1} {
			_, err := proxy.ParseConnection(binary.LittleEndian.AppendUint32(connection(0x28, 3), n))
			require.Error(t, err, "%d", n)
			_, err = proxy.ParseConnection(binary.LittleEndian.AppendUint32(connection(0x28, 3, p), n))
			require.Error(t, err, "%d", n)
		}
	})
}

// FuzzConnection walks the lengths by itself, and writes what was read.
func FuzzConnection(f *testing.F) {
	f.Add(connection(0x28, 3, "p:8080", "<local>"))
	f.Add(connection(0x46, 15, "p:8080", "<local>", "http://x"))
	f.Add(connection(0x46, 5, "", "")[:19])
	f.Add(binary.LittleEndian.AppendUint32(connection(0x28, 3), 1<<32-1))
	f.Fuzz(func(t *testing.T, blob []byte) {
		got, err := proxy.ParseConnection(blob)
		if len(blob) < 12 {
			assert.Error(t, err)
			return
		}
		flags := binary.LittleEndian.Uint32(blob[8:])
		texts := 2
		if flags&4 != 0 {
			texts = 3
		}
		at := uint64(12)
		for range texts {
			if at += 4; at <= uint64(len(blob)) {
				at += uint64(binary.LittleEndian.Uint32(blob[at-4:]))
			}
		}
		if at > uint64(len(blob)) {
			assert.Error(t, err)
			return
		}
		assert.NoError(t, err)
		if flags&2 == 0 {
			assert.Empty(t, got.Server+got.Bypass)
			return
		}
		written := connection(0, 0, []string{got.Server, got.Bypass, got.Script}[:texts]...)
		assert.Equal(t, blob[12:at], written[12:])
	})
}

func TestDecodeText(t *testing.T) {
	encode := func(s string) (b []byte) {
		for _, u := range utf16.Encode([]rune(s)) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		return b
	}
	for in, want := range map[string]string{
		"":             "",
		"p:8080":       "p:8080", // not ended: whoever writes a value may leave that out
		"p:8080\x00":   "p:8080",
		"p\x00q\x00":   "p",
		"bücher 🔑\x00": "bücher 🔑",
	} {
		assert.Equal(t, want, proxy.DecodeText(encode(in)))
	}
	assert.Equal(t, "p", proxy.DecodeText(append(encode("p"), 'q')), "half a character")
	assert.Equal(t, "\uFFFD", proxy.DecodeText([]byte{0, 0xD8}), "half a surrogate pair")
}
