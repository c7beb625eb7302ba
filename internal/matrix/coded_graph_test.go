package matrix_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// A codedSpot is a place that an error can come from.
type codedSpot struct {
	kind codedKind
	of   any // *types.Func, *ast.FuncLit, *types.Var, or an origin's name and mark
	n    int // which result
}

type codedKind int

const (
	codedResult   codedKind = iota // result n of a function
	codedYield                     // what an iterator yields
	codedValue                     // a function as a value: all of the above
	codedVariable                  // a parameter, field (of any instance), global or captured variable
	codedOrigin                    // an expression that makes an error without a code
)

// A codedFlow says that an error may come, unchanged, from a spot: by an
// expression, and unless it is one that a check has ruled out.
type codedFlow struct {
	codedSpot
	at  token.Pos
	not string // marks, each between blanks
}

type codedFlows map[codedFlow]bool

// A codedGraph has a flow for each way that an error can take from function to
// function. It knows nothing of order, which codedBody does within each of them,
// and does not tell the calls of a function apart.
type codedGraph struct {
	*codedLoader
	flows  map[codedSpot]codedFlows
	bodies map[any]*codedBody        // by *types.Func or *ast.FuncLit
	params map[*types.Var]*codedBody // whose parameter it is
	shared map[*types.Var]bool       // also used by a closure, or its address taken
	values map[any]bool              // functions that are not only called
	api    map[any]bool              // packages and functions that others use
}

func newCodedGraph(l *codedLoader) *codedGraph {
	g := &codedGraph{
		codedLoader: l, flows: make(map[codedSpot]codedFlows), bodies: make(map[any]*codedBody),
		params: make(map[*types.Var]*codedBody), shared: make(map[*types.Var]bool), values: make(map[any]bool), api: make(map[any]bool),
	}
	for _, file := range l.files {
		for _, d := range file.Decls {
			g.declare(d)
		}
	}
	for _, b := range g.bodies {
		b.run()
	}
	return g
}

// declare notes the functions of a declaration, closures included, and which
// variables these share with the function around them.
func (g *codedGraph) declare(d ast.Decl) {
	name := ""
	add := func(fn any, sig *types.Signature, body *ast.BlockStmt) {
		g.bodies[fn] = &codedBody{codedGraph: g, fn: fn, name: name, sig: sig, block: body}
		for v := range sig.Params().Variables() {
			g.params[v] = g.bodies[fn]
		}
	}
	if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.VAR {
		name = codedName(g.info.Defs[d.Specs[0].(*ast.ValueSpec).Names[0]])
		add(d, &types.Signature{}, &ast.BlockStmt{List: []ast.Stmt{&ast.DeclStmt{Decl: d}}})
	}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			fn := g.info.Defs[n.Name].(*types.Func)
			name = codedName(fn)
			add(fn, fn.Signature(), n.Body)
			name += ".func"
		case *ast.FuncLit:
			add(n, g.info.TypeOf(n).(*types.Signature), n.Body)
			ast.Inspect(n, func(in ast.Node) bool {
				if id, ok := in.(*ast.Ident); ok {
					if v := g.variable(id); v != nil && (v.Pos() < n.Pos() || v.Pos() > n.End()) {
						g.shared[v] = true
					}
				}
				return true
			})
		case *ast.UnaryExpr:
			if v := g.variable(n.X); v != nil && n.Op == token.AND && types.IsInterface(v.Type()) {
				g.shared[v] = true // and set to what cannot be seen
				g.add(codedSpot{codedVariable, v, 0}, codedMade(n.Pos(), name+": "+types.ExprString(n), ""))
			}
		}
		return true
	})
}

// object is what an expression names, generic if it is an instance; or nil.
func (g *codedGraph) object(e ast.Expr) types.Object {
	switch e := ast.Unparen(e).(type) {
	case *ast.IndexExpr:
		if fn, ok := g.object(e.X).(*types.Func); ok {
			return fn
		}
	case *ast.IndexListExpr:
		return g.object(e.X)
	case *ast.SelectorExpr:
		return g.object(e.Sel)
	case *ast.Ident:
		switch o := g.info.ObjectOf(e).(type) {
		case *types.Func:
			return o.Origin()
		case *types.Var:
			return o.Origin()
		default:
			return o
		}
	}
	return nil
}

