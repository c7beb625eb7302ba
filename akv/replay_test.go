package akv_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/jwk"
)

// TestReplay answers the client with what real vaults answered: always with the
// rows of testdata/golden.json, and, where the folder with them is at hand, with
// every recorded exchange.
func TestReplay(t *testing.T) {
	t.Run("golden", replayGolden)
	dir := os.Getenv("EKM_RECORDINGS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "recordings")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Log("the folder of recordings is not here (EKM_RECORDINGS names another one): the golden table has run, " +
			"the recorded exchanges of get, list, backup, restore, rotate, wrap and unwrap, the recorded challenges, " +
			"error bodies and other key bundles are NOT covered")
		return
	}
	replayFolder(t, dir)
}

// A recorded exchange; see the README.md of the recordings.
type recorded struct {
	File     string
	Test     string         `json:"test"`
	Seq      int            `json:"seq"`
	Method   string         `json:"method"`
	URI      string         `json:"uri"`
	Request  map[string]any `json:"request_body"`
	Status   int            `json:"status"`
	Header   map[string]any `json:"response_headers"`
	Body     any            `json:"response_body"`
	Code     ekm.Code       `json:"code"` // golden rows only
	consumed bool           // replayed to the end
}

// realHosts undoes what Microsoft did to the host names before publishing: single
// labels become hosts within the challenge's resource, the two names that one
// vault has in one exchange become one.
func realHosts() *strings.Replacer {
	return strings.NewReplacer(
		"https://fakevault/", "https://fakevault.vault.azure.net/",
		"https://fakevault:443/", "https://fakevault.vault.azure.net:443/",
		"https://fakemhsm/", "https://fakemhsm.managedhsm.azure.net/",
		"https://rosebud.vault.azure.net/", "https://fakekvurl.vault.azure.net/",
		"https://rosebudhsm.managedhsm.azure.net/", "https://fakekvurl.managedhsm.azure.net/",
	)
}

func readRecordings(t *testing.T, dir string) []*recorded {
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "no recordings in the folder")
	var all []*recorded
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		lines := bufio.NewScanner(strings.NewReader(realHosts().Replace(string(data))))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			r := &recorded{File: filepath.Base(file)}
			require.NoError(t, json.Unmarshal(lines.Bytes(), r))
			all = append(all, r)
		}
		require.NoError(t, lines.Err())
	}
	return all
}

func (r *recorded) String() string { return fmt.Sprintf("%s/%s/%d", r.File, r.Test, r.Seq) }
func (r *recorded) group() string  { return r.File + "/" + r.Test }

func (r *recorded) url() *url.URL {
	u, err := url.Parse(r.URI)
	if err != nil {
		panic(err)
	}
	return u
}

// segments are the path's elements, unescaped.
func (r *recorded) segments() []string {
	parts := strings.Split(strings.TrimPrefix(r.url().EscapedPath(), "/"), "/")
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	return parts
}

// at is the i-th element of the path, or "".
func (r *recorded) at(i int) string {
	if s := r.segments(); i < len(s) {
		return s[i]
	}
	return ""
}

// operation is the client's operation that r is an exchange of, or "".
func (r *recorded) operation() string {
	s := r.segments()
	key := s[0] == "keys"
	switch {
	case r.Method == http.MethodGet && key && len(s) == 1:
		return "listKeys"
	case r.Method == http.MethodGet && key && len(s) == 3 && s[2] == "versions":
		return "listKeyVersions"
	case r.Method == http.MethodGet && key && len(s) == 3 && s[2] != "rotationpolicy":
		return "getKey"
	case r.Method != http.MethodPost || !key:
		return ""
	case len(s) == 2 && s[1] == "restore":
		return "restoreKey"
	case len(s) == 3 && s[2] == "backup":
		return "backupKey"
	case len(s) == 3 && s[2] == "rotate":
		return "rotateKey"
	case len(s) == 4 && s[3] == "wrapkey":
		return "wrapKey"
	case len(s) == 4 && s[3] == "unwrapkey":
		return "unwrapKey"
	}
	return ""
}

