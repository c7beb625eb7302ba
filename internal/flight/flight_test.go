package flight_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/flight"
)

type group = flight.Group[string, int]

func TestOneFlightForManyCallers(t *testing.T) {
	for _, failure := range []error{nil, errors.New("no")} {
		synctest.Test(t, func(t *testing.T) {
			var g group
			var flights atomic.Int32
			var wg sync.WaitGroup
			start := time.Now()
			for range 100 {
				wg.Go(func() {
					n, err := g.Do(t.Context(), "k", func(context.Context) (int, error) {
						time.Sleep(time.Second)
						return int(flights.Add(1)), failure
					})
					assert.Equal(t, 1, n)
					assert.Equal(t, failure, err)
					assert.Equal(t, time.Second, time.Since(start))
				})
			}
			wg.Wait()
			n, _ := g.Do(t.Context(), "k", func(context.Context) (int, error) { return int(flights.Add(1)), nil })
			assert.Equal(t, 2, n, "nothing is kept")
		})
	}
}

func TestEachLeavesAtItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		var calledOff time.Duration
		start := time.Now()
		var wg sync.WaitGroup
		for i := 1; i <= 10; i++ {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Second)
				defer cancel()
				_, err := g.Do(ctx, "k", func(ctx context.Context) (int, error) {
					synctest.Wait() // until all have come
					latest, limited := ctx.Deadline()
					assert.True(t, limited)
					assert.Equal(t, 10*time.Second, latest.Sub(start), "of those who wait")
					<-ctx.Done()
					calledOff = time.Since(start)
					return 0, ctx.Err()
				})
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, time.Duration(i)*time.Second, time.Since(start))
			})
		}
		wg.Wait()
		synctest.Wait()
		assert.Equal(t, 10*time.Second, calledOff)
	})
}

func TestNewcomerAfterTheLastLeaver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.Do(ctx, "k", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			time.Sleep(time.Minute) // slow to notice
			return 1, ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		// The old flight ends while the new one is in the air, and must not take it along.
		second := func(context.Context) (int, error) { time.Sleep(2 * time.Minute); return 2, nil }
		results := make(chan int, 2)
		for range 2 {
			go func() {
				n, err := g.Do(t.Context(), "k", second)
				assert.NoError(t, err)
				results <- n
			}()
			time.Sleep(90 * time.Second)
		}
		assert.Equal(t, 2, <-results)
		assert.Equal(t, 2, <-results)
	})
}

func TestEndedContext(t *testing.T) {
	var g group
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := g.Do(ctx, "k", func(context.Context) (int, error) {
		t.Error("started")
		return 0, nil
	})
	assert.ErrorIs(t, err, context.Canceled)
}

type valueKey struct{}

func TestContextValues(t *testing.T) {
	var g group
	n, err := g.Do(context.WithValue(t.Context(), valueKey{}, 7), "k", func(ctx context.Context) (int, error) {
		return ctx.Value(valueKey{}).(int), nil
	})
	require.NoError(t, err)
	assert.Equal(t, 7, n)
}

func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		work := func(ctx context.Context) (int, error) {
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(time.Minute):
				return 1, nil
			}
		}
		require.True(t, g.Go(ctx, "k", work))
		require.False(t, g.Go(ctx, "k", work), "one is running")
		assert.Zero(t, time.Since(start), "does not block")

		// A caller joins and leaves; the flight goes on, for nobody.
		short, done := context.WithTimeout(t.Context(), time.Second)
		defer done()
		_, err := g.Do(short, "k", nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		n, err := g.Do(t.Context(), "k", nil)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		assert.Equal(t, time.Minute, time.Since(start))

		require.True(t, g.Go(ctx, "k", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}))
		_, err = g.Do(t.Context(), "k", nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Hour, time.Since(start), "ends with its context")
	})
}

func TestKeysAreApart(t *testing.T) {
	var g flight.Group[int, int]
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			for j := range 50 {
				key := (i + j) % 7
				ctx, cancel := context.WithCancel(t.Context())
				if j%5 == 0 {
					go cancel()
				}
				n, err := g.Do(ctx, key, func(ctx context.Context) (int, error) { return key, ctx.Err() })
				if err == nil {
					assert.Equal(t, key, n)
				} else {
					assert.ErrorIs(t, err, context.Canceled)
					assert.Error(t, ctx.Err(), "nobody gets another's cancellation")
				}
				cancel()
			}
		})
	}
	wg.Wait()
}

func TestDeadlineOfOneWhoHasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		work := func(ctx context.Context) (int, error) {
			time.Sleep(2 * time.Second)
			_, limited := ctx.Deadline()
			assert.False(t, limited)
			return 7, nil
		}
		wg.Go(func() {
			_, err := g.Do(ctx, "k", work)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		})
		wg.Go(func() {
			v, err := g.Do(t.Context(), "k", work)
			assert.NoError(t, err)
			assert.Equal(t, 7, v)
		})
		wg.Wait()
	})
}

// The last one to leave learns what the flight ended with.
func TestLastOneLearnsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		why := errors.New("the line is dead")
		_, err := g.Do(ctx, "k", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, why
		})
		var left *flight.Left
		assert.ErrorAs(t, err, &left)
		assert.Equal(t, why, left.Last)
		assert.Equal(t, context.DeadlineExceeded, left.Cause)
	})
}

func TestGoroutineThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		_, err := g.Do(t.Context(), "k", func(context.Context) (int, error) {
			runtime.Goexit()
			return 0, nil
		})
		assert.Error(t, err)
		v, err := g.Do(t.Context(), "k", func(context.Context) (int, error) { return 7, nil })
		assert.NoError(t, err)
		assert.Equal(t, 7, v)
	})
}

type mishap struct{ n int }

func (m *mishap) Error() string { return "a mishap" }

// raise is where the tests' panics come from: their stacks name it.
//
//go:noinline
func raise(v any) { panic(v) }

// A panic is raised again in each goroutine that waits, with its value and the
// stack that tells where it came from.
func TestPanicIsRaisedInEachCaller(t *testing.T) {
	mine := &mishap{7}
	for name, value := range map[string]any{"text": "a mishap", "error": mine, "wrapped error": fmt.Errorf("outer: %w", mine), "other": struct{ s string }{"a mishap"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g group
				var panics atomic.Int32
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						v := recovered(func() {
							_, _ = g.Do(t.Context(), "k", func(context.Context) (int, error) {
								synctest.Wait() // until all have come
								panics.Add(1)
								raise(value)
								return 0, nil
							})
						})
						err, ok := v.(error)
						if !assert.True(t, ok, "%T", v) {
							return
						}
						assert.Contains(t, err.Error(), "mishap")
						assert.Contains(t, err.Error(), "flight_test.raise(", "the stack of the first panic")
						if _, wrapped := value.(error); wrapped {
							found, _ := errors.AsType[*mishap](err)
							assert.Same(t, mine, found)
						}
					})
				}
				wg.Wait()
				assert.EqualValues(t, 1, panics.Load(), "one flight")
				works(t, &g)
			})
		})
	}
}

func recovered(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// works fails the test if the group does not serve its callers any more.
func works(t *testing.T, g *group) {
	t.Helper()
	v, err := g.Do(t.Context(), "k", func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, v)
}

// In the background nobody waits, and the panic ends there; unless somebody has joined.
func TestPanicInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		slow := func(context.Context) (int, error) {
			time.Sleep(time.Second)
			panic("a mishap")
		}
		require.True(t, g.Go(t.Context(), "k", slow))
		time.Sleep(2 * time.Second)
		works(t, &g)

		require.True(t, g.Go(t.Context(), "k", slow))
		v := recovered(func() { _, _ = g.Do(t.Context(), "k", nil) })
		assert.ErrorContains(t, v.(error), "a mishap")
		works(t, &g)
	})
}

// The last caller to leave waits a moment for what the flight has to say. A panic
// in this moment is raised; a later one has nobody to be raised in.
func TestPanicOfAFlightCalledOff(t *testing.T) {
	for after, raised := range map[time.Duration]bool{0: true, time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			var g group
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var err error
			v := recovered(func() {
				_, err = g.Do(ctx, "k", func(ctx context.Context) (int, error) {
					<-ctx.Done()
					time.Sleep(after)
					panic("a mishap")
				})
			})
			if raised {
				assert.ErrorContains(t, v.(error), "a mishap")
			} else {
				assert.Nil(t, v)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			}
			time.Sleep(2 * time.Second)
			works(t, &g)
		})
	}
}

// A flight in a flight, as where one shared step needs another: the stack that is
// told is the first.
func TestPanicInAFlightOfAFlight(t *testing.T) {
	var outer, inner group
	v := recovered(func() {
		_, _ = outer.Do(t.Context(), "k", func(ctx context.Context) (int, error) {
			return inner.Do(ctx, "k", func(context.Context) (int, error) { raise("a mishap"); return 0, nil })
		})
	})
	text := v.(error).Error()
	assert.Contains(t, text, "flight_test.raise(")
	assert.Equal(t, 1, strings.Count(text, "a mishap"), "once, not one in the other")
	works(t, &outer)
	works(t, &inner)
}
