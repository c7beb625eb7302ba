package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The example with OpenTelemetry runs in a module of its own, once copied.
func TestOpenTelemetryExampleRunsOnceCopied(t *testing.T) {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	dir := t.TempDir()
	for _, name := range []string{"example_otel_test.go", "go.mod", "go.sum"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		// The versions are those of this module.
		changed := strings.NewReplacer(
			"module github.com/akv-ekm/ekm/interop", "module contoso.example/program",
			"=> ../", "=> "+strconv.Quote(filepath.ToSlash(root)),
		).Replace(string(text))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(changed), 0o600))
	}
	run := exec.CommandContext(t.Context(), "go", "test", "-v", ".")
	run.Dir, run.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	out, err := run.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: Example_openTelemetry")
}