func (g *codedGraph) variable(e ast.Expr) *types.Var {
	v, _ := g.object(e).(*types.Var)
	return v
}

// codedName is like "aad.Tokens.Get".
func codedName(o types.Object) string {
	name := o.Name()
	if fn, ok := o.(*types.Func); ok && fn.Signature().Recv() != nil {
		receiver := types.TypeString(fn.Signature().Recv().Type(), func(*types.Package) string { return "" })
		receiver, _, _ = strings.Cut(receiver, "[")
		name = strings.TrimPrefix(receiver, "*") + "." + name
	}
	if o.Pkg() != nil {
		name = o.Pkg().Name() + "." + name
	}
	return name
}

var codedErrorType = types.Universe.Lookup("error").Type().Underlying().(*types.Interface)

// codedTracked reports whether a value of type t is an error or may be one, or is
// a function or iterator that gives one.
func codedTracked(t types.Type) bool {
	switch t := types.Unalias(t).(type) {
	case nil:
		return false
	case *types.TypeParam:
		return true
	case *types.Tuple:
		return slices.ContainsFunc(slices.Collect(t.Variables()), func(v *types.Var) bool { return codedTracked(v.Type()) })
	}
	if sig, ok := t.Underlying().(*types.Signature); ok {
		return codedTracked(sig.Results()) || sig.Params().Len() == 1 && codedIsYield(sig.Params().At(0).Type())
	}
	return types.Implements(t, codedErrorType)
}

// codedIsYield reports whether t is func(..., error) bool, as iterators have it.
func codedIsYield(t types.Type) bool {
	yield, ok := t.Underlying().(*types.Signature)
	return ok && yield.Results().String() == "(bool)" && yield.Params().Len() > 0 &&
		types.Implements(yield.Params().At(yield.Params().Len()-1).Type(), codedErrorType)
}

// codedHasCode reports whether a value of type t has a code in itself.
func codedHasCode(t types.Type) bool {
	s := types.TypeString(t, nil)
	return s == "*"+codedModule+".Error" || s == codedModule+".Code"
}

// implementations are the module's methods behind an interface's; open says that
// others may write more of them.
func (g *codedGraph) implementations(fn *types.Func) (all []any, open bool) {
	t := fn.Signature().Recv().Type()
	face := t.Underlying().(*types.Interface)
	named, ok := t.(*types.Named)
	open = !ok || !g.ours(fn) || named.Obj().Exported()
	for m := range face.Methods() {
		open = open && m.Exported()
	}
	for _, pkg := range g.checked {
		for _, name := range pkg.Scope().Names() {
			o, ok := pkg.Scope().Lookup(name).(*types.TypeName)
			if !ok || types.IsInterface(o.Type()) || !types.Implements(types.NewPointer(o.Type()), face) {
				continue
			}
			m, _, _ := types.LookupFieldOrMethod(types.NewPointer(o.Type()), false, fn.Pkg(), fn.Name())
			if m, ok := m.(*types.Func); ok && g.bodies[m.Origin()] != nil {
				all = append(all, m.Origin())
			}
		}
	}
	return all, open
}

// ours reports whether a function is one of the module's, whose source is known.
func (g *codedGraph) ours(fn *types.Func) bool {
	return fn.Pkg() != nil && g.checked[fn.Pkg().Path()] != nil
}

// global reports whether a variable is one for all calls of a function.
func (g *codedGraph) global(v *types.Var) bool {
	return g.shared[v] || v.IsField() || codedPackageLevel(v)
}

func codedPackageLevel(v *types.Var) bool { return v.Pkg() != nil && v.Parent() == v.Pkg().Scope() }

func (g *codedGraph) add(s codedSpot, more codedFlows) {
	if g.flows[s] == nil {
		g.flows[s] = make(codedFlows)
	}
	maps.Copy(g.flows[s], more)
}

// codedFrom is the flow from one spot.
func codedFrom(kind codedKind, of any, n int, at token.Pos) codedFlows {
	return codedFlows{{codedSpot: codedSpot{kind, of, n}, at: at}: true}
}

