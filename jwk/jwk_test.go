package jwk_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/jwk"
)

// Recorded exchanges published by Microsoft as test data of azkeys v0.3.0 / v0.7.0, MIT.
const (
	nRSA = "vsMaJrnncH6vCEnBgutNv1s-mZnnVcc3K3tUbKj5LRtMGo3rKmX9H6JR4wi5vFpyhpHFgxsvX6upyhp2Vj_S7lddApLj9_NDeW-yrXHhiVCsao10HbPAC0Ip5oxhJz1dkYIRc63QFgu-bBS58g01WlzlzFMPaww-mT7Z2MmpYwToc13rLdcGM-ShAM4u4yCUuz-DFuVjzoNPdcZFdmQApYgb01Hu69QbXk6u2HDznn_yNsBY6nikbQ4CCilfTxQ8iml1wlHWhNoYPxhFNcNj9KLv3sBTQvqaEwikjDUL8uzVOz2OQTDJNyN8RY3hi0mu8wXAzIr7rMRB1mEQn180KQ"
	nHSM = "kPzLsbobei4GdCYDn1DP0uPpq0_oIbWv6A4uMDGCVeCIA6RcBqztx7nOhVKrbGPCIt3JSRgfblJhjlfMo04cZCNPBURM0hb3w8HK01C4v5IUD77HOQuK96hjqdchPIpm5-1_HqKkvIFxrPfo89zZ1aeSx9WNJeVndgNFtGrJ3gTIpvY-4kzd1lSmgZt6E501aXltFGtQleG0kI8pTBjv2HOSW3JRSLuaz8cYc9Lhgiu9QIc-cvhAIHlI0DiHXGRUNKfGp0j686kY-yOciAQxlVsJwrZgxvftVQe7O6d6VAh_WAxheSINxHyNDNZ9HmgCP9qBVcmw80CdWIl_uZ5tLw"
	x256 = "dbsDoP-GpKhiI1WyfVlC5LhF2rSayEmfaxK9Y1ds-lc"
	y256 = "bDSj7JbPC06BVpFoAFuh98EKweXR2jUEASR2PPpjyLI"
	xK   = "_cz7Ss-72JIfSPqcjKPjAurmxtLrhgt0cq3Z2TFMLBA"
	yK   = "I4M5g7NL6Wio0XlVavk1XJn3ja2CfvIHLN0EtRBBjx4"
	kid  = "https://fakevault/keys/k/3e5c4aa19d2744478afee432a5088da4"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func bundle(key string) string { return `{"key":{"kid":"` + kid + `",` + key + `}}` }

func rsaKey(n, e string) string { return bundle(`"kty":"RSA","n":"` + n + `","e":"` + e + `"`) }

func ecKey(crv, x, y string) string {
	return bundle(`"kty":"EC","crv":"` + crv + `","x":"` + x + `","y":"` + y + `"`)
}

// modulus is an odd number of that many bits.
func modulus(bits uint) string {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return b64(n.SetBit(n, 0, 1).Bytes())
}

func TestParse(t *testing.T) {
	raw, err := base64.RawURLEncoding.DecodeString(nRSA)
	require.NoError(t, err)
	p384, p521 := elliptic.P384().Params(), elliptic.P521().Params()
	point := func(p *elliptic.CurveParams, size int) (x, y string) {
		return b64(p.Gx.FillBytes(make([]byte, size))), b64(p.Gy.FillBytes(make([]byte, size)))
	}
	x384, y384 := point(p384, 48)
	x521, y521 := point(p521, 66)
	for _, c := range []struct {
		name, in, typ, curve string
		bits                 int
		a, b                 string // canonical form of the two numbers
	}{
		{"RSA", rsaKey(nRSA, "AQAB"), "RSA", "", 2048, nRSA, "AQAB"},
		{"RSA-HSM whose e has a leading zero", bundle(`"kty":"RSA-HSM","n":"` + nHSM + `","e":"AAEAAQ"`), "RSA-HSM", "", 2048, nHSM, "AQAB"},
		{"n of 257 bytes with a leading zero", rsaKey(b64(append([]byte{0}, raw...)), "AQAB"), "RSA", "", 2048, nRSA, "AQAB"},
		{"standard alphabet and padding", rsaKey(base64.StdEncoding.EncodeToString(raw), "AQAB"), "RSA", "", 2048, nRSA, "AQAB"},
		{"3072", rsaKey(modulus(3072), "AQAB"), "RSA", "", 3072, modulus(3072), "AQAB"},
		{"4096, e=3", rsaKey(modulus(4096), "Aw"), "RSA", "", 4096, modulus(4096), "Aw"},
		{"largest e", rsaKey(nRSA, "f____w"), "RSA", "", 2048, nRSA, "f____w"},
		{"P-256", ecKey("P-256", x256, y256), "EC", "P-256", 256, x256, y256},
		{"P-384", ecKey("P-384", x384, y384), "EC", "P-384", 384, x384, y384},
		{"P-521: its x begins with a zero", ecKey("P-521", x521, y521), "EC", "P-521", 521, b64(p521.Gx.Bytes()), b64(p521.Gy.Bytes())},
		{"P-256K", ecKey("P-256K", xK, yK), "EC", "P-256K", 256, xK, yK},
		{
			"EC-HSM", bundle(`"kty":"EC-HSM","crv":"P-256K","x":"jxnB91IzRxD9Z5dBNGoC894xSIa_mYIZ80E3riqNhAU","y":"BXwdU4f0vd6YlLm6RPyzEN6Vct7lQI7gTGLHybdBzkU"`), "EC-HSM", "P-256K", 256,
			"jxnB91IzRxD9Z5dBNGoC894xSIa_mYIZ80E3riqNhAU", "BXwdU4f0vd6YlLm6RPyzEN6Vct7lQI7gTGLHybdBzkU",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := jwk.Parse([]byte(c.in))
			require.NoError(t, err)
			assert.Equal(t, c.typ, k.Type)
			assert.Equal(t, c.curve, k.Curve)
			assert.Equal(t, c.bits, k.Bits)
			assert.Equal(t, "3e5c4aa19d2744478afee432a5088da4", k.Version)
			a, b := numbers(t, k)
			assert.Equal(t, c.a, b64(a.Bytes()))
			assert.Equal(t, c.b, b64(b.Bytes()))
		})
	}
}