// class is what the test does with r; the classes in brackets are not covered.
func (r *recorded) class() string {
	body, _ := r.Body.(map[string]any)
	_, list := body["value"].([]any)
	switch host := r.url().Hostname(); {
	case strings.HasPrefix(host, "login."), host == "169.254.169.254":
		return "(token exchanges, left for later)"
	case r.Status == http.StatusUnauthorized:
		return "challenge"
	case r.operation() != "":
		return r.operation()
	case r.Status >= 400:
		return "other error"
	case body["key"] != nil:
		return "other bundle"
	case list:
		return "other list"
	}
	return "(operations that the client has not)"
}

func replayFolder(t *testing.T, dir string) {
	all := readRecordings(t, dir)
	challenges := map[string]*recorded{}
	pages := map[string]*recorded{} // what was answered to a link, in one test
	for _, r := range all {
		if r.Status == http.StatusUnauthorized && challenges[r.group()] == nil {
			challenges[r.group()] = r
		}
		if r.Method == http.MethodGet && r.Status == http.StatusOK {
			pages[r.group()+" "+r.URI] = r
		}
	}
	followed := map[*recorded]bool{}
	for _, r := range all {
		next := pages[r.group()+" "+r.next()]
		if next != nil && r.operation() != "" {
			followed[next] = true // with the first page of its list
		}
	}
	for _, r := range all {
		if followed[r] || strings.HasPrefix(r.class(), "(") {
			continue
		}
		t.Run(r.String(), func(t *testing.T) {
			switch r.class() {
			case "challenge":
				replayChallenge(t, r)
			case "listKeys", "listKeyVersions":
				replayList(t, r, challenges[r.group()], pages)
			case "other error":
				replayError(t, r, challenges[r.group()])
			case "other bundle":
				key, err := jwk.Parse(r.bytes(t))
				checkKey(t, r, &key, err)
				r.consumed = true
			case "other list":
				page, err := jwk.ParsePage(r.bytes(t))
				checkItems(t, []*recorded{r}, page.Items, err)
				r.consumed = true
			default:
				replayCall(t, r, challenges[r.group()])
			}
		})
	}
	report(t, all)
}

// report counts, and fails for each exchange of a covered class that was not used.
func report(t *testing.T, all []*recorded) {
	found, covered := map[string]int{}, map[string]int{}
	for _, r := range all {
		class := r.class()
		if !strings.HasPrefix(class, "(") {
			class = fmt.Sprintf("%s %d", class, r.Status)
			assert.True(t, r.consumed, "%s (%s) was not replayed", r, class)
		}
		found[class]++
		if r.consumed {
			covered[class]++
		}
	}
	classes := make([]string, 0, len(found))
	replayed := 0
	for class := range found {
		classes = append(classes, class)
		replayed += covered[class]
	}
	sort.Strings(classes)
	for _, class := range classes {
		t.Logf("%3d of %3d  %s", covered[class], found[class], class)
	}
	t.Logf("%3d of %3d  in all", replayed, len(all))
	require.NotZero(t, replayed)
}

// next is the address that a page links to, as the client that was recorded asked
// it: without the default port. "" if there is none.
func (r *recorded) next() string {
	body, _ := r.Body.(map[string]any)
	link, _ := body["nextLink"].(string)
	return strings.Replace(link, ":443/", "/", 1)
}

// bytes is the body on the wire.
func (r *recorded) bytes(t *testing.T) []byte {
	switch body := r.Body.(type) {
	case nil:
		return nil
	case string:
		return []byte(body)
	default:
		data, err := json.Marshal(body)
		require.NoError(t, err)
		return data
	}
}

func (r *recorded) header() http.Header {
	h := http.Header{}
	for name, value := range r.Header {
		if s, ok := value.(string); ok && !strings.EqualFold(name, "Content-Length") {
			h.Set(name, s) // the length is that of before the hosts were replaced
		}
	}
	return h
}

