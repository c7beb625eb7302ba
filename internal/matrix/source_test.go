package matrix_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
)

// root is the module's folder.
const root = "../.."

// libraries are the packages that fail with codes, the module's root first. The
// fake is the other party: its numbers are HTTP statuses.
func libraries() []string {
	return []string{
		".", "akv", "aad", "challenge", "jwk", "retry", "proxy",
		"internal/wire", "internal/flight", "internal/keyfile", "internal/b64", "internal/hidden", "internal/tlserr", "internal/unseen", "internal/misplaced", "internal/clouds",
	}
}

// A place is where a code is raised.
type place struct {
	file string // from the module's root
	line int
	in   string // function
	step string // field of package akv's table of codes in which it stands, if it does
}

// In is the function, for the page.
func (p place) In() string { return p.in }

func (p place) String() string { return fmt.Sprintf("%s:%d (%s)", p.file, p.line, p.in) }

// TestOnePlace: "which line raises 3408?" has one answer.
func TestOnePlace(t *testing.T) {
	raising := places(t)
	for _, c := range raised() {
		if c < ekm.SCPErrKeyNameDoesNotFitThumbprint {
			continue // results of a provider, which several causes share by design
		}
		assert.Len(t, raising[c], 1, "%v is raised at %v", c, raising[c])
	}
	for c, where := range raising {
		assert.Contains(t, raised(), c, "%v, raised at %v, is not among the codes that are", c, where)
	}
}

// TestPlacesAreFound: the search tells what raises a code from what compares with one.
func TestPlacesAreFound(t *testing.T) {
	names := map[string]ekm.Code{"ErrorA": 1, "ErrorB": 2, "ErrorC": 3, "ErrorD": 4, "ErrorE": 5}
	const source = `package p
import "github.com/akv-ekm/ekm"
var table = map[ekm.Code]bool{ekm.ErrorE: true}
func f(e *ekm.Error) error {
	if e.Code == ekm.ErrorA || errors.Is(e, ekm.ErrorA) || ekm.ErrorA != e.Code { e.Code = ekm.ErrorB }
	switch e.Code { case ekm.ErrorA, ekm.ErrorB: return fail(ekm.ErrorC) }
	return &ekm.Error{Code: ekm.ErrorD}
}
func (s *t) g() { return other.ErrorA }`
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", source, 0)
	require.NoError(t, err)
	found := make(map[ekm.Code][]string)
	findPlaces(fset, file, names, func(c ekm.Code, p place) { found[c] = append(found[c], p.String()) })
	assert.Equal(t, map[ekm.Code][]string{2: {"p.go:5 (f)"}, 3: {"p.go:6 (f)"}, 4: {"p.go:7 (f)"}, 5: {"p.go:3 (table)"}}, found)
}

// places finds where each code is raised, outside tests.
func places(t testing.TB) map[ekm.Code][]place {
	t.Helper()
	found, err := readPlaces()
	require.NoError(t, err)
	return found
}

var readPlaces = sync.OnceValues(func() (map[ekm.Code][]place, error) {
	fset := token.NewFileSet()
	names, err := constants(fset)
	if err != nil {
		return nil, err
	}
	found := make(map[ekm.Code][]place)
	for _, folder := range libraries() {
		files, err := sources(fset, folder)
		if err != nil {
			return nil, err
		}
		steps := findSteps(fset, files)
		for _, file := range files {
			findPlaces(fset, file, names, func(c ekm.Code, p place) {
				// These give a number to what nobody here has raised.
				if p.in == "CodeOf" && c == ekm.ErrorUnknown || p.in == "ProviderCode" && (c == ekm.ErrorUnknown || c == ekm.SCPErrSuccess) {
					return
				}
				where := []place{p}
				if p.step != "" {
					where = steps[p.step] // the table says which code, the step raises it
				}
				for _, p := range where {
					p.file = filepath.ToSlash(strings.TrimPrefix(p.file, filepath.FromSlash(root+"/")))
					found[c] = append(found[c], p)
				}
			})
		}
	}
	return found, nil
})

// sources parses a package, without tests.
func sources(fset *token.FileSet, folder string) ([]*ast.File, error) {
	names, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("no source in %s: %w", folder, err)
	}
	var files []*ast.File
	for _, name := range names {
		if folder == "." && filepath.Base(name) != "errors.go" || strings.HasSuffix(name, "_test.go") {
			continue // the root's other files are the table
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// findSteps finds where the fields of package akv's table of codes are used, by
// their names: codes.member, or family.codes().path.
func findSteps(fset *token.FileSet, files []*ast.File) map[string][]place {
	steps := make(map[string][]place)
	for _, file := range files {
		for _, decl := range file.Decls {
			ast.Inspect(decl, func(n ast.Node) bool {
				field, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				of := field.X
				if call, ok := of.(*ast.CallExpr); ok {
					of = call.Fun
					if method, ok := of.(*ast.SelectorExpr); ok {
						of = method.Sel
					}
				}
				if table, ok := of.(*ast.Ident); ok && table.Name == "codes" {
					at := fset.Position(n.Pos())
					steps[field.Sel.Name] = append(steps[field.Sel.Name], place{file: at.Filename, line: at.Line, in: declared(decl)})
				}
				return true
			})
		}
	}
	return steps
}

// TestCodesAreSaidByName: no code is made of a number, and no error without one.
func TestCodesAreSaidByName(t *testing.T) {
	fset := token.NewFileSet()
	for _, folder := range libraries() {
		files, err := sources(fset, folder)
		require.NoError(t, err)
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					assert.NotEqual(t, "Code", constantName(n.Fun, false), "%v: a conversion to ekm.Code", fset.Position(n.Pos()))
				case *ast.CompositeLit:
					if constantName(n.Type, false) != "Error" {
						break
					}
					coded := slices.ContainsFunc(n.Elts, func(e ast.Expr) bool {
						kv, ok := e.(*ast.KeyValueExpr)
						return ok && kv.Key.(*ast.Ident).Name == "Code"
					})
					// Refusal fills it in by the status, in the switch that follows.
					isRefusal := fset.Position(n.Pos()).Filename == filepath.Join(root, "internal", "wire", "code.go")
					assert.True(t, coded || isRefusal, "%v: an ekm.Error without a Code", fset.Position(n.Pos()))
				}
				return true
			})
		}
	}
}