func numbers(t *testing.T, k jwk.Key) (a, b *big.Int) {
	t.Helper()
	switch p := k.Public.(type) {
	case *rsa.PublicKey:
		return p.N, big.NewInt(int64(p.E))
	case *jwk.Secp256k1:
		return p.X, p.Y
	case *ecdsa.PublicKey:
		raw, err := p.Bytes()
		require.NoError(t, err)
		half := (len(raw) - 1) / 2
		return new(big.Int).SetBytes(raw[1 : 1+half]), new(big.Int).SetBytes(raw[1+half:])
	}
	require.Fail(t, "unknown type", "%T", k.Public)
	return nil, nil
}

func TestParseItem(t *testing.T) {
	k, err := jwk.Parse([]byte(`{"key":{"kid":"` + kid + `","kty":"RSA","key_ops":["wrapKey","unwrapKey"],"n":"` + nRSA + `","e":"AQAB"},
		"attributes":{"enabled":true,"nbf":2208992461,"exp":2524611661,"created":1656357380,"updated":1656357381,"recoveryLevel":"CustomizedRecoverable+Purgeable","recoverableDays":7,"exportable":true,"hsmPlatform":"2"},
		"tags":{"key":"value"},"managed":true,"release_policy":{}}`))
	require.NoError(t, err)
	assert.Equal(t, []string{"wrapKey", "unwrapKey"}, k.Ops)
	assert.Equal(t, jwk.Item{
		ID: kid, Vault: "fakevault", Name: "k", Version: "3e5c4aa19d2744478afee432a5088da4",
		Attributes: jwk.Attributes{
			Enabled: true, NotBefore: time.Unix(2208992461, 0).UTC(), Expires: time.Unix(2524611661, 0).UTC(),
			Created: time.Unix(1656357380, 0).UTC(), Updated: time.Unix(1656357381, 0).UTC(),
			RecoveryLevel: "CustomizedRecoverable+Purgeable", RecoverableDays: 7, Exportable: true, HSMPlatform: "2",
		},
		Tags: map[string]string{"key": "value"}, Managed: true,
	}, k.Item)
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     ekm.Code
	}{
		{"no JSON", `<html>`, ekm.ErrorGetKeyByNameJsonParser},
		{"array", `[]`, ekm.ErrorGetKeyByNameJsonParser},
		{"cut", rsaKey(nRSA, "AQAB")[:100], ekm.ErrorGetKeyByNameJsonParser},
		{"time out of range", `{"attributes":{"exp":1e30}}`, ekm.ErrorGetKeyByNameJsonParser},
		{"something behind it", rsaKey(nRSA, "AQAB") + "{}", ekm.ErrorGetKeyByNameJsonParser},
		{"kid without version", `{"key":{"kid":"https://fakevault/keys/k"}}`, ekm.ErrorGetKeyByNameExtractKeyUri},
		{"no key", `{}`, ekm.ErrorGetKeyByNameExtractKeyNode},
		{"null key", `{"key":null}`, ekm.ErrorGetKeyByNameExtractKeyNode},
		{"key is a list", `{"key":[]}`, ekm.ErrorGetKeyByNameExtractKeyNode},
		{"no kid", `{"key":{"kty":"RSA"}}`, ekm.ErrorGetKeyByNameExtractKeyId},
		{"kid is a number", `{"key":{"kid":1}}`, ekm.ErrorGetKeyByNameExtractKeyId},
		{"kid elsewhere", `{"key":{"kid":"https://h/secrets/k/v"}}`, ekm.ErrorGetKeyByNameExtractKeyUri},
		{"no kty", bundle(`"n":"AQAB"`), ekm.ErrorGetKeyByNameExtractKeyType},
		{"no crv", bundle(`"kty":"EC"`), ekm.ErrorGetKeyByNameExtractKeyType},
		{"no n", bundle(`"kty":"RSA","e":"AQAB"`), ekm.ErrorGetKeyByNameExtractKeyN},
		{"no x", ecKey("P-256", "", y256), ekm.ErrorGetKeyByNameExtractKeyN},
		{"n no base64", rsaKey("***", "AQAB"), ekm.ErrorGetKeyByNameBase64DecodeN},
		{"n with a line end", rsaKey(nRSA[:9]+`\n`+nRSA[9:], "AQAB"), ekm.ErrorGetKeyByNameBase64DecodeN},
		{"n zero", rsaKey("AAAA", "AQAB"), ekm.ErrorGetKeyByNameBase64DecodeN},
		{"n even", rsaKey(nRSA[:len(nRSA)-2]+"KA", "AQAB"), ekm.ErrorGetKeyByNameBase64DecodeN},
		{"no e", rsaKey(nRSA, ""), ekm.ErrorGetKeyByNameExtractKeyE},
		{"no y", ecKey("P-256", x256, ""), ekm.ErrorGetKeyByNameExtractKeyE},
		{"e no base64", rsaKey(nRSA, "!"), ekm.ErrorGetKeyByNameBase64DecodeE},
		{"e=0", rsaKey(nRSA, "AA"), ekm.ErrorGetKeyByNameBase64DecodeE},
		{"e=1", rsaKey(nRSA, "AQ"), ekm.ErrorGetKeyByNameBase64DecodeE},
		{"e=2", rsaKey(nRSA, "Ag"), ekm.ErrorGetKeyByNameBase64DecodeE},
		{"e=2^31+1", rsaKey(nRSA, "gAAAAQ"), ekm.ErrorGetKeyByNameBase64DecodeE},
		{"off P-256", ecKey("P-256", y256, x256), ekm.ErrorGetKeyByNameBase64DecodeE},
		{"off P-256K", ecKey("P-256K", yK, xK), ekm.ErrorGetKeyByNameBase64DecodeE},
		{"P-256K point beyond the field", ecKey("P-256K", nRSA, yK), ekm.ErrorGetKeyByNameBase64DecodeE},
		{"P-256 point too long", ecKey("P-256", nRSA, y256), ekm.ErrorGetKeyByNameBase64DecodeE},
		{"another curve's point", ecKey("P-256", xK, yK), ekm.ErrorGetKeyByNameBase64DecodeE},
		{"oct-HSM", bundle(`"kty":"oct-HSM"`), ekm.SCPErrNotSupported},
		{"unknown curve", ecKey("P-192", x256, y256), ekm.SCPErrNotSupported},
		{"1024", rsaKey(modulus(1024), "AQAB"), ekm.SCPErrNotSupported},
		{"2047", rsaKey(modulus(2047), "AQAB"), ekm.SCPErrNotSupported},
		{"8192", rsaKey(modulus(8192), "AQAB"), ekm.SCPErrNotSupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := jwk.Parse([]byte(c.in))
			require.ErrorIs(t, err, c.want)
			assert.Equal(t, c.want, ekm.CodeOf(err))
			assert.Zero(t, k)
			assert.Less(t, len(err.Error()), 500)
		})
	}
}