// replayCall makes the recorded call again.
func replayCall(t *testing.T, r, unauthorized *recorded) {
	s := newScript(t, r, unauthorized, r)
	client := s.client()
	if strings.ContainsAny(r.at(1), "!@#$%") { // the service's own tests ask for it, the client does not
		_, err := client.BackupKey(t.Context(), r.at(1))
		assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument)
		assert.Empty(t, s.sent)
		replayError(t, r, unauthorized)
		return
	}
	switch r.operation() {
	case "getKey":
		key, err := client.GetKey(t.Context(), r.at(1), r.at(2))
		checkKey(t, r, key, err)
	case "rotateKey":
		key, err := client.RotateKey(t.Context(), r.at(1))
		checkKey(t, r, key, err)
	case "restoreKey":
		key, err := client.RestoreKey(t.Context(), unbase64(t, r.Request["value"]))
		checkKey(t, r, key, err)
	case "backupKey":
		blob, err := client.BackupKey(t.Context(), r.at(1))
		checkValue(t, r, blob, err)
	case "wrapKey", "unwrapKey":
		convert := client.WrapKey
		if r.operation() == "unwrapKey" {
			convert = client.UnwrapKey
		}
		result, err := convert(t.Context(), r.at(1), r.at(2), akv.Algorithm(text(r.Request["alg"])), unbase64(t, r.Request["value"]))
		checkValue(t, r, result.Value, err)
		if err == nil {
			assert.Equal(t, r.Body.(map[string]any)["kid"], result.KeyID)
		}
	}
	require.Len(t, s.sent, 1)
	s.checkSent(0, r)
	r.consumed = true
}

// replayList lists all pages from the first one on.
func replayList(t *testing.T, first, unauthorized *recorded, pages map[string]*recorded) {
	chain := []*recorded{first}
	for next := first.next(); next != ""; next = chain[len(chain)-1].next() {
		page := pages[first.group()+" "+next]
		require.NotNil(t, page, "the page after %s is not recorded", chain[len(chain)-1])
		chain = append(chain, page)
	}
	s := newScript(t, first, unauthorized, chain...)
	client := s.client()
	list := client.Keys(t.Context())
	if first.operation() == "listKeyVersions" {
		list = client.KeyVersions(t.Context(), first.at(1))
	}
	var items []akv.KeyItem
	for item, err := range list {
		require.NoError(t, err)
		items = append(items, item)
	}
	checkItems(t, chain, items, nil)
	require.Len(t, s.sent, len(chain))
	for i, r := range chain {
		s.checkSent(i, r)
		r.consumed = true
	}
}

// replayError answers a GetKey with r, whatever r was the answer to.
func replayError(t *testing.T, r, unauthorized *recorded) {
	s := newScript(t, r, unauthorized, r)
	key, err := s.client().GetKey(t.Context(), "replay", "")
	assert.Nil(t, key)
	checkError(t, r, "getKey", err)
	require.Len(t, s.sent, 1)
	var e *ekm.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, s.sent[0].header.Get("X-Ms-Client-Request-Id"), e.CorrelationID)
	r.consumed = true
}

// replayChallenge reads r; has a call that finds its tenant by it; and one whose
// tokens are rejected with it for good.
func replayChallenge(t *testing.T, r *recorded) {
	c, err := challenge.Parse(r.header())
	require.NoError(t, err)
	checkChallenge(t, r, c)
	assert.NoError(t, challenge.Policy{}.Check(c, r.url().Host))

	bundle := &recorded{Status: http.StatusOK, URI: r.URI, Body: map[string]any{"key": map[string]any{
		"kid": "https://" + r.url().Host + "/keys/replay/1", "kty": "RSA", "e": "AQAB",
		"n": base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 256)),
	}}}
	s := newScript(t, r, r, bundle)
	key, err := s.client().GetKey(t.Context(), "replay", "1")
	checkKey(t, bundle, key, err)
	assert.Equal(t, []string{c.Authority + "/oauth2/v2.0/token"}, s.asked)
	assert.Equal(t, []string{c.Scope}, s.scopes)

	s = newScript(t, r, r, r, r)
	_, err = s.client().GetKey(t.Context(), "replay", "")
	checkError(t, r, "getKey", err)
	assert.Len(t, s.sent, 2)
	assert.Len(t, s.asked, 2, "a token, and a new one when it was rejected")
	r.consumed = true
}