// codedMade is the flow from an origin. The mark says what errors.Is or AsType
// would find in the error: a type or variable.
func codedMade(at token.Pos, name, mark string) codedFlows {
	return codedFrom(codedOrigin, [2]string{name, mark}, 0, at)
}

// next is where the errors in a spot may come from.
func (g *codedGraph) next(s codedSpot) codedFlows {
	all := maps.Clone(g.flows[s])
	if all == nil {
		all = make(codedFlows)
	}
	switch s.kind {
	case codedValue:
		maps.Copy(all, codedFrom(codedYield, s.of, 0, 0))
		for i := range g.bodies[s.of].sig.Results().Len() {
			maps.Copy(all, codedFrom(codedResult, s.of, i, 0))
		}
	case codedVariable:
		// Beyond what has been seen there is what callers from outside put there, or
		// whoever else may have got hold of the function.
		v := s.of.(*types.Var)
		if v.IsField() && v.Exported() && g.api[v.Pkg()] {
			maps.Copy(all, codedMade(v.Pos(), codedName(v), ""))
		}
		if b := g.params[v]; b != nil {
			if _, closure := b.fn.(*ast.FuncLit); closure || g.api[b.fn] || g.values[b.fn] {
				maps.Copy(all, codedMade(v.Pos(), b.name+"("+v.Name()+")", ""))
			}
		}
	}
	return all
}

// A codedWitness is an origin and the way from it to an exported function.
type codedWitness struct{ origin, chain string }

// witnesses are the origins of errors without a code that fn can give, each with
// the shortest way to it. Nothing is coded by assumption: a recursive function is
// coded if no way leads out of the recursion to an origin.
func (g *codedGraph) witnesses(fn *types.Func) (found []codedWitness) {
	type visit struct {
		codedSpot
		not string
	}
	type step struct {
		visit
		line string
		from *step
	}
	seen := make(map[visit]bool)
	for queue := []*step{{visit{codedSpot{codedValue, fn, 0}, ""}, codedName(fn), nil}}; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		if origin, ok := s.of.([2]string); ok {
			var chain []string
			for at := s; at != nil; at = at.from {
				chain = append(chain, at.line)
			}
			slices.Reverse(chain)
			found = append(found, codedWitness{origin[0], strings.Join(slices.Compact(chain), "\n\t→ ")})
			continue
		}
		next := slices.SortedFunc(maps.Keys(g.next(s.codedSpot)), func(a, b codedFlow) int { return cmp.Compare(a.at, b.at) })
		for _, f := range next {
			v := visit{f.codedSpot, codedExclude(s.not, f.not)}
			if !seen[v] && !v.isOneOf(v.not) {
				seen[v] = true
				queue = append(queue, &step{v, g.line(f, s.line), s})
			}
		}
	}
	return found
}

// line is a flow's line in a chain: what it comes from, and the expression.
func (g *codedGraph) line(f codedFlow, same string) string {
	name := ""
	switch of := f.of.(type) {
	case [2]string:
		name = of[0]
	case *types.Var:
		if name = codedName(of); g.params[of] != nil {
			name = g.params[of].name + "(" + of.Name() + ")"
		}
	default:
		name = g.bodies[of].name
	}
	if !f.at.IsValid() {
		return same // from a function to its result
	}
	p := g.fset.Position(f.at)
	return fmt.Sprintf("%s, at %s/%s:%d", name, filepath.Base(filepath.Dir(p.Filename)), filepath.Base(p.Filename), p.Line)
}

// isOneOf reports whether the errors in s are those that marks rule out.
func (s codedSpot) isOneOf(marks string) bool {
	mark := ""
	switch of := s.of.(type) {
	case [2]string:
		mark = of[1]
	case *types.Var:
		if codedPackageLevel(of) {
			mark = codedName(of)
		}
	}
	return mark != "" && strings.Contains(marks, " "+mark+" ")
}

func codedExclude(not, more string) string {
	all := append(strings.Fields(not), strings.Fields(more)...)
	slices.Sort(all)
	return " " + strings.Join(slices.Compact(all), " ") + " "
}
