package fakevault_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

func TestSoftDelete(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateECKey("k", "P-256")
	u := newUser(t, s)
	deleted := u.ok("DELETE", "/keys/k", "")
	assert.Equal(t, s.VaultURL()+"/deletedkeys/k", deleted["recoveryId"])
	u.fails("GET", "/keys/k", "", 404, "KeyNotFound", "")
	assert.Equal(t, deleted, u.ok("GET", "/deletedkeys/k", ""))
	listed := u.ok("GET", "/deletedkeys", "")["value"].([]any)
	require.Len(t, listed, 1)
	assert.Equal(t, deleted["recoveryId"], listed[0].(map[string]any)["recoveryId"])
	assert.Empty(t, u.ok("GET", "/keys", "")["value"])
	text := u.fails("POST", "/keys/k/create", `{"kty":"EC"}`, 409, "Conflict", "ObjectIsDeletedButRecoverable")
	assert.Contains(t, text, "is currently in a deleted but recoverable state, and its name cannot be reused")
	assert.Panics(t, func() { s.CreateKey("k", 0) })

	recovered := u.ok("POST", "/deletedkeys/k/recover", "")
	assert.Equal(t, kid(deleted), kid(recovered))
	u.ok("GET", "/keys/k", "")

	u.ok("DELETE", "/keys/k", "")
	res, body := u.call("DELETE", "/deletedkeys/k", "")
	assert.Equal(t, 204, res.StatusCode)
	assert.Nil(t, body)
	u.fails("GET", "/deletedkeys/k", "", 404, "KeyNotFound", "")
	u.ok("POST", "/keys/k/create", `{"kty":"EC"}`)
	assert.Len(t, u.ok("GET", "/keys/k/versions", "")["value"], 1)
}

// Real vaults take some seconds over deletion, recovery and purging.
func TestSlowDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, fakevault.Options{DeleteLag: 5 * time.Second, RecoverableDays: 90})
		s.CreateECKey("k", "P-256")
		u := newUser(t, s)
		got := u.ok("DELETE", "/keys/k", "")
		assert.Equal(t, "Recoverable+Purgeable", got["attributes"].(map[string]any)["recoveryLevel"])
		u.fails("GET", "/keys/k", "", 404, "KeyNotFound", "")
		u.fails("GET", "/deletedkeys/k", "", 404, "KeyNotFound", "")
		assert.Empty(t, u.ok("GET", "/deletedkeys", "")["value"])
		assert.Equal(t, "Key is currently being deleted.", u.fails("POST", "/keys/k/create", `{"kty":"EC"}`, 409, "Conflict", "ObjectIsBeingDeleted"))
		u.fails("POST", "/deletedkeys/k/recover", "", 409, "Conflict", "ObjectIsBeingDeleted")
		u.fails("DELETE", "/deletedkeys/k", "", 409, "Conflict", "ObjectIsBeingDeleted")
		time.Sleep(5 * time.Second)
		u.ok("GET", "/deletedkeys/k", "")
		u.ok("POST", "/deletedkeys/k/recover", "")
		u.fails("GET", "/keys/k", "", 404, "KeyNotFound", "")
		time.Sleep(5 * time.Second)
		u.ok("GET", "/keys/k", "")

		u.ok("DELETE", "/keys/k", "")
		time.Sleep(5 * time.Second)
		u.ok("DELETE", "/deletedkeys/k", "")
		u.fails("POST", "/keys/k/create", `{"kty":"EC"}`, 409, "Conflict", "ObjectIsBeingDeleted")
		time.Sleep(5 * time.Second)
		u.ok("POST", "/keys/k/create", `{"kty":"EC"}`)
	})
}

