package matrix_test

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"maps"
	"strings"
)

// A codedBody walks through one function in the order of its statements, and knows
// at each point what its variables may hold. Closures are walked by themselves.
type codedBody struct {
	*codedGraph
	fn    any
	name  string
	sig   *types.Signature
	block *ast.BlockStmt
	exits []*codedState // of the statements around, for break and continue
}

// A codedState is what the variables may hold; nil where control does not get to.
type codedState map[*types.Var]codedHeld

// What is held: errors, or whether another variable has an error of a type in it.
type codedHeld struct {
	flows   codedFlows
	checked *types.Var
	typ     types.Type
}

func (b *codedBody) run() {
	st := codedState{}
	for v := range b.sig.Params().Variables() {
		b.set(v, codedFrom(codedVariable, v, 0, v.Pos()), st)
	}
	for v := range b.sig.Results().Variables() {
		b.set(v, nil, st)
	}
	b.exec(b.block, st)
}

// exec is the state after a statement.
func (b *codedBody) exec(s ast.Stmt, st codedState) codedState {
	if st == nil || s == nil {
		return st
	}
	switch s := s.(type) {
	case *ast.BlockStmt:
		return b.list(s.List, st)
	case *ast.LabeledStmt:
		return b.exec(s.Stmt, st)
	case *ast.IfStmt:
		st = b.exec(s.Init, st)
		b.look(s.Cond, st)
		return codedJoin(b.exec(s.Body, b.refine(s.Cond, true, st)), b.exec(s.Else, b.refine(s.Cond, false, st)))
	case *ast.ForStmt:
		return b.loop(b.exec(s.Init, st), s, nil)
	case *ast.RangeStmt:
		b.look(s.X, st)
		return b.loop(st, &ast.ForStmt{Body: s.Body}, s)
	case *ast.SwitchStmt:
		st = b.exec(s.Init, st)
		b.look(s.Tag, st)
		return b.choice(s.Body.List, s.Tag == nil, st)
	case *ast.TypeSwitchStmt:
		return b.choice(s.Body.List, false, b.exec(s.Init, st))
	case *ast.SelectStmt:
		return b.choice(s.Body.List, false, st)
	case *ast.BranchStmt:
		if s.Tok == token.GOTO || s.Tok == token.FALLTHROUGH {
			b.Fatalf("%v: %v is not provided for", b.fset.Position(s.Pos()), s.Tok)
		}
		for _, exit := range b.exits { // of one of them, in truth
			*exit = codedJoin(*exit, st)
		}
		return nil
	case *ast.ReturnStmt:
		b.look(s, st)
		b.returns(s, st)
		return nil
	case *ast.AssignStmt:
		b.look(s, st)
		b.assign(s.Lhs, s.Rhs, st)
	case *ast.DeclStmt:
		b.look(s, st)
		for _, spec := range s.Decl.(*ast.GenDecl).Specs {
			if spec, ok := spec.(*ast.ValueSpec); ok {
				names := make([]ast.Expr, len(spec.Names))
				for i, name := range spec.Names {
					names[i] = name
				}
				b.assign(names, spec.Values, st)
			}
		}
	default: // calls and sends
		b.look(s, st)
	}
	return st
}

func (b *codedBody) list(all []ast.Stmt, st codedState) codedState {
	for _, s := range all {
		st = b.exec(s, st)
	}
	return st
}

// inside is the state after a statement that can be left by break or continue,
// and the state at those.
func (b *codedBody) inside(exec func() codedState) (end, left codedState) {
	b.exits = append(b.exits, &left)
	end = exec()
	b.exits = b.exits[:len(b.exits)-1]
	return end, left
}

// loop goes round until nothing new comes about.
func (b *codedBody) loop(st codedState, s *ast.ForStmt, r *ast.RangeStmt) codedState {
	for {
		b.look(s.Cond, st)
		in := b.refine(s.Cond, true, st)
		if r != nil {
			b.element(r.Key, r.X, in)
			b.element(r.Value, r.X, in)
		}
		end, left := b.inside(func() codedState { return b.exec(s.Body, in) })
		next := codedJoin(st, b.exec(s.Post, codedJoin(end, left)))
		if maps.EqualFunc(next, st, func(a, b codedHeld) bool { return a.checked == b.checked && maps.Equal(a.flows, b.flows) }) {
			if s.Cond == nil && r == nil {
				return left
			}
			return codedJoin(left, b.refine(s.Cond, false, st))
		}
		st = next
	}
}

