package aad_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
)

func TestArcKeyFile(t *testing.T) {
	platformEnvironment(t, nil)
	const content, other = "the-key-of-the-agent", "something-else-that-is-secret"
	for name, c := range map[string]struct {
		challenge func(t *testing.T, dir string) string
		good      bool
		says      string
	}{
		"right":            {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/a.key" }, true, ""},
		"quoted":           {func(_ *testing.T, dir string) string { return `Basic realm="` + dir + `/a.key"` }, true, ""},
		"exactly 4096":     {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/limit.key" }, true, ""},
		"4097 bytes":       {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/large.key" }, false, "4096"},
		"missing":          {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/none.key" }, false, "cannot be read"},
		"directory":        {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/sub.key" }, false, "regular file"},
		"symbolic link":    {func(t *testing.T, dir string) string { return "Basic realm=" + linked(t, dir) + "/link.key" }, false, "regular file"},
		"other extension":  {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/other.txt" }, false, "no .key file"},
		"no extension":     {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/key" }, false, "no .key file"},
		"below":            {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/sub.key/a.key" }, false, "no .key file"},
		"elsewhere":        {func(_ *testing.T, dir string) string { return "Basic realm=" + filepath.Dir(dir) + "/else.key" }, false, "no .key file"},
		"dots":             {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/../else.key" }, false, "no .key file"},
		"dots and back":    {func(_ *testing.T, dir string) string { return "Basic realm=" + dir + "/sub.key/../a.key" }, false, "no .key file"},
		"relative":         {func(*testing.T, string) string { return "Basic realm=a.key" }, false, "no .key file"},
		"two parameters":   {func(_ *testing.T, dir string) string { return `Basic realm="` + dir + `/a.key", charset="UTF-8"` }, false, "no .key file"},
		"empty realm":      {func(*testing.T, string) string { return "Basic realm=" }, false, "no .key file"},
		"no realm":         {func(*testing.T, string) string { return "Basic" }, false, "names no file"},
		"no challenge":     {func(*testing.T, string) string { return "" }, false, "names no file"},
		"another scheme":   {func(_ *testing.T, dir string) string { return "Bearer realm=" + dir + "/a.key" }, false, "names no file"},
		"directory itself": {func(_ *testing.T, dir string) string { return "Basic realm=" + dir }, false, "no .key file"},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "tokens")
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub.key"), 0o700))
			for file, text := range map[string]string{
				"a.key": content, "limit.key": content + strings.Repeat("x", 4096-len(content)), "large.key": other + strings.Repeat("x", 4097-len(other)),
				"other.txt": other, "key": other, "sub.key/a.key": other, "../else.key": other,
			} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
			}
			agent := arcAgent(filepath.FromSlash(c.challenge(t, dir)), content)
			cred := managedIdentity(t, &aad.ManagedIdentityOptions{Source: aad.Arc, ArcKeyDirectory: dir})
			token, err := tokensOf(t, cred, agent).Get(t.Context(), demand())
			seen := agent.requests()
			if c.good {
				require.NoError(t, err)
				assert.Equal(t, "good", token.Reveal())
				assert.Len(t, seen, 2)
				return
			}
			if strings.Contains(c.says, "no .key file") || strings.Contains(c.says, "names no file") {
				e := failureOf(t, err, ekm.ErrorHttpResponseCodeUnauthorized)
				assert.Equal(t, ekm.ManagedIdentity, e.Party)
				assert.Equal(t, 401, e.Status)
			} else { // the agent did its part
				e := failureOf(t, err, ekm.ErrorGetTokenFailedToGetToken)
				assert.Equal(t, ekm.Local, e.Party)
			}
			assert.ErrorContains(t, err, c.says)
			require.Len(t, seen, 1, "nothing was sent in answer")
			assert.Empty(t, seen[0].Header.Get("Authorization"))
			assert.NotContains(t, err.Error(), other)
		})
	}
}

// arcAgent answers with a challenge whoever does not show content.
func arcAgent(header, content string) *wiretap {
	return &wiretap{next: roundTrip(func(r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.Header.Get("Authorization"), "Basic "+content) {
			return replyWith(r, 200, nil, goodReply), nil
		}
		return replyWith(r, 401, http.Header{"Www-Authenticate": {header}}, ""), nil
	})}
}

// linked puts a link to a file outside into dir.
func linked(t *testing.T, dir string) string {
	t.Helper()
	err := os.Symlink(filepath.Join(dir, "..", "else.key"), filepath.Join(dir, "link.key"))
	if noPrivilege := syscall.Errno(1314); errors.Is(err, noPrivilege) { // ERROR_PRIVILEGE_NOT_HELD
		t.Skip("Windows lets only administrators, and all in developer mode, make symbolic links")
	}
	require.NoError(t, err)
	return dir
}

// The agent may refuse the proof, too; and its content stays out of the error.
func TestArcKeyRefused(t *testing.T) {
	platformEnvironment(t, nil)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.key"), []byte("the-key-of-the-agent"), 0o600))
	agent := &wiretap{next: roundTrip(func(r *http.Request) (*http.Response, error) {
		body := `{"error":"unauthorized","error_description":"not ` + strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ") + `"}`
		return replyWith(r, 401, http.Header{"Www-Authenticate": {"Basic realm=" + filepath.Join(dir, "a.key")}}, body), nil
	})}
	cred := managedIdentity(t, &aad.ManagedIdentityOptions{Source: aad.Arc, ArcKeyDirectory: dir})
	_, err := tokensOf(t, cred, agent).Get(t.Context(), demand())
	e := failureOf(t, err, ekm.ErrorHttpResponseCodeUnauthorized)
	assert.Len(t, agent.requests(), 2, "one proof, not one after another")
	assert.NotContains(t, fmt.Sprintf("%+v %#v", err, *e), "the-key-of")
	assert.Contains(t, e.Message, "[redacted]")
}
