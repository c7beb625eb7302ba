package akv_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/jwk"
)

// These compare what the library makes of an answer with what the answer says,
// read here without the library.

func text(v any) string {
	s, _ := v.(string)
	return s
}

func unbase64(t *testing.T, v any) []byte {
	b, err := base64.RawURLEncoding.DecodeString(text(v))
	require.NoError(t, err)
	require.NotEmpty(t, b)
	return b
}

// canonical is a Base64urlUInt without leading zeros.
func canonical(t *testing.T, v any) string {
	return base64.RawURLEncoding.EncodeToString(bytes.TrimLeft(unbase64(t, v), "\x00"))
}

func encoded(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }

// checkKey compares a key, or an error in its place, with the recorded answer.
func checkKey(t *testing.T, r *recorded, key *akv.Key, err error) {
	t.Helper()
	if r.Status != http.StatusOK {
		assert.Nil(t, key)
		checkError(t, r, r.operation(), err)
		return
	}
	body := r.Body.(map[string]any)
	want := body["key"].(map[string]any)
	if want["kty"] == "oct-HSM" {
		var e *ekm.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, ekm.SCPErrNotSupported, e.Code)
		assert.Equal(t, ekm.PhaseDecode, e.Phase)
		return
	}
	require.NoError(t, err)
	require.Equal(t, 5, strings.Count(text(want["kid"]), "/"), "the kid of a bundle has a version")
	checkItem(t, body, want["kid"], key.Item)
	assert.Equal(t, want["kty"], key.Type)
	assert.Equal(t, text(want["crv"]), key.Curve)
	ops, _ := want["key_ops"].([]any)
	require.Len(t, key.Ops, len(ops))
	for i, op := range ops {
		assert.Equal(t, op, key.Ops[i])
	}
	checkPublic(t, want, key)
}

func checkPublic(t *testing.T, want map[string]any, key *akv.Key) {
	t.Helper()
	bits := map[string]int{"P-256": 256, "P-256K": 256, "P-384": 384, "P-521": 521}[key.Curve]
	switch public := key.Public.(type) {
	case *rsa.PublicKey:
		assert.True(t, strings.HasPrefix(text(want["kty"]), "RSA"))
		assert.Equal(t, canonical(t, want["n"]), encoded(public.N))
		assert.Equal(t, canonical(t, want["e"]), encoded(big.NewInt(int64(public.E))))
		bits = new(big.Int).SetBytes(unbase64(t, want["n"])).BitLen()
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x, y
		require.NoError(t, err)
		half := (len(point) - 1) / 2
		assert.Equal(t, want["crv"], public.Curve.Params().Name)
		assert.Equal(t, canonical(t, want["x"]), encoded(new(big.Int).SetBytes(point[1:1+half])))
		assert.Equal(t, canonical(t, want["y"]), encoded(new(big.Int).SetBytes(point[1+half:])))
	case *jwk.Secp256k1:
		assert.Equal(t, "P-256K", want["crv"])
		assert.Equal(t, canonical(t, want["x"]), encoded(public.X))
		assert.Equal(t, canonical(t, want["y"]), encoded(public.Y))
	default:
		t.Errorf("a public key of type %T", crypto.PublicKey(public))
	}
	assert.NotZero(t, bits)
	assert.Equal(t, bits, key.Bits)
}

// checkItem compares with the object that has the attributes, and its kid.
func checkItem(t *testing.T, want map[string]any, kid any, item akv.KeyItem) {
	t.Helper()
	id := strings.Split(text(kid), "/")
	if len(id) == 5 {
		id = append(id, "") // a list of keys names no version
	}
	require.Len(t, id, 6)
	assert.Equal(t, kid, item.ID)
	assert.Equal(t, id[2], item.Vault)
	assert.Equal(t, id[4], item.Name)
	assert.Equal(t, id[5], item.Version)

	a, _ := want["attributes"].(map[string]any)
	assert.Equal(t, a["enabled"] == true, item.Enabled)
	assert.Equal(t, a["exportable"] == true, item.Exportable)
	assert.Equal(t, text(a["recoveryLevel"]), item.RecoveryLevel)
	days, _ := a["recoverableDays"].(float64)
	assert.Equal(t, int(days), item.RecoverableDays)
	for name, got := range map[string]time.Time{"nbf": item.NotBefore, "exp": item.Expires, "created": item.Created, "updated": item.Updated} {
		seconds, sent := a[name].(float64)
		if sent {
			assert.Equal(t, time.Unix(int64(seconds), 0).UTC(), got, name)
		} else {
			assert.True(t, got.IsZero(), name)
		}
	}
	tags, _ := want["tags"].(map[string]any)
	assert.Len(t, item.Tags, len(tags))
	for name, value := range tags {
		assert.Equal(t, value, item.Tags[name], name)
	}
	assert.Equal(t, want["managed"] == true, item.Managed)
}