// constants reads codes.go: the codes by the names of their constants.
func constants(fset *token.FileSet) (map[string]ekm.Code, error) {
	file, err := parser.ParseFile(fset, filepath.Join(root, "codes.go"), nil, 0)
	if err != nil {
		return nil, err
	}
	names := make(map[string]ekm.Code)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Code" {
			if value, ok := spec.Values[0].(*ast.BasicLit); ok {
				number, _ := strconv.Atoi(value.Value)
				names[spec.Names[0].Name] = ekm.Code(number)
			}
		}
		return true
	})
	if len(names) != len(ekm.Codes()) {
		err = fmt.Errorf("codes.go has %d constants for %d codes", len(names), len(ekm.Codes()))
	}
	return names, err
}

// findPlaces reports each use of a code's constant that raises it: every one but
// a comparison, a case, and an argument of errors.Is.
func findPlaces(fset *token.FileSet, file *ast.File, names map[string]ekm.Code, report func(ekm.Code, place)) {
	for _, decl := range file.Decls {
		var stack []ast.Node
		ast.Inspect(decl, func(n ast.Node) bool {
			if n == nil {
				stack = stack[:len(stack)-1]
				return true
			}
			if name := constantName(n, file.Name.Name == "ekm"); name != "" && !compares(stack, n) {
				if c, ok := names[name]; ok {
					at := fset.Position(n.Pos())
					report(c, place{at.Filename, at.Line, declared(decl), stepOf(stack)})
				}
			}
			stack = append(stack, n)
			return true
		})
	}
}

// constantName is X of ekm.X, or of X alone in that package.
func constantName(n ast.Node, inside bool) string {
	switch n := n.(type) {
	case *ast.SelectorExpr:
		if x, ok := n.X.(*ast.Ident); ok && x.Name == "ekm" {
			return n.Sel.Name
		}
	case *ast.Ident:
		if inside {
			return n.Name
		}
	}
	return ""
}

// stepOf is the field of a composite literal codes{field: ...} that a node is the
// value of.
func stepOf(stack []ast.Node) string {
	if len(stack) < 2 {
		return ""
	}
	kv, ok := stack[len(stack)-1].(*ast.KeyValueExpr)
	if !ok {
		return ""
	}
	literal, ok := stack[len(stack)-2].(*ast.CompositeLit)
	if !ok {
		return ""
	}
	if name, ok := literal.Type.(*ast.Ident); !ok || name.Name != "codes" {
		return ""
	}
	return kv.Key.(*ast.Ident).Name
}

func compares(stack []ast.Node, n ast.Node) bool {
	switch parent := stack[len(stack)-1].(type) {
	case *ast.BinaryExpr:
		return parent.Op == token.EQL || parent.Op == token.NEQ
	case *ast.CaseClause:
		return slices.ContainsFunc(parent.List, func(e ast.Expr) bool { return e == n })
	case *ast.CallExpr:
		fun, ok := parent.Fun.(*ast.SelectorExpr)
		return ok && fun.Sel.Name == "Is"
	}
	return false
}

// declared names what a declaration declares.
func declared(decl ast.Decl) string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return d.Name.Name
		}
		receiver := d.Recv.List[0].Type
		if star, ok := receiver.(*ast.StarExpr); ok {
			receiver = star.X
		}
		return fmt.Sprintf("%s.%s", receiver, d.Name.Name)
	case *ast.GenDecl:
		if spec, ok := d.Specs[0].(*ast.ValueSpec); ok {
			return spec.Names[0].Name
		}
	}
	return ""
}

// TestAllLibrariesAreRead: a package that is added is read too.
func TestAllLibrariesAreRead(t *testing.T) {
	// Not the library: its opposite, its tests, its examples, other modules.
	others := []string{"internal/fakevault", "internal/nettest", "internal/matrix", "internal/soak", "examples", "interop", "bench", "tools", "docs"}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		folder, _ := filepath.Rel(root, path)
		folder = filepath.ToSlash(folder)
		if d.IsDir() && (slices.Contains(others, folder) || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && folder != ".") {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			assert.Contains(t, libraries(), filepath.ToSlash(filepath.Dir(folder)))
		}
		return nil
	})
	require.NoError(t, err)
	_, err = os.Stat(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
}
