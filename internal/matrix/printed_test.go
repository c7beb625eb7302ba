package matrix_test

import (
	"fmt"
	"go/types"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNothingPrintsASecret reads the source for what the packages export: each type
// that could hold a secret and each function that makes a value of one. Each needs a
// row in printedRows, which makes such values out of secrets and prints them in all
// ways, or one in printedOpen, which says why there is nothing to hide.
func TestNothingPrintsASecret(t *testing.T) {
	l := newCodedLoader(t)
	needed := make(map[string]bool)
	for _, name := range []string{"", "akv", "aad", "challenge", "jwk", "retry", "proxy"} {
		pkg := l.checked[strings.TrimSuffix(codedModule+"/"+name, "/")]
		require.NotNil(t, pkg, name)
		for _, name := range printedNames(pkg) {
			needed[name] = true
		}
	}
	require.Greater(t, len(needed), 30)
	for name := range needed {
		_, open := printedOpen[name]
		_, row := printedRows[name]
		assert.True(t, open != row, "%s needs a row of printedRows or of printedOpen, and not of both", name)
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(printedOpen)), slices.Collect(maps.Keys(printedRows))) {
		assert.True(t, needed[name], "%s is not exported, or holds nothing that could be secret", name)
	}
	for _, name := range slices.Sorted(maps.Keys(printedRows)) {
		t.Run(name, func(t *testing.T) {
			p := &printing{T: t, words: make(map[uint]bool), exposed: printedExposed[name]}
			printedRows[name](p)
			require.NotEmpty(t, p.forms, "the row has no secret")
			assert.Equal(t, p.exposed != "", p.leaked, "whether printedExposed has it: %s", p.exposed)
		})
	}
}

// printedNames are the types and functions of pkg that need a row. A type that one
// of the functions makes needs none of its own.
func printedNames(pkg *types.Package) []string {
	var names []string
	made := make(map[types.Object]bool)
	scope := pkg.Scope()
	for _, name := range scope.Names() {
		fn, ok := scope.Lookup(name).(*types.Func)
		if !ok || !fn.Exported() {
			continue
		}
		for result := range fn.Signature().Results().Variables() {
			if named := printedModule(result.Type()); named != nil && printedHolds(named, nil) {
				made[named.Obj()] = true
				names = append(names, pkg.Name()+"."+name)
			}
		}
	}
	for _, name := range scope.Names() {
		o, ok := scope.Lookup(name).(*types.TypeName)
		if !ok || !o.Exported() || o.IsAlias() || made[o] {
			continue
		}
		if _, ok := o.Type().Underlying().(*types.Struct); ok && printedHolds(o.Type(), nil) {
			names = append(names, pkg.Name()+"."+name)
		}
	}
	return names
}

// printedModule is the module's struct or interface behind t, or nil.
func printedModule(t types.Type) *types.Named {
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		t = p.Elem()
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || !strings.HasPrefix(named.Obj().Pkg().Path(), codedModule) {
		return nil
	}
	if _, basic := named.Underlying().(*types.Basic); basic {
		return nil // a code, a name out of a fixed list
	}
	return named
}

// printedHolds reports whether a value of type t could hold a text or bytes,
// wherever in it.
func printedHolds(t types.Type, within []types.Type) bool {
	if slices.Contains(within, t) || types.TypeString(t, nil) == "time.Time" {
		return false
	}
	within = append(slices.Clip(within), t)
	switch t := t.Underlying().(type) {
	case *types.Basic:
		return t.Info()&types.IsString != 0 || t.Kind() == types.Uint8
	case *types.Struct:
		for field := range t.Fields() {
			if printedHolds(field.Type(), within) {
				return true
			}
		}
		return false
	case *types.Slice:
		return printedHolds(t.Elem(), within)
	case *types.Array:
		return printedHolds(t.Elem(), within)
	case *types.Pointer:
		return printedHolds(t.Elem(), within)
	default: // maps, functions, interfaces, channels
		return true
	}
}

// filled demands that each text and each byte slice in v's exported fields holds a
// secret, or is one of open: a new field has to be decided about.
func (p *printing) filled(v any, open ...string) {
	p.Helper()
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		text, isText := "", false
		switch {
		case v.Kind() == reflect.String:
			text, isText = v.String(), true
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
			text, isText = string(v.Bytes()), true
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String:
			text, isText = fmt.Sprint(v.Interface()), true
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					walk(v.Field(i), strings.TrimPrefix(path+"."+f.Name, "."))
				}
			}
		}
		if isText && !slices.Contains(open, path) {
			secret := slices.ContainsFunc(p.plain, func(s string) bool { return strings.Contains(text, s) })
			assert.True(p, secret, "the field %s needs a secret, or to be declared open", path)
		}
	}
	walk(reflect.ValueOf(v), "")
}

// TestPanics has a program die of a panic with each of the values.
func TestPanics(t *testing.T) {
	const variable = "EKM_TEST_PANIC"
	for name, value := range printedPanics {
		t.Run(name, func(t *testing.T) {
			p := &printing{T: t, words: make(map[uint]bool)}
			v := value(p)
			if os.Getenv(variable) != "" {
				panic(v)
			}
			require.NotEmpty(t, p.forms)
			again := exec.Command(os.Args[0], "-test.run", "^TestPanics$/^"+name+"$")
			again.Env = append(os.Environ(), variable+"=1", "GOTRACEBACK=system")
			trace, err := again.CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(trace), "panic: ")
			require.Contains(t, string(trace), "goroutine ")
			p.clean(name, "a panic's trace", string(trace))
		})
	}
}