// checkItems compares a list with its pages, in order.
func checkItems(t *testing.T, pages []*recorded, items []akv.KeyItem, err error) {
	t.Helper()
	require.NoError(t, err)
	var want []map[string]any
	for _, page := range pages {
		value, ok := page.Body.(map[string]any)["value"].([]any)
		require.True(t, ok)
		for _, item := range value {
			want = append(want, item.(map[string]any))
		}
	}
	require.Len(t, items, len(want))
	for i, w := range want {
		checkItem(t, w, w["kid"], items[i])
	}
}

// checkValue compares the bytes of a backup, wrap or unwrap answer.
func checkValue(t *testing.T, r *recorded, value []byte, err error) {
	t.Helper()
	if r.Status != http.StatusOK {
		assert.Nil(t, value)
		checkError(t, r, r.operation(), err)
		return
	}
	require.NoError(t, err)
	assert.Equal(t, unbase64(t, r.Body.(map[string]any)["value"]), value)
}

// checkError compares an error with the answer that it stands for.
func checkError(t *testing.T, r *recorded, op string, err error) {
	t.Helper()
	var e *ekm.Error
	require.ErrorAs(t, err, &e)
	code, ok := map[int]ekm.Code{400: 3110, 401: 3305, 404: 3112, 409: 3110}[r.Status]
	require.True(t, ok, "status %d", r.Status)
	assert.Equal(t, code, e.Code)
	assert.Equal(t, code, ekm.CodeOf(err))
	assert.Equal(t, r.Status, e.Status)
	assert.Equal(t, op, e.Op)
	assert.Equal(t, ekm.Vault, e.Party)
	assert.Equal(t, r.url().Host, e.Host)
	assert.Equal(t, r.header().Get("X-Ms-Request-Id"), e.RequestID)
	assert.Equal(t, r.header().Get("X-Ms-Keyvault-Region"), e.Region)
	assert.NotEmpty(t, e.CorrelationID)

	body, _ := r.Body.(map[string]any)
	said, _ := body["error"].(map[string]any)
	inner, _ := said["innererror"].(map[string]any)
	assert.Equal(t, text(said["code"]), e.ServiceCode)
	assert.Equal(t, text(inner["code"]), e.InnerCode)
	switch message := strings.Join(strings.Fields(text(said["message"])), " "); {
	case said == nil && r.Body == nil:
		assert.Empty(t, e.Message)
	case said == nil: // a page
		assert.Equal(t, "text/html", strings.Split(r.header().Get("Content-Type"), ";")[0])
		assert.Contains(t, e.Message, "HTML page")
		assert.NotContains(t, e.Message, "<")
	case len(message) > 512:
		require.Len(t, e.Message, 512)
		assert.True(t, strings.HasPrefix(message, strings.TrimSuffix(e.Message, "...")), e.Message)
	default:
		assert.Equal(t, message, e.Message)
	}
}

// checkChallenge compares with the header, read by a regular expression.
func checkChallenge(t *testing.T, r *recorded, c challenge.Challenge) {
	t.Helper()
	form := regexp.MustCompile(`^Bearer authorization="(https://[^/"]+/([^/"]+))", resource="(https://[^/"]+)"$`)
	m := form.FindStringSubmatch(r.header().Get("WWW-Authenticate"))
	require.NotNil(t, m, "a form of header that the test does not know")
	assert.Equal(t, challenge.Challenge{Authority: m[1], Tenant: m[2], Resource: m[3], Scope: m[3] + "/.default"}, c)
}

// keyName is the name of the key that the answer is about.
func (r *recorded) keyName() string {
	if body, ok := r.Body.(map[string]any); ok {
		if key, ok := body["key"].(map[string]any); ok {
			if kid, ok := key["kid"].(string); ok {
				if _, name, _, ok := jwk.SplitID(kid); ok {
					return name
				}
			}
		}
	}
	return "replay"
}

// replayGolden replays the rows of a table of our own; each names its origin.
func replayGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var golden struct {
		Origin string      `json:"origin"`
		Rows   []*recorded `json:"rows"`
	}
	require.NoError(t, json.Unmarshal(data, &golden))
	require.NotEmpty(t, golden.Origin)
	require.NotEmpty(t, golden.Rows)
	for _, r := range golden.Rows {
		t.Run(r.Test, func(t *testing.T) {
			if r.Status == http.StatusUnauthorized {
				replayChallenge(t, r)
				return
			}
			if r.operation() != "" {
				replayCall(t, r, nil)
			}
			s := newScript(t, r, nil, r)
			_, err := s.client().GetKey(t.Context(), r.keyName(), "")
			if r.Code == 0 {
				assert.NoError(t, err)
				return
			}
			assert.ErrorIs(t, err, r.Code)
			if r.Status >= 400 {
				checkError(t, r, "getKey", err)
			}
		})
	}
}
