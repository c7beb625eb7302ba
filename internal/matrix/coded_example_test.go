package matrix_test

// codedExample is what the analysis is held against: the Bad functions may give an
// error without a code, the Good ones cannot.
const codedExample = `package example

import ("context"; "errors"; "fmt"; "io"; "iter"; "sync"; "github.com/akv-ekm/ekm")

var errPlain, errKind = errors.New("plain"), errors.New("kind")

func plain() error { return errPlain }
func two() (int, error) { return 0, plain() }
func coded() error { return &ekm.Error{Code: 1, Err: plain()} }
func wrap(err error) error { return &ekm.Error{Code: 1, Err: err} }
func passCoded(err error) error { return err }
func passPlain(err error) error { return err }

func BadDirect() error { return errors.New("x") }
func BadHelper() error { return passPlain(plain()) }
func BadForeign(r io.Reader) (int, error) { return r.Read(nil) }
func BadContext(ctx context.Context) error { return ctx.Err() }
func BadArgument(err error) error { return err }
func BadTuple() (int, error) { return two() }
func BadOwn() error { return own{} }
func GoodHelper() error { return passCoded(coded()) }
func GoodWrap() error { return wrap(fmt.Errorf("x: %w", plain())) }
func GoodCode() error { return ekm.ErrorUnknown }

// A code inside of another error does not count: see codedBody.wrapped.
func BadErrorf() error { return fmt.Errorf("x: %w", coded()) }
func BadJoin() error { return errors.Join(coded(), coded()) }

func BadVariable() error { err := coded(); if err == nil { _, err = two() }; return err }
func GoodVariable() error { _, err := two(); if err != nil { err = wrap(err) }; return err }
func BadShadow() (err error) { err = plain(); if err := coded(); err != nil { return err }; return }
func BadBare() (n int, err error) { n, err = two(); return }
func GoodBare() (n int, err error) { if n, err = two(); err != nil { err = wrap(err) }; return }
func BadDefer() (err error) { defer func() { err = plain() }(); return nil }
func GoodDefer() (err error) { defer func() { err = coded() }(); return nil }
func BadPointer() error { var err error; fill(&err); return err }
func fill(to *error) { *to = plain() }
func BadLoop() (err error) { last := coded(); for range 3 { err = last; last = plain() }; return err }
func BadBreak() error { var err error; for { if err = plain(); err != nil { break } }; return err }
func GoodLoop() error { for { if err := plain(); err == nil { return err } } }

func BadCheck() error { err := plain(); if e, ok := errors.AsType[*ekm.Error](err); !ok || e.Status == 1 { return err }; return nil }
func GoodCheck() error { err := plain(); if e, ok := errors.AsType[*ekm.Error](err); ok && e.Status == 1 { return err }; return nil }
func BadStale() error { err := coded(); _, ok := errors.AsType[*ekm.Error](err); if err = plain(); ok { return err }; return nil }
func GoodIs() error { err := plain(); if errors.Is(err, ekm.ErrorUnknown) { return err }; return nil }
func BadSwitch(n int) error { err := plain(); switch { case n == 1: return nil; case err == nil, n == 2: return err }; return nil }
func GoodSwitch(n int) error { err := plain(); switch { case err != nil: return wrap(err); case n == 2: return err }; return err }
func BadType() error { switch e := plain().(type) { case *ekm.Error: return e; default: return e } }
func GoodType() error { switch e := plain().(type) { case *ekm.Error: return e; default: return nil } }

func kind(n int) error { if n == 0 { return fmt.Errorf("%w: %d", errKind, n) }; return coded() }
func BadKind() error { return kind(0) }
func GoodKind() error { if err := kind(0); !errors.Is(err, errKind) { return err }; return nil }
type own struct{}
func (own) Error() string { return "" }
func makes() error { return own{} }
func GoodOwn() error { err := makes(); if _, ok := errors.AsType[own](err); !ok { return err }; return nil }

type bad interface { bad() error }
type good interface { good() error }
type Open interface { Open() error }
type one struct{}
type other struct{ err error }
func (one) bad() error { return coded() }
func (one) good() error { return coded() }
func (one) Open() error { return coded() }
func (o *other) bad() error { return o.err }
func set(o *other) { o.err = plain() }
func BadInterface(b bad) error { return b.bad() }
func GoodInterface(g good) error { return g.good() }
func BadOpen(o Open) error { return o.Open() }
type Options struct{ Load func() error; fine func() error }
var own1 = Options{fine: func() error { return coded() }}
func BadOption(o *Options) error { return o.Load() }
func GoodField(o *Options) error { return o.fine() }
var kept error
func Keep(err error) { kept = err }
func BadKept() error { return kept }
type T struct{ bad }
func (T) BadMethod() error { return plain() }
func (*T) GoodMethod() error { return coded() }

type box[V any] struct { v V; err error }
func (b *box[V]) do(work func() (V, error)) (V, error) { b.v, b.err = work(); return b.v, b.err }
func same[V any](v V) V { return v }
func try(f func() error) (err error) { for range 2 { if err = f(); err == nil { return nil } }; return err }
func tryGood(f func() error) (err error) { for range 2 { if err = f(); err == nil { return nil } }; return err }
func capture(err error) func() error { return func() error { return err } }
func BadGeneric() error { return same(plain()) }
func BadFlight() (int, error) { return new(box[int]).do(two) }
func BadLiteral() error { return func() error { return plain() }() }
func BadTry() error { return try(func() error { return plain() }) }
func GoodTry() error { return tryGood(func() error { return coded() }) }
func BadGiven(f func() error) error { return try(f) }
func BadCaptured() error { err := coded(); func() { err = plain() }(); return err }
func BadCapture() error { return capture(plain())() }
func BadOnce() error { return sync.OnceValue(coded)() }
func BadValue() func() error { return plain }
func GoodValue() func() error { return func() error { return wrap(plain()) } }
func GoodLocal() error { w := func(err error) error { return wrap(err) }; return w(plain()) }
func BadLocal() error { w := func(err error) error { return err }; return w(plain()) }

func even(n int) error { if n == 0 { return nil }; return odd(n - 1) }
func odd(n int) error { if n == 0 { return coded() }; return even(n - 1) }
func down(n int, err error) error { if n == 0 { return err }; return down(n-1, plain()) }
func GoodRecursion() error { return even(3) }
func BadRecursion() error { return down(3, coded()) }

func seq(err error) iter.Seq2[int, error] { return func(yield func(int, error) bool) { yield(0, err) } }
func seqGood() iter.Seq2[int, error] { return func(yield func(int, error) bool) { yield(0, coded()) } }
func BadSeq() iter.Seq2[int, error] { return seq(plain()) }
func GoodSeq() iter.Seq2[int, error] { return seqGood() }
func BadAll(yield func(int, error) bool) { seq(plain())(yield) }
func GoodAll(yield func(int, error) bool) { seqGood()(yield) }
func BadRange() error { for _, err := range seq(nil) { return err }; return nil }
func GoodRange() error { for _, err := range seqGood() { return err }; return nil }
func BadSlice(errs []error) error { for _, err := range errs { return err }; return nil }
func BadMap() error { return map[string]error{"": plain()}[""] }
func BadChannel(c chan error) error { select { case err := <-c: return err } }
`