func TestBackupAndRestore(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	first := s.CreateKey("k", 0)
	second := s.CreateKey("k", 0)
	u := newUser(t, s)
	u.ok("PATCH", "/keys/k/", `{"tags":{"a":"b"}}`)
	wrapped := u.ok("POST", "/keys/k//wrapkey", `{"alg":"RSA-OAEP-256","value":"YXJlcGE"}`)["value"].(string)
	before := u.ok("GET", "/keys/k", "")
	blob := u.ok("POST", "/keys/k/backup", "")["value"].(string)
	restore := `{"value":"` + blob + `"}`

	text := string(dec(t, blob))
	jwe, ok := strings.CutPrefix(text, "&AzureKeyVaultKeyBackupV1.microsoft.com")
	require.True(t, ok)
	parts := strings.Split(jwe, ".")
	require.Len(t, parts, 5)
	assert.Regexp(t, `^\{"kid":"[0-9a-f-]{36}","alg":"RSA-OAEP-256","enc":"A256CBC-HS512"\}$`, string(dec(t, parts[0])))
	assert.NotContains(t, text, "pkcs8", "it is encrypted")

	conflict := u.fails("POST", "/keys/restore", restore, 409, "Conflict", "")
	assert.True(t, strings.HasPrefix(conflict, "There was a conflict restoring the key '"+second+"'. This can happen if either"), conflict)
	u.ok("DELETE", "/keys/k", "")
	u.fails("POST", "/keys/restore", restore, 409, "Conflict", "")
	u.ok("DELETE", "/deletedkeys/k", "")
	assert.Equal(t, before, u.ok("POST", "/keys/restore", restore))
	assert.Len(t, u.ok("GET", "/keys/k/versions", "")["value"], 2)
	u.ok("GET", first[len(s.VaultURL()):], "")
	assert.Equal(t, "YXJlcGE", u.ok("POST", "/keys/k//unwrapkey", `{"alg":"RSA-OAEP-256","value":"`+wrapped+`"}`)["value"])

	// Another vault of the same subscription and region can restore it, one elsewhere cannot.
	sister := newUser(t, newServer(t, fakevault.Options{Vault: "sister"}))
	got := sister.ok("POST", "/keys/restore", restore)
	assert.Equal(t, "https://sister.vault.azure.net/keys/k/"+version(before), kid(got))
	stranger := newUser(t, newServer(t, fakevault.Options{Region: "eastus"}))
	assert.Equal(t, "Cannot decrypt backup blob.", stranger.fails("POST", "/keys/restore", restore, 400, "BadParameter", ""))

	for name, bad := range map[string]string{
		"cut":           blob[:len(blob)-8],
		"other prefix":  enc([]byte("x" + text)),
		"four parts":    enc([]byte(strings.Replace(text, ".", "", 3))),
		"header":        enc([]byte(strings.Replace(text, "eyJ", "!!!", 1))),
		"no json":       enc([]byte("&AzureKeyVaultKeyBackupV1.microsoft.com" + enc([]byte("x")) + "....")),
		"not encrypted": enc([]byte("&AzureKeyVaultKeyBackupV1.microsoft.comYXJlcGE")),
	} {
		res, body := stranger.call("POST", "/keys/restore", `{"value":"`+bad+`"}`)
		assert.Equal(t, 400, res.StatusCode, "%s %v", name, body)
	}
	sister.ok("DELETE", "/keys/k", "")
	sister.ok("DELETE", "/deletedkeys/k", "")
	tag := strings.LastIndexByte(text, '.') + 1
	flipped := text[:tag] + map[bool]string{true: "B", false: "A"}[text[tag] == 'A'] + text[tag+1:]
	assert.Equal(t, "Cannot decrypt backup blob.", sister.fails("POST", "/keys/restore", `{"value":"`+enc([]byte(flipped))+`"}`, 400, "BadParameter", ""))
}

func TestBackupOfAnECKey(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateECKey("k", "P-384")
	u := newUser(t, s)
	before := u.ok("GET", "/keys/k", "")
	blob := u.ok("POST", "/keys/k/backup", "")["value"].(string)
	u.ok("DELETE", "/keys/k", "")
	u.ok("DELETE", "/deletedkeys/k", "")
	assert.Equal(t, before, u.ok("POST", "/keys/restore", `{"value":"`+blob+`"}`))
}

// A backup of one version of an RSA 2048 key is about as large as a real one: buffers are tested with the right size.
func TestBackupSize(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateKey("k", 0)
	blob := newUser(t, s).ok("POST", "/keys/k/backup", "")["value"].(string)
	assert.InDelta(t, 10150, len(blob), 500)
}

func TestPaging(t *testing.T) {
	for _, empty := range []bool{false, true} {
		s := newServer(t, fakevault.Options{EmptyPages: empty})
		for i := range 7 {
			s.CreateECKey(fmt.Sprintf("key-%d", i), "P-256")
			s.CreateECKey("one", "P-256")
		}
		u := newUser(t, s)
		for path, want := range map[string]int{"/keys?maxresults=3": 8, "/keys": 8, "/keys/one/versions?maxresults=2": 7, "/keys/none/versions": 0} {
			var kids []string
			empties := 0
			page := u.ok("GET", path, "")
			for {
				items := page["value"].([]any)
				if len(items) == 0 {
					empties++
				}
				for _, it := range items {
					kids = append(kids, it.(map[string]any)["kid"].(string))
				}
				link, _ := page["nextLink"].(string)
				if link == "" {
					break
				}
				assert.True(t, strings.HasPrefix(link, s.VaultURL()+":443/keys"), link)
				assert.Contains(t, link, "?api-version=7.4&$skiptoken=eyJOZXh0TWFya2VyIjoiM")
				_, body := u.do(u.request("GET", link, ""))
				page = asObject(body)
			}
			assert.Len(t, kids, want, path)
			assert.IsIncreasing(t, append([]string{""}, kids...))
			assert.Equal(t, empty || want == 0, empties > 0, path)
		}
	}
}
