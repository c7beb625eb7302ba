// Package flight shares work among callers: for each key at most one call of a
// function runs, everybody who wants its result waits for it, and each leaves
// when its own context ends.
package flight

import (
	"context"
	"sync"
)

// A Group runs one flight for each key. The zero Group is ready; it must not be copied.
type Group[K comparable, V any] struct {
	mu      sync.Mutex
	flights map[K]*flight[V]
}

type flight[V any] struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int // callers; at zero the flight is called off
	value   V
	err     error
}

// Do returns what work returns, where work runs in a goroutine of its own and at
// most once at a time for key. Its context carries the values of the ctx that
// started it, ends when nobody waits any more, and has no deadline of its own:
// work sets one. A caller whose ctx ends gets ctx's error, and the others their
// result.
func (g *Group[K, V]) Do(ctx context.Context, key K, work func(context.Context) (V, error)) (V, error) {
	if err := ctx.Err(); err != nil {
		var none V
		return none, err
	}
	g.mu.Lock()
	f := g.flights[key]
	if f == nil {
		f = g.start(context.WithoutCancel(ctx), key, work)
	}
	f.waiting++
	g.mu.Unlock()

	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		g.leave(key, f)
		var none V
		return none, ctx.Err()
	}
}

// Go starts a flight for key that nobody waits for, unless one is running, and
// reports whether it did. Its context ends with ctx.
func (g *Group[K, V]) Go(ctx context.Context, key K, work func(context.Context) (V, error)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flights[key] != nil {
		return false
	}
	f := g.start(ctx, key, work)
	f.waiting++ // one that never leaves
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
		f.value, f.err = work(ctx)
		g.mu.Lock()
		if g.flights[key] == f {
			delete(g.flights, key)
		}
		g.mu.Unlock()
		close(f.done)
	}()
	return f
}

// leave takes a waiter off. The last one calls the flight off, and makes room
// for a new one: who comes later must not inherit a cancelled result.
func (g *Group[K, V]) leave(key K, f *flight[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if g.flights[key] == f {
			delete(g.flights, key)
		}
	}
}
