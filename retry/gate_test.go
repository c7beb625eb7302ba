package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/retry"
)

// slow is a try that takes 10 ms and then ends with err's result.
func slow(err func() error) func(context.Context) error {
	return func(ctx context.Context) error {
		if cause := pass(ctx, 10*time.Millisecond); cause != nil {
			return cause
		}
		return err()
	}
}

func fine() error { return nil }

// A burst that nobody throttles is not paced: it takes as many round trips as it
// has times the tries that may be under way.
func TestGateUnthrottledBurst(t *testing.T) {
	for calls, want := range map[int]time.Duration{1: 10, 80: 10, 81: 20, 2000: 250, 4000: 500} {
		synctest.Test(t, func(t *testing.T) {
			var g retry.Gate
			var wg sync.WaitGroup
			start := time.Now()
			for range calls {
				wg.Go(func() { assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(fine))) })
			}
			wg.Wait()
			assert.LessOrEqual(t, time.Since(start), want*time.Millisecond, calls)
			s := g.Stats()
			assert.Equal(t, retry.Stats{Tries: uint64(calls)}, s)
		})
	}
}

// throttled is a host that takes nothing until it is set free.
func throttled() (answer func() error, free func()) {
	var open atomic.Bool
	answer = func() error {
		if open.Load() {
			return nil
		}
		return status(429)
	}
	return answer, func() { open.Store(true) }
}

func TestGateFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := retry.Gate{InFlight: 1}
		answer, free := throttled()
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(func() error {
					err := answer()
					if err == nil {
						mu.Lock()
						order = append(order, n)
						mu.Unlock()
					}
					return err
				})))
			})
			synctest.Wait() // so that they arrive in order
		}
		time.Sleep(15 * time.Millisecond) // the first is refused, once
		free()
		wg.Wait()
		assert.Len(t, order, 100)
		for place, n := range order { // those under way together may end in any order
			assert.InDelta(t, n, place, 8, "%v", order)
		}
		assert.EqualValues(t, 1, g.Stats().Throttled)
		assert.EqualValues(t, 1, g.Stats().Retries)
	})
}

// A call that the host will not have does not keep the others out.
func TestGateOneCallRefusedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g retry.Gate
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			err := g.Do(ctx, retry.Policy{}, true, slow(func() error { return status(429) }))
			assert.Error(t, err)
		})
		synctest.Wait()
		start := time.Now()
		var others sync.WaitGroup
		for range 1000 {
			others.Go(func() { assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(fine))) })
		}
		others.Wait()
		assert.Less(t, time.Since(start), 15*time.Second)
		cancel()
		wg.Wait()
	})
}

// Whoever waits leaves when its context ends, at that moment, and takes nothing along.
func TestGateContext(t *testing.T) {
	for _, c := range []struct {
		name    string
		answer  func() error // of all tries
		tried   bool
		service error
	}{
		{"in the queue, before any try", func() error { return status(429) }, false, nil},
		{"in the queue, after a refusal", func() error { return status(429) }, true, ekm.ErrorHttpResponseCodeServerError},
		{"in a back-off", func() error { return status(500) }, true, ekm.ErrorHttpResponseCodeServerError},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g retry.Gate
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var wg sync.WaitGroup
				if !c.tried { // shut, by another call
					wg.Go(func() {
						_ = g.Do(ctx, retry.Policy{}, true, func(context.Context) error { return asking429(time.Minute) })
					})
					synctest.Wait()
				}
				for range 500 {
					wg.Go(func() {
						start := time.Now()
						mine, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond)
						if c.tried {
							mine, cancel = context.WithCancel(t.Context())
							time.AfterFunc(40*time.Millisecond, cancel)
						}
						defer cancel()
						err := g.Do(mine, retry.Policy{Base: time.Hour, Cap: time.Hour, Budget: 2 * time.Hour}, true, func(context.Context) error { return c.answer() })
						assert.Equal(t, 40*time.Millisecond, time.Since(start))
						e, ok := errors.AsType[*ekm.Error](err)
						if !assert.True(t, ok) {
							return
						}
						assert.ErrorIs(t, err, mine.Err())
						if e.Attempts == 0 {
							assert.Equal(t, []any{ekm.SCPErrFailure, ekm.Local, ekm.PhasePrepare}, []any{e.Code, e.Party, e.Phase})
						} else {
							assert.ErrorIs(t, err, c.service)
						}
					})
				}
				time.Sleep(time.Second)
				cancel()
				wg.Wait()
				s := g.Stats()
				assert.Zero(t, s.InFlight)
				assert.Zero(t, s.Waiting)
			})
		})
	}
}

func TestGateWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := retry.Gate{Waiting: 10, InFlight: 5}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 15 {
			wg.Go(func() { _ = g.Do(ctx, retry.Policy{}, true, slow(fine)) })
		}
		synctest.Wait()
		assert.Equal(t, 5, g.Stats().InFlight)
		assert.Equal(t, 10, g.Stats().Waiting)
		err := g.Do(ctx, retry.Policy{}, true, slow(fine))
		e, ok := errors.AsType[*ekm.Error](err)
		require.True(t, ok)
		assert.Equal(t, ekm.ErrorCreateKeyVaultRetryManagerOutOfMemory, ekm.CodeOf(err))
		assert.Equal(t, ekm.Local, e.Party)
		assert.Zero(t, e.Attempts)
		cancel()
		wg.Wait()

		// A call in a back-off waits too, and keeps its own failure as the cause.
		one := &retry.Gate{Waiting: 1}
		ctx, cancel = context.WithCancel(t.Context())
		wg.Go(func() { _ = one.Do(ctx, retry.Policy{}, true, func(context.Context) error { return status(500) }) })
		synctest.Wait()
		err = one.Do(ctx, retry.Policy{}, true, func(context.Context) error { return status(500) })
		assert.Equal(t, ekm.ErrorCreateKeyVaultRetryManagerOutOfMemory, ekm.CodeOf(err))
		assert.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
		cancel()
		wg.Wait()
	})
}

// What fails for one call is no reason to keep the others back.
func TestGateOneFailingCall(t *testing.T) {
	for _, failure := range []func() error{
		func() error { return status(500) }, func() error { return status(503) },
		func() error { return network(ekm.ErrorHttpAttemptConnect, ekm.PhaseDial, io.EOF) },
	} {
		synctest.Test(t, func(t *testing.T) {
			var g retry.Gate
			var wg sync.WaitGroup
			wg.Go(func() { _ = g.Do(t.Context(), retry.Policy{}, true, func(context.Context) error { return failure() }) })
			start := time.Now()
			for range 1000 {
				assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(fine)))
			}
			assert.Equal(t, 10*time.Second, time.Since(start))
			wg.Wait()
		})
	}
}

// A rate that binds nobody any more is forgotten after half a minute.
func TestGateForgets(t *testing.T) {
	for wait, forgotten := range map[time.Duration]bool{29 * time.Second: false, 31 * time.Second: true} {
		synctest.Test(t, func(t *testing.T) {
			var g retry.Gate
			for _, n := range []int{429, 429, 429, 429, 200} {
				_ = g.Do(t.Context(), retry.Policy{Attempts: 1}, true, slow(func() error {
					if n != 200 {
						return status(n)
					}
					return nil
				}))
			}
			assert.NotZero(t, g.Stats().Rate)
			time.Sleep(wait)
			assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(fine)))
			assert.Equal(t, forgotten, g.Stats().Rate == 0)
		})
	}
}

// Any bound of the tries under way is a bound, be it as large as can be.
func TestGateInFlight(t *testing.T) {
	for _, n := range []int{1, 5, math.MaxInt/4 + 1, math.MaxInt} {
		synctest.Test(t, func(t *testing.T) {
			g := retry.Gate{InFlight: n}
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() { assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(fine))) })
			}
			synctest.Wait()
			assert.Equal(t, min(n, 100), g.Stats().InFlight)
			wg.Wait()
		})
	}
}

// Where nobody need wait, it does not matter how many do in a back-off of their own.
func TestGateWaitingWithRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := retry.Gate{Waiting: 1}
		var wg sync.WaitGroup
		fails := true
		wg.Go(func() {
			assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(func() error {
				if fails {
					fails = false
					return network(ekm.ErrorHttpAttemptConnect, ekm.PhaseDial, io.EOF)
				}
				return nil
			})))
		})
		time.Sleep(50 * time.Millisecond)
		require.Equal(t, 1, g.Stats().Waiting)
		assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(fine)))
		wg.Wait()
	})
}

