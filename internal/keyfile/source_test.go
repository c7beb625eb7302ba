package keyfile_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOnePlacePerCode: which line raises 3812? There is one answer.
func TestOnePlacePerCode(t *testing.T) {
	want := map[string]int{
		"ErrorPfxCertAuthParamsImportPfx":              1,
		"ErrorPfxCertAuthParamsGetThumbprint":          1,
		"ErrorPfxCertAuthParamsGetPrivateKey":          1,
		"ErrorPfxCertAuthParamsSignAlg":                1,
		"ErrorPfxCertAuthParamsImportForSign":          1,
		"ErrorPEMCertAuthParamsGetThumbprint":          1,
		"ErrorPEMCertAuthParamsGetPrivateKey":          1,
		"ErrorPEMCertAuthParamsSignAlg":                1,
		"ErrorPEMCertAuthParamsImportForSign":          1,
		"ErrorLegacyPrivateKeyAuthParamsSignAlg":       1,
		"ErrorLegacyPrivateKeyAuthParamsImportForSign": 1,
	}
	got, literals, calls := map[string]int{}, 0, 0
	for _, f := range sources(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "ekm" && (strings.HasPrefix(n.Sel.Name, "Error") && n.Sel.Name != "Error") {
					got[n.Sel.Name]++
				}
			case *ast.CompositeLit:
				if s, ok := n.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Error" {
					literals++
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "fail" {
					calls++
				}
			}
			return true
		})
	}
	require.Equal(t, want, got)
	require.Equal(t, 1, literals, "only fail makes an *ekm.Error")
	require.Equal(t, len(want), calls, "each call of fail names one code")
}

func sources(t *testing.T) []*ast.File {
	t.Helper()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	var files []*ast.File
	for _, e := range entries {
		if n := e.Name(); strings.HasSuffix(n, ".go") && !strings.HasSuffix(n, "_test.go") {
			f, err := parser.ParseFile(token.NewFileSet(), n, nil, 0)
			require.NoError(t, err)
			files = append(files, f)
		}
	}
	require.NotEmpty(t, files)
	return files
}
