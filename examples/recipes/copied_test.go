package recipes_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each example is copied with vault_test.go into a package of another module, and runs
// there: it needs nothing else of this one than what everybody can import.
func TestExamplesRunOnceCopied(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	// The versions of what the library depends on are the library's.
	mod := strings.Replace(read(t, root, "go.mod"), "module github.com/akv-ekm/ekm", "module contoso.example/program", 1) +
		"\nrequire github.com/akv-ekm/ekm v0.0.0\nreplace github.com/akv-ekm/ekm => " + strconv.Quote(filepath.ToSlash(root)) + "\n"
	write(t, dir, "go.mod", mod)
	write(t, dir, "go.sum", read(t, root, "go.sum"))
	examples, err := filepath.Glob("example_*_test.go")
	require.NoError(t, err)
	require.NotEmpty(t, examples)
	for _, file := range examples {
		for _, name := range []string{file, "vault_test.go"} {
			write(t, filepath.Join(dir, strings.TrimSuffix(file, "_test.go")), name, read(t, ".", name))
		}
	}
	run := exec.CommandContext(t.Context(), "go", "test", "-v", "./...")
	run.Dir, run.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	out, err := run.CombinedOutput()
	require.NoError(t, err, string(out))
	require.GreaterOrEqual(t, strings.Count(string(out), "--- PASS: Example"), len(examples), string(out))
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return string(text)
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}
