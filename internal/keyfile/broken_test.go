package keyfile_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/stretchr/testify/require"
)

// family is the codes that a kind of file may fail with.
var family = map[string][2]ekm.Code{"pfx": {3809, 3813}, "pem": {3815, 3818}, "legacy": {3820, 3821}}

// TestTruncated cuts each good file at every sixteenth. PEM text that is cut
// between two blocks is whole again, if the thumbprint stands in for the rest.
func TestTruncated(t *testing.T) {
	eachGood(t, func(t *testing.T, name string, c fileCase, option string) {
		data := load(t, c.file)
		for i := range 16 {
			cut := data[:len(data)*i/16]
			tryBroken(t, name, c, cut, option, name == "pem" && option != "")
		}
	})
}

// TestBitFlips flips bits of each good file, the same ones at each run. A flip
// in a name or in an issuer's certificate may leave a file that reads; then it
// has to be consistent.
func TestBitFlips(t *testing.T) {
	random := rand.New(rand.NewPCG(12, 7292))
	eachGood(t, func(t *testing.T, name string, c fileCase, option string) {
		data := load(t, c.file)
		flips := 60
		if strings.Contains(c.file, "600k") || c.file == "keytool-legacy.p12" {
			flips = 4 // each takes up to a quarter of a second
		}
		for range flips {
			bad := bytes.Clone(data)
			for range 1 + random.IntN(3) {
				bad[random.IntN(len(bad))] ^= 1 << random.IntN(8)
			}
			tryBroken(t, name, c, bad, option, true)
		}
	})
}

// TestGarbage feeds each reader what is no key file at all.
func TestGarbage(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 8018))
	eachGood(t, func(t *testing.T, name string, c fileCase, option string) {
		for _, prefix := range []string{"", "\x30\x82\x04\x00", "\x30\x80\x02\x01\x03\x30\x80", "-----BEGIN PRIVATE KEY-----\n", "\x1e\xf1\xb5\xb0", "\x07\x02\x00\x00\x00\xa4\x00\x00RSA2"} {
			junk := make([]byte, random.IntN(3000))
			for i := range junk {
				junk[i] = byte(random.Uint32())
			}
			tryBroken(t, name, c, append([]byte(prefix), junk...), option, false)
		}
	})
}

func tryBroken(t *testing.T, name string, c fileCase, data []byte, option string, mayRead bool) {
	t.Helper()
	began := time.Now()
	id, err := c.read(data, c.password, option)
	require.Less(t, time.Since(began), slow)
	if err == nil {
		require.True(t, mayRead, "%d bytes read", len(data))
		requireConsistent(t, id)
		return
	}
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok, "%v", err)
	codes := family[name]
	require.True(t, codes[0] <= e.Code && e.Code <= codes[1], "%v", err)
	require.NotNil(t, e.Err)
	requireNoSecret(t, err.Error(), c.password)
}

// requireNoSecret looks for the password and for pieces of the private key, raw
// or in base64.
func requireNoSecret(t *testing.T, text, password string) {
	t.Helper()
	require.Less(t, len(text), 1000)
	if password != "" {
		require.NotContains(t, text, password)
	}
	p := testKey(t).Primes[0].Bytes()
	require.NotContains(t, text, string(p[:4]))
	require.NotContains(t, text, base64.StdEncoding.EncodeToString(pemBytes(t, "key.pem")[300:309]))
}

func eachGood(t *testing.T, f func(t *testing.T, name string, c fileCase, option string)) {
	t.Helper()
	prints := thumbprints(t)
	groups := [][]fileCase{pfxCases, pemCases, legacyCases}
	for i, name := range []string{"pfx", "pem", "legacy"} {
		for _, c := range groups[i] {
			if c.code != 0 {
				continue
			}
			t.Run(c.name(), func(t *testing.T) { f(t, name, c, prints[c.option]) })
		}
	}
}