func TestKID(t *testing.T) {
	for in, want := range map[string][3]string{
		"https://V.vault.azure.net:443/keys/k/1": {"v.vault.azure.net", "k", "1"},
		"https://localhost:8443/keys/k/1":        {"localhost:8443", "k", "1"},
		"https://h/keys/k":                       {"h", "k", ""},
		"https://h/KEYS/K/1":                     {"h", "K", "1"},
		"https://h/keys/k/1/2":                   {},
		"https://h/keys//1":                      {},
		"https://h/keys":                         {},
		"http://h/keys/k/1":                      {},
		"https:///keys/k/1":                      {},
		"https://h/keys/k/1?x=y":                 {},
		"https://h/keys/k/1#x":                   {},
		"https://u:p@h/keys/k/1":                 {},
		"https://h/deletedkeys/k":                {},
		"https://h/keys/a%2fb/1":                 {},
		"HTTPS://H/Keys/a-B/1":                   {"h", "a-B", "1"},
		"https://[::1]:8443/keys/k/1":            {"[::1]:8443", "k", "1"},
		"https://h/keys/k/":                      {"h", "k", ""},
		"https://h/Keys/k/1":                     {}, // the Kelvin sign
		"https://h/keys/K/1":                     {},
		"https://h/keys/k/..":                    {},
		"https://h/keys/../1":                    {},
		"https://h/keys/k/1?":                    {},
		"https://h/keys/k/1#":                    {},
		"https://h//keys/k/1":                    {},
		"https://h:/keys/k/1":                    {},
		"https://h:x/keys/k/1":                   {},
		"https://[::1/keys/k/1":                  {},
		"https://:443/keys/k/1":                  {},
		"https://@h/keys/k/1":                    {},
		"https://h%2e/keys/k/1":                  {},
		"https://b\u00fccher/keys/k/1":           {},
		"https://h/keys/k/\u0000":                {},
		"https://h/keys/k/\u001b":                {},
		"https://h/keys/k/1\u202e":               {},
		"https://h/keys/k 1/1":                   {},
		"https://h/keys/k_1/1":                   {},

		"https://h/keys/" + strings.Repeat("k", 127) + "/" + strings.Repeat("1", 127): {"h", strings.Repeat("k", 127), strings.Repeat("1", 127)},
		"https://h/keys/" + strings.Repeat("k", 128) + "/1":                           {},
		"https://h/keys/k/" + strings.Repeat("1", 128):                                {},
		"https://" + strings.Repeat("h", 260) + "/keys/k/1":                           {},
	} {
		quoted, err := json.Marshal(in)
		require.NoError(t, err)
		p, err := jwk.ParsePage([]byte(`{"value":[{"kid":` + string(quoted) + `}]}`))
		if want[0] == "" {
			require.ErrorIs(t, err, ekm.ErrorGetKeyByNameExtractKeyUri, in)
			continue
		}
		require.NoError(t, err, in)
		i := p.Items[0]
		assert.Equal(t, want, [3]string{i.Vault, i.Name, i.Version}, in)
		assert.Equal(t, in, i.ID)
	}
}

