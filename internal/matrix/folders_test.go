package matrix_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFolders: the README's table and the list in doc.go have every folder with Go code,
// and the libraries import nothing that stands below them in it.
func TestFolders(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), "| folder |")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	rows := []string{"."}
	for line := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z0-9/]+)/`").FindAllStringSubmatch(cell, -1) {
			rows = append(rows, m[1])
		}
	}
	for _, folder := range folders(t) {
		assert.Contains(t, rows, folder)
	}
	text, err = os.ReadFile(filepath.Join(root, "doc.go"))
	require.NoError(t, err)
	_, list, found := strings.Cut(string(text), "// The folders of the module")
	require.True(t, found)
	list, _, _ = strings.Cut(list, "//\n// #")
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^//\t([a-z0-9/.]+) `).FindAllStringSubmatch(list, -1) {
		listed = append(listed, m[1])
	}
	assert.Equal(t, rows, listed, "doc.go has the same folders, in the same order")
	for _, library := range libraries() {
		place := slices.Index(rows, library)
		require.GreaterOrEqual(t, place, 0, library)
		for _, path := range importsOf(t, library) {
			assert.Less(t, slices.Index(rows, path), place, "%s imports %s", library, path)
		}
	}
}

// folders are those that one would look for: at the top, and in internal.
func folders(t *testing.T) []string {
	var found []string
	for _, pattern := range []string{"*/*.go", "*/go.mod", "internal/*/*.go", "*/*/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, file := range files {
			folder, err := filepath.Rel(root, filepath.Dir(file))
			require.NoError(t, err)
			folder = filepath.ToSlash(folder)
			if top, _, deep := strings.Cut(folder, "/"); deep && top != "internal" {
				folder = top
			}
			if !strings.HasPrefix(folder, ".") && !slices.Contains(found, folder) {
				found = append(found, folder)
			}
		}
	}
	require.Contains(t, found, "internal/wire")
	return found
}

// importsOf are the folders of ours that the package in folder imports.
func importsOf(t *testing.T, folder string) []string {
	const module = "github.com/akv-ekm/ekm"
	files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	require.NoError(t, err)
	var found []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			if path == module {
				found = append(found, ".")
			} else if ours, ok := strings.CutPrefix(path, module+"/"); ok {
				found = append(found, ours)
			}
		}
	}
	return found
}