// element sets a variable of a range loop.
func (b *codedBody) element(to, from ast.Expr, st codedState) {
	if v := b.variable(to); v != nil {
		flows := b.origin(from, "")
		if _, iterator := b.info.TypeOf(from).Underlying().(*types.Signature); iterator {
			flows = b.eval(from, 0, st)
		}
		b.set(v, flows, st)
	}
}

// choice is the state after a switch or select. In a bare switch each case knows
// that those before it do not hold.
func (b *codedBody) choice(clauses []ast.Stmt, bare bool, st codedState) codedState {
	return codedJoin(b.inside(func() (out codedState) {
		var rest []ast.Stmt // the default
		for _, clause := range clauses {
			c, ok := clause.(*ast.CaseClause)
			if !ok {
				c := clause.(*ast.CommClause)
				out = codedJoin(out, b.list(c.Body, b.exec(c.Comm, maps.Clone(st))))
				continue
			}
			if c.List == nil {
				rest = c.Body
				continue
			}
			in := maps.Clone(st)
			if bare {
				in = nil
			}
			for _, e := range c.List {
				if b.look(e, st); bare {
					in, st = codedJoin(in, b.refine(e, true, st)), b.refine(e, false, st)
				}
			}
			out = codedJoin(out, b.list(c.Body, in))
		}
		return codedJoin(out, b.list(rest, st))
	}))
}

func (b *codedBody) returns(s *ast.ReturnStmt, st codedState) {
	for i := range b.sig.Results().Len() {
		v := b.sig.Results().At(i)
		var flows codedFlows
		switch {
		case s.Results == nil:
			flows = b.read(v, s, st)
		case len(s.Results) < b.sig.Results().Len():
			flows = b.eval(s.Results[0], i, st)
		default:
			flows = b.eval(s.Results[i], 0, st)
		}
		if b.shared[v] { // a deferred function may change it yet
			b.set(v, flows, st)
			flows = b.read(v, s, st)
		}
		b.add(codedSpot{codedResult, b.fn, i}, flows)
	}
}

func (b *codedBody) assign(to, from []ast.Expr, st codedState) {
	if _, ok := b.fn.(*ast.GenDecl); ok && b.variable(to[0]) != nil {
		b.name = codedName(b.variable(to[0]))
	}
	flows := make([]codedFlows, len(to))
	for i := range to {
		switch len(from) {
		case len(to):
			flows[i] = b.eval(from[i], 0, st)
		case 1:
			flows[i] = b.eval(from[0], i, st)
		}
	}
	for i, to := range to {
		if v := b.variable(to); v != nil {
			b.set(v, flows[i], st)
		}
	}
	if len(to) != 2 || len(from) != 1 {
		return
	}
	c, ok := from[0].(*ast.CallExpr)
	if ok && b.calls(c, "errors.AsType") && b.variable(to[1]) != nil {
		st[b.variable(to[1])] = codedHeld{checked: b.variable(c.Args[0]), typ: b.info.TypeOf(c).(*types.Tuple).At(0).Type()}
	}
}

// calls reports whether c is a call of a function by its full name.
func (b *codedBody) calls(c *ast.CallExpr, name string) bool {
	fn, ok := b.object(c.Fun).(*types.Func)
	return ok && fn.FullName() == name
}

func (b *codedBody) set(v *types.Var, flows codedFlows, st codedState) {
	if b.global(v) {
		b.add(codedSpot{codedVariable, v, 0}, flows)
		return
	}
	maps.DeleteFunc(st, func(_ *types.Var, held codedHeld) bool { return held.checked == v })
	st[v] = codedHeld{flows: flows}
}

func (b *codedBody) read(v *types.Var, at ast.Node, st codedState) codedFlows {
	if b.global(v) {
		return codedFrom(codedVariable, v, 0, at.Pos())
	}
	if held, ok := st[v]; ok {
		return held.flows
	}
	return codedMade(at.Pos(), b.name+": "+v.Name(), "") // of a type switch
}