// A gate that holds nobody back costs no memory.
func TestGateAllocates(t *testing.T) {
	var g retry.Gate
	ctx, try := t.Context(), func(context.Context) error { return nil }
	assert.Zero(t, testing.AllocsPerRun(1000, func() { _ = g.Do(ctx, retry.Policy{}, true, try) }))
}

// A try that panics gives its place back.
func TestGatePanic(t *testing.T) {
	var g retry.Gate
	assert.Panics(t, func() { _ = g.Do(t.Context(), retry.Policy{}, true, func(context.Context) error { panic("x") }) })
	assert.Zero(t, g.Stats().InFlight)
}

// A probe that hangs does not hold all the others up.
func TestGateProbeHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g retry.Gate
		_ = g.Do(t.Context(), retry.Policy{Attempts: 1}, true, func(context.Context) error { return status(429) })
		var wg sync.WaitGroup
		var first atomic.Bool
		first.Store(true)
		start := time.Now()
		for range 10 {
			wg.Go(func() {
				assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, func(ctx context.Context) error {
					if first.Swap(false) {
						return pass(ctx, time.Minute)
					}
					assert.Less(t, time.Since(start), 5*time.Second)
					return nil
				}))
			})
		}
		wg.Wait()
	})
}

func TestGateErrorsAreSharedSafely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g retry.Gate
		var wg sync.WaitGroup
		for n := range 300 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*time.Second)
				defer cancel()
				err := g.Do(ctx, retry.Policy{Budget: 20 * time.Second}, true, slow(func() error { return status(429) }))
				_ = fmt.Sprintf("%+v", err)
			})
		}
		wg.Wait()
	})
}

func BenchmarkGate(b *testing.B) {
	try := func(context.Context) error { return nil }
	ctx := b.Context()
	b.Run("none", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = retry.Policy{}.Do(ctx, true, try)
		}
	})
	b.Run("gate", func(b *testing.B) {
		var g retry.Gate
		b.ReportAllocs()
		for b.Loop() {
			_ = g.Do(ctx, retry.Policy{}, true, try)
		}
	})
	b.Run("shared", func(b *testing.B) {
		var g retry.Gate
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = g.Do(ctx, retry.Policy{}, true, try)
			}
		})
	})
}

// One Gate for each host, shared by all who call it.
func ExampleGate() {
	var vault retry.Gate
	tries := 0
	err := vault.Do(context.Background(), retry.Policy{}, true, func(context.Context) error {
		if tries++; tries == 1 {
			return &ekm.Error{Code: ekm.ErrorHttpResponseCodeThrottled, Party: ekm.Vault, Status: 429}
		}
		return nil
	})
	s := vault.Stats()
	fmt.Println(err, s.Tries, s.Retries, s.Throttled, s.Waiting)
	// Output: <nil> 2 1 1 0
}

// One 429 is no sign of a limit; some close together are, and one that names a time.
func TestGateShuts(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []error
		shut    bool
	}{
		{"one refusal", []error{status(429)}, false},
		{"three refusals", []error{status(429), status(429), status(429)}, false},
		{"four refusals", []error{status(429), status(429), status(429), status(429)}, true},
		{"four, with 25 answers between two and two", slices.Concat([]error{status(429), status(429)}, make([]error, 25), []error{status(429), status(429)}), false},
		{"one that names a time", []error{asking429(time.Second)}, true},
		{"four that find no connection, close together", []error{io.EOF, io.EOF, io.EOF, io.EOF}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g retry.Gate
				for _, answer := range c.answers {
					if answer == io.EOF {
						answer = network(ekm.ErrorHttpAttemptConnect, ekm.PhaseDial, io.EOF)
					}
					_ = g.Do(t.Context(), retry.Policy{Attempts: 1}, true, slow(func() error { return answer }))
				}
				s := g.Stats()
				assert.Equal(t, c.shut, s.Shut)
				assert.Zero(t, s.Rate, "no rate before the gate has opened")
			})
		})
	}
}

// asking429 is a refusal that names a time to wait.
func asking429(after time.Duration) error {
	e := status(429)
	e.RetryAfter = after
	return e
}
