package aad_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
)

// On Windows one file has many names, and some names are of something else.
func TestArcKeyFileOnWindows(t *testing.T) {
	platformEnvironment(t, nil)
	const content = "the-key-of-the-agent"
	dir := filepath.Join(t.TempDir(), "Tokens")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.key"), []byte(content), 0o600))
	for name, c := range map[string]struct {
		path string
		good bool
	}{
		"another case":    {strings.ToUpper(dir) + `\a.key`, true},
		"another letter":  {strings.Replace(dir, "Tokens", "To\u212aens", 1) + `\a.key`, false}, // the Kelvin sign, a kind of K
		"slashes":         {filepath.ToSlash(dir) + "/a.key", true},
		"without a drive": {strings.TrimPrefix(dir, filepath.VolumeName(dir)) + `\a.key`, false},
		"a device's path": {`\\?\` + dir + `\a.key`, false},
		"another machine": {`\\machine.example\share\Tokens\a.key`, false},
		"a stream":        {dir + `\a.key:stream.key`, false},
		"slashes, dots":   {filepath.ToSlash(dir) + "/../Tokens/a.key", false},
	} {
		t.Run(name, func(t *testing.T) {
			agent := arcAgent("Basic realm="+c.path, content)
			cred := managedIdentity(t, &aad.ManagedIdentityOptions{Source: aad.Arc, ArcKeyDirectory: dir})
			_, err := tokensOf(t, cred, agent).Get(t.Context(), demand())
			if c.good {
				require.NoError(t, err)
				return
			}
			failureOf(t, err, ekm.ErrorHttpResponseCodeUnauthorized)
			assert.ErrorContains(t, err, "no .key file")
			assert.Len(t, agent.requests(), 1, "nothing was sent in answer")
		})
	}
}

// The folder is where Microsoft's page "Authenticate against Azure resources with
// Azure Arc-enabled servers" says, on whichever drive Windows has its data.
func TestArcKeyDirectoryOnWindows(t *testing.T) {
	platformEnvironment(t, nil)
	const content = "the-key-of-the-agent"
	data := t.TempDir()
	t.Setenv("ProgramData", data)
	dir := filepath.Join(data, "AzureConnectedMachineAgent", "Tokens")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	path := filepath.Join(dir, "a.key")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	cred := managedIdentity(t, &aad.ManagedIdentityOptions{Source: aad.Arc})
	_, err := tokensOf(t, cred, arcAgent("Basic realm="+path, content)).Get(t.Context(), demand())
	require.NoError(t, err)
}