func TestParsePage(t *testing.T) {
	const next = "https://fakevault:443/keys?api-version=7.3&$skiptoken=x"
	p, err := jwk.ParsePage([]byte(`{"value":[],"nextLink":"` + next + `"}`))
	require.NoError(t, err)
	assert.Equal(t, jwk.Page{Next: next}, p, "an empty page need not be the last")
	for _, in := range []string{`{"value":[],"nextLink":null}`, `{"value":[]}`} {
		p, err = jwk.ParsePage([]byte(in))
		require.NoError(t, err)
		assert.Zero(t, p)
	}
	for in, want := range map[string]ekm.Code{
		`{}`: ekm.ErrorGetKeyByNameJsonParser, `{"value":null}`: ekm.ErrorGetKeyByNameJsonParser, `x`: ekm.ErrorGetKeyByNameJsonParser,
		`{"value":[{}]}`: ekm.ErrorGetKeyByNameExtractKeyId, `{"value":[{"kid":"x"}]}`: ekm.ErrorGetKeyByNameExtractKeyUri,
	} {
		_, err = jwk.ParsePage([]byte(in))
		require.ErrorIs(t, err, want, in)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{rsaKey(nRSA, "AQAB"), rsaKey(nHSM, "AAEAAQ"), ecKey("P-256", x256, y256), ecKey("P-256K", xK, yK), `{"key":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := jwk.Parse(data)
		if err != nil {
			require.NotEqual(t, ekm.ErrorUnknown, ekm.CodeOf(err))
			return
		}
		a, _ := numbers(t, k)
		if k.Type == "RSA" || k.Type == "RSA-HSM" {
			require.Equal(t, a.BitLen(), k.Bits)
		} else {
			require.LessOrEqual(t, a.BitLen(), k.Bits)
		}
		id, err := json.Marshal(k.ID)
		require.NoError(t, err)
		p, err := jwk.ParsePage([]byte(`{"value":[{"kid":` + string(id) + `}]}`))
		require.NoError(t, err)
		i := p.Items[0]
		require.Equal(t, [3]string{k.Vault, k.Name, k.Version}, [3]string{i.Vault, i.Name, i.Version})
		require.NotEmpty(t, k.Name)
		require.False(t, strings.Contains(k.Name+k.Version, "/"))
	})
}

func ExampleParse() {
	k, err := jwk.Parse([]byte(ecKey("P-256", x256, y256)))
	fmt.Printf("%s %s %d %T %v\n", k.Name, k.Type, k.Bits, k.Public, err)
	// Output: k EC 256 *ecdsa.PublicKey <nil>
}

func ExampleAsked() {
	asked := jwk.Asked{Hosts: []string{"contoso.vault.azure.net"}, Name: "tde"}
	fmt.Println(asked.Names("https://contoso.vault.azure.net/keys/tde/3e5c4aa19d2744478afee432a5088da4"))
	fmt.Println(asked.Names("https://evil.vault.azure.net/keys/tde/3e5c4aa19d2744478afee432a5088da4"))
	// Output:
	// true
	// false
}

func ExampleAsked_Parse() {
	_, err := jwk.Asked{Name: "other"}.Parse([]byte(ecKey("P-256", x256, y256)))
	fmt.Println(errors.Is(err, ekm.ErrorGetKeyByNameExtractKeyUri))
	// Output: true
}

func ExampleParsePage() {
	p, err := jwk.ParsePage([]byte(`{"value":[{"kid":"https://contoso.vault.azure.net/keys/tde"}],"nextLink":null}`))
	fmt.Println(p.Items[0].Name, p.Next == "", err)
	// Output: tde true <nil>
}