// eval is where the errors in an expression's i-th value may come from.
func (b *codedBody) eval(e ast.Expr, i int, st codedState) codedFlows {
	e = ast.Unparen(e)
	t := b.info.TypeOf(e)
	if tuple, ok := t.(*types.Tuple); ok {
		t = tuple.At(i).Type()
	}
	if !codedTracked(t) || codedHasCode(t) || b.info.Types[e].IsNil() {
		return nil
	}
	if _, function := t.Underlying().(*types.Signature); !function && !types.IsInterface(t) {
		return b.origin(e, types.TypeString(t, nil)) // an error type of its own
	}
	switch e := e.(type) {
	case *ast.FuncLit:
		return codedFrom(codedValue, e, 0, e.Pos())
	case *ast.CallExpr:
		return b.result(e, i, st)
	}
	switch o := b.object(e).(type) {
	case *types.Nil:
		return nil
	case *types.Var:
		return b.read(o, e, st)
	case *types.Func:
		b.values[o] = true
		if b.bodies[o] != nil {
			return codedFrom(codedValue, o, 0, e.Pos())
		}
	}
	return b.origin(e, "")
}

func (b *codedBody) origin(e ast.Expr, mark string) codedFlows {
	text := types.ExprString(e)
	if c, ok := e.(*ast.CallExpr); ok {
		text = types.ExprString(c.Fun)
	}
	return codedMade(e.Pos(), b.name+": "+text, mark)
}

// result is where the errors in a call's i-th result may come from.
func (b *codedBody) result(c *ast.CallExpr, i int, st codedState) codedFlows {
	if b.info.Types[c.Fun].IsType() {
		return b.eval(c.Args[0], 0, st)
	}
	all, open := b.callees(c)
	flows := make(codedFlows)
	for _, fn := range all {
		maps.Copy(flows, codedFrom(codedResult, fn, i, c.Pos()))
	}
	fn, named := b.object(c.Fun).(*types.Func)
	switch {
	case !open:
	case !named: // a function value
		maps.Copy(flows, b.eval(c.Fun, 0, st))
	case b.ours(fn): // an interface's method, which anybody may write
		maps.Copy(flows, codedMade(c.Pos(), codedName(fn), ""))
	default:
		maps.Copy(flows, b.origin(c, b.wrapped(c)))
	}
	return flows
}

// callees are the functions that a call may call; open says that there may be more.
func (b *codedBody) callees(c *ast.CallExpr) (all []any, open bool) {
	fn, ok := b.object(c.Fun).(*types.Func)
	switch {
	case ok && fn.Signature().Recv() != nil && types.IsInterface(fn.Signature().Recv().Type()):
		return b.implementations(fn)
	case ok && b.bodies[fn] != nil:
		return []any{fn}, false
	}
	return nil, true
}

// wrapped is the error variable in fmt.Errorf("%w...", variable), which errors.Is
// finds. To wrap an *ekm.Error so, or with errors.Join, counts as an error without
// a code all the same: what makes no *ekm.Error hides operation and party, and
// has no code at all if what it wraps is nil.
func (b *codedBody) wrapped(c *ast.CallExpr) string {
	if !b.calls(c, "fmt.Errorf") || len(c.Args) < 2 {
		return ""
	}
	format, v := b.info.Types[c.Args[0]].Value, b.variable(c.Args[1])
	if v == nil || !codedPackageLevel(v) || format == nil || !strings.HasPrefix(constant.StringVal(format), "%w") {
		return ""
	}
	return codedName(v)
}

// look notes what a statement's calls are given, and what its composite literals
// put into fields.
func (b *codedBody) look(n ast.Node, st codedState) {
	if n == nil {
		return
	}
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.CallExpr:
			if b.info.Types[n.Fun].IsValue() {
				b.call(n, st)
			}
		case *ast.CompositeLit:
			b.fields(n, st)
		}
		return true
	})
}

