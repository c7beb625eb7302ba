package matrix_test

import (
	"flag"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const codedModule = "github.com/akv-ekm/ekm"

// codedExceptions are the origins of errors without a code that exported functions
// may return, each with the reason.
var codedExceptions = map[string]string{
	"retry.Gate.Do(try)":           "the caller's own function; documented: an error that is not an *ekm.Error is returned as it is",
	"retry.Policy.Do(try)":         "as with Gate.Do",
	"retry.Call.Do(try)":           "as with Gate.Do",
	"akv.errTokenGone: errors.New": "akv's own function, see Call.Do(try); call.exchange does not pass it on",
}

// TestCodedErrors reads the source and proves that no exported function or method
// of the six packages returns, or yields, an error without a code. With
// -system windows it reads what is compiled there.
func TestCodedErrors(t *testing.T) {
	l := newCodedLoader(t)
	g := newCodedGraph(l)
	var packages []*types.Package
	for _, name := range []string{"akv", "aad", "challenge", "jwk", "retry", "proxy"} {
		packages = append(packages, l.checked[codedModule+"/"+name])
	}
	roots := g.exported(packages)
	require.Greater(t, len(roots), 30, "exported functions that return errors or iterators")
	found, used := make(map[string]string), make(map[string]bool)
	for _, root := range roots {
		for _, w := range g.witnesses(root) {
			if _, used[w.origin] = codedExceptions[w.origin]; used[w.origin] {
				continue
			}
			if old, ok := found[w.origin]; !ok || len(w.chain) < len(old) {
				found[w.origin] = w.chain
			}
		}
	}
	chains := slices.Sorted(maps.Values(found))
	for _, chain := range chains[:min(10, len(chains))] { // a single mistake can let a hundred through
		t.Errorf("an error without a code, one of %d:\n\t%s", len(chains), chain)
	}
	for name, why := range codedExceptions {
		assert.True(t, used[name], "%s: there is nothing of this name, or no exported function returns its errors (%s)", name, why)
	}
}

// A codedLoader type-checks the module's packages from source, and takes all
// others from the compiler's export data.
type codedLoader struct {
	*testing.T
	fset    *token.FileSet
	info    *types.Info // of all packages checked
	files   []*ast.File
	checked map[string]*types.Package
	library types.Importer
}

var system = flag.String("system", runtime.GOOS, "the system whose source TestCodedErrors reads")

func newCodedLoader(t *testing.T) *codedLoader {
	list := exec.Command("go", "list", "-export", "-deps", "-f", `{{.ImportPath}}|{{.Export}}|{{.Dir}}|{{join .GoFiles "|"}}`,
		codedModule+"/akv", codedModule+"/aad", codedModule+"/challenge", codedModule+"/jwk", codedModule+"/retry", codedModule+"/proxy")
	list.Env = append(os.Environ(), "GOOS="+*system)
	list.Stderr = os.Stderr
	out, err := list.Output()
	require.NoError(t, err)
	l := &codedLoader{T: t, fset: token.NewFileSet(), checked: make(map[string]*types.Package), info: &types.Info{
		Types: make(map[ast.Expr]types.TypeAndValue), Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object),
	}}
	export := make(map[string]string)
	l.library = importer.ForCompiler(l.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(export[path]) })
	// In the order of go list a package comes behind what it imports.
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		export[f[0]] = f[1]
		if f[0] != codedModule && !strings.HasPrefix(f[0], codedModule+"/") || f[3] == "" {
			continue
		}
		var files []*ast.File
		for _, name := range f[3:] {
			file, err := parser.ParseFile(l.fset, filepath.Join(f[2], name), nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			files = append(files, file)
		}
		l.check(f[0], files)
	}
	return l
}

func (l *codedLoader) check(path string, files []*ast.File) {
	l.Helper()
	pkg, err := (&types.Config{Importer: l}).Check(path, l.fset, files, l.info)
	require.NoError(l, err)
	l.checked[path] = pkg
	l.files = append(l.files, files...)
}

// Import implements [types.Importer].
func (l *codedLoader) Import(path string) (*types.Package, error) {
	if pkg := l.checked[path]; pkg != nil {
		return pkg, nil
	}
	return l.library.Import(path)
}

// exported lists the exported functions of packages, and the exported methods of
// their exported types, that have a result to look at.
func (g *codedGraph) exported(packages []*types.Package) []*types.Func {
	var all []*types.Func
	add := func(o types.Object) {
		fn, ok := o.(*types.Func)
		if !ok || !fn.Exported() || g.bodies[fn.Origin()] == nil {
			return
		}
		g.api[fn.Origin()] = true
		if codedTracked(fn.Type()) {
			all = append(all, fn.Origin())
		}
	}
	for _, pkg := range packages {
		g.api[pkg] = true
		for _, name := range pkg.Scope().Names() {
			o := pkg.Scope().Lookup(name)
			if !o.Exported() {
				continue
			}
			add(o)
			if _, ok := o.(*types.TypeName); ok && !types.IsInterface(o.Type()) {
				for m := range types.NewMethodSet(types.NewPointer(o.Type())).Methods() {
					add(m.Obj())
				}
			}
		}
	}
	return all
}

// TestCodedErrorsFinds holds the analysis against functions that are known to be
// bad or good.
func TestCodedErrorsFinds(t *testing.T) {
	l := newCodedLoader(t)
	file, err := parser.ParseFile(l.fset, "example.go", codedExample, parser.SkipObjectResolution)
	require.NoError(t, err)
	l.check("example", []*ast.File{file})
	g := newCodedGraph(l)
	for _, root := range g.exported([]*types.Package{l.checked["example"]}) {
		t.Run(root.Name(), func(t *testing.T) {
			found := g.witnesses(root)
			assert.Equal(t, strings.HasPrefix(root.Name(), "Bad"), len(found) > 0, "%v", found)
		})
	}
}
