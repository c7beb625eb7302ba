package keyfile_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/akv-ekm/ekm/internal/keyfile"
	"github.com/stretchr/testify/require"
)

// TestThumbprintForms: the option as portals, tools and people write it.
func TestThumbprintForms(t *testing.T) {
	key := load(t, "key.pem")
	prints := thumbprints(t)
	for _, sum := range []string{"sha1", "sha256"} {
		raw, err := hex.DecodeString(strings.ReplaceAll(prints["leaf "+sum], ":", ""))
		require.NoError(t, err)
		upper, lower := strings.ToUpper(hex.EncodeToString(raw)), hex.EncodeToString(raw)
		for name, text := range map[string]string{
			"openssl":                prints["leaf "+sum],
			"colons, lower case":     strings.ToLower(prints["leaf "+sum]),
			"hex":                    lower,
			"portal":                 upper,
			"dashes (.NET)":          strings.ReplaceAll(prints["leaf "+sum], ":", "-"),
			"blanks":                 strings.ReplaceAll(prints["leaf "+sum], ":", " "),
			"windows dialog":         "\u200e" + strings.ReplaceAll(prints["leaf "+sum], ":", "\u00a0"), // invisible mark in front
			"line end":               upper + "\r\n",
			"base64":                 base64.StdEncoding.EncodeToString(raw),
			"base64, no padding":     base64.RawStdEncoding.EncodeToString(raw),
			"base64url":              base64.URLEncoding.EncodeToString(raw),
			"base64url, as in a JWT": base64.RawURLEncoding.EncodeToString(raw),
		} {
			t.Run(sum+"/"+name, func(t *testing.T) {
				id, err := keyfile.PEM(key, "", text)
				require.NoError(t, err)
				require.Equal(t, raw, bytes.Join([][]byte{id.SHA1, id.SHA256}, nil))
				requireConsistent(t, id)
			})
		}
		for name, text := range map[string]string{
			"short":            upper[2:],
			"long":             upper + "00",
			"odd":              upper[1:],
			"not hex":          "G" + upper[1:],
			"base64, cut":      base64.StdEncoding.EncodeToString(raw)[4:],
			"base64, bits set": strings.TrimRight(base64.RawStdEncoding.EncodeToString(raw), "=")[:len(raw)*4/3] + "_",
		} {
			t.Run(sum+"/bad/"+name, func(t *testing.T) {
				_, err := keyfile.PEM(key, "", text)
				requireFailure(t, err, 3815, "neither hex nor base64", "")
			})
		}
	}
}

// TestLegacyThumbprint: the code of a missing thumbprint is the caller's to raise.
func TestLegacyThumbprint(t *testing.T) {
	blob := load(t, "key.msblob")
	_, err := keyfile.Legacy(blob, "", "")
	require.ErrorIs(t, err, keyfile.ErrThumbprint)
	require.ErrorContains(t, err, "give the thumbprint")
	_, err = keyfile.Legacy(blob, "", "12:34")
	require.ErrorIs(t, err, keyfile.ErrThumbprint)
	require.ErrorContains(t, err, "neither hex nor base64")
}
