// Package flight shares work among callers: for each key at most one call of a
// function runs, everybody who wants its result waits for it, and each leaves
// when its own context ends.
//
// The function runs in a goroutine of the group's. If it panics there, the panic is
// raised again in the goroutine of each caller that waits, where it can be
// recovered: as an error that holds the panic's value and the stack on which it
// was raised, and that unwraps to the value if that is an error. If nobody waits,
// it ends there, and is the flight's failure. If the function ends its goroutine
// with runtime.Goexit, each caller gets an error. In all cases the key is free for
// a new flight.
package flight

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A Group runs one flight for each key. The zero Group is ready; it must not be copied.
type Group[K comparable, V any] struct {
	mu      sync.Mutex
	flights map[K]*flight[V]
}

type flight[V any] struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int       // callers; at zero the flight is called off
	latest  time.Time // of their deadlines
	endless bool      // somebody waits without one

	value    V
	err      error
	panicked *panicked // in place of both
}

// Do returns what work returns, where work runs in a goroutine of its own and at
// most once at a time for key. Its context carries the values of the ctx that
// started it, ends when nobody waits any more, and has the latest deadline of
// those who wait. A caller whose ctx ends gets a [*Left], and the others their
// result. If work panics, so does Do.
func (g *Group[K, V]) Do(ctx context.Context, key K, work func(context.Context) (V, error)) (V, error) {
	if err := ctx.Err(); err != nil {
		var none V
		return none, &Left{Cause: err}
	}
	g.mu.Lock()
	f := g.flights[key]
	if f == nil {
		f = g.start(context.WithoutCancel(ctx), key, work)
	}
	f.waiting++
	if deadline, ok := ctx.Deadline(); !ok {
		f.endless = true
	} else if deadline.After(f.latest) {
		f.latest = deadline
	}
	g.mu.Unlock()

	select {
	case <-f.done:
		return f.result()
	case <-ctx.Done():
		var none V
		return none, &Left{Cause: ctx.Err(), Last: g.leave(key, f)}
	}
}

var errNoReturn = errors.New("the work ended without a result")

// Left is the error of a caller whose context ended before the flight did.
type Left struct {
	Cause error // the context's error
	Last  error // what the flight then ended with, if nobody else was waiting and it ended at once
}

func (l *Left) Error() string { return l.Cause.Error() }
func (l *Left) Unwrap() error { return l.Cause }

// patience is a flight's context. Its deadline is the latest of those who wait,
// so that work need not begin what nobody would see the end of; it moves as
// callers come and go.
type patience[V any] struct {
	context.Context
	g groupLock
	f *flight[V]
}

type groupLock interface{ lock() func() }

func (p *patience[V]) Deadline() (time.Time, bool) {
	defer p.g.lock()()
	if p.f.endless || p.f.latest.IsZero() {
		return p.Context.Deadline()
	}
	return p.f.latest, true
}

func (g *Group[K, V]) lock() func() {
	g.mu.Lock()
	return g.mu.Unlock
}

// Go starts a flight for key that nobody waits for, unless one is running, and
// reports whether it did. Its context ends with ctx. If work panics, callers of Do
// that have joined the flight panic, and nobody else.
func (g *Group[K, V]) Go(ctx context.Context, key K, work func(context.Context) (V, error)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flights[key] != nil {
		return false
	}
	f := g.start(ctx, key, work)
	f.waiting++ // one that never leaves
	f.endless = true
	return true
}

// start begins a flight; g.mu is held.
func (g *Group[K, V]) start(ctx context.Context, key K, work func(context.Context) (V, error)) *flight[V] {
	ctx, cancel := context.WithCancel(ctx)
	f := &flight[V]{done: make(chan struct{}), cancel: cancel}
	if g.flights == nil {
		g.flights = make(map[K]*flight[V])
	}
	g.flights[key] = f
	go func() {
		defer cancel()
		defer func() { // also if work does not return but ends its goroutine
			g.mu.Lock()
			if g.flights[key] == f {
				delete(g.flights, key)
			}
			g.mu.Unlock()
			close(f.done)
		}()
		f.run(&patience[V]{ctx, g, f}, work)
	}()
	return f
}

// run calls work and notes what it ends with: a result, a panic, or neither.
func (f *flight[V]) run(ctx context.Context, work func(context.Context) (V, error)) {
	f.err = errNoReturn
	defer func() {
		if v := recover(); v != nil {
			f.panicked = caught(v)
		}
	}()
	f.value, f.err = work(ctx)
}

// result is what the flight ended with, for one who waits.
func (f *flight[V]) result() (V, error) {
	if f.panicked != nil {
		panic(f.panicked)
	}
	return f.value, f.err
}

// leave takes a waiter off. The last one calls the flight off, and makes room
// for a new one: who comes later must not inherit a cancelled result. It then
// waits a moment for what the flight has to say, which tells more than a deadline.
func (g *Group[K, V]) leave(key K, f *flight[V]) error {
	g.mu.Lock()
	f.waiting--
	last := f.waiting == 0
	if last {
		f.cancel()
		if g.flights[key] == f {
			delete(g.flights, key)
		}
	}
	g.mu.Unlock()
	if !last {
		return nil
	}
	const grace = 5 * time.Millisecond
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-f.done:
		_, err := f.result()
		return err
	case <-timer.C:
		return nil
	}
}