func (b *codedBody) fields(lit *ast.CompositeLit, st codedState) {
	t := b.info.TypeOf(lit).Underlying()
	if p, ok := t.(*types.Pointer); ok { // of []*T{{...}}
		t = p.Elem().Underlying()
	}
	s, ok := t.(*types.Struct)
	if !ok {
		return
	}
	for i, e := range lit.Elts {
		field := s.Field(i)
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			field, e = b.variable(kv.Key), kv.Value
		}
		b.set(field.Origin(), b.eval(e, 0, st), st)
	}
}

// call puts arguments into parameters.
func (b *codedBody) call(c *ast.CallExpr, st codedState) {
	all, _ := b.callees(c)
	for i, arg := range c.Args {
		n := 1
		if tuple, ok := b.info.TypeOf(arg).(*types.Tuple); ok {
			n = tuple.Len() // f(g())
		}
		for j := range n {
			flows := b.eval(arg, j, st)
			for _, fn := range all {
				params := b.bodies[fn].sig.Params()
				b.add(codedSpot{codedVariable, params.At(min(i+j, params.Len()-1)), 0}, flows)
			}
			if p := b.yields(c.Fun); p != nil {
				b.add(codedSpot{codedYield, p.fn, 0}, flows)
			}
		}
		if p := b.yields(arg); p != nil { // another iterator yields in place of this one
			b.add(codedSpot{codedYield, p.fn, 0}, b.eval(c.Fun, 0, st))
		}
	}
}

// yields is the iterator whose parameter, for errors to be yielded to, e is.
func (b *codedBody) yields(e ast.Expr) *codedBody {
	if v := b.variable(e); v != nil && codedIsYield(v.Type()) {
		return b.params[v]
	}
	return nil
}

// refine is st where cond is known to be want.
func (b *codedBody) refine(cond ast.Expr, want bool, st codedState) codedState {
	st = maps.Clone(st)
	if st == nil || cond == nil {
		return st
	}
	switch c := ast.Unparen(cond).(type) {
	case *ast.UnaryExpr:
		if c.Op == token.NOT {
			return b.refine(c.X, !want, st)
		}
	case *ast.BinaryExpr:
		and := c.Op == token.LAND
		switch {
		case (and || c.Op == token.LOR) && and == want:
			return b.refine(c.Y, want, b.refine(c.X, want, st))
		case and || c.Op == token.LOR:
			return codedJoin(b.refine(c.X, want, st), b.refine(c.Y, want, b.refine(c.X, !want, st)))
		case b.info.Types[c.Y].IsNil() && (c.Op == token.EQL) == want:
			b.limit(b.variable(c.X), nil, st)
		}
	case *ast.Ident: // the answer of errors.AsType
		if held := st[b.variable(c)]; held.checked != nil {
			b.found(held.checked, held.typ, types.TypeString(held.typ, nil), want, st)
		}
	case *ast.CallExpr:
		if b.calls(c, "errors.Is") {
			mark := ""
			if target := b.variable(c.Args[1]); target != nil && codedPackageLevel(target) {
				mark = codedName(target)
			}
			b.found(b.variable(c.Args[0]), b.info.TypeOf(c.Args[1]), mark, want, st)
		}
	}
	return st
}

// found notes that there is an error of type t in v, or none with the mark.
func (b *codedBody) found(v *types.Var, t types.Type, mark string, there bool, st codedState) {
	switch {
	case there && codedHasCode(t):
		b.limit(v, nil, st)
	case !there:
		flows := make(codedFlows)
		for f := range st[v].flows {
			f.not = codedExclude(f.not, mark)
			flows[f] = true
		}
		b.limit(v, flows, st)
	}
}

// limit is set, but what was found of v before still holds.
func (b *codedBody) limit(v *types.Var, flows codedFlows, st codedState) {
	if held, ok := st[v]; ok {
		held.flows = flows
		st[v] = held
	}
}

// codedJoin is what is known where two ways meet.
func codedJoin(a, b codedState) codedState {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	all := make(codedState)
	for _, st := range []codedState{a, b} {
		for v, held := range st {
			flows := make(codedFlows)
			maps.Copy(flows, a[v].flows)
			maps.Copy(flows, b[v].flows)
			if held.flows = flows; a[v].checked != b[v].checked {
				held.checked = nil
			}
			all[v] = held
		}
	}
	return all
}
