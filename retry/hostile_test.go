package retry_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
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

// One refusal in steady traffic, which another client's burst may be the cause of,
// delays nobody by much.
func TestGateOneStrayRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g retry.Gate
		var n, worst atomic.Int64
		var wg sync.WaitGroup
		for range 30_000 {
			wg.Go(func() {
				start := time.Now()
				assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(func() error {
					if n.Add(1) == 10_000 {
						return status(429)
					}
					return nil
				})))
				for d, w := int64(time.Since(start)), worst.Load(); d > w && !worst.CompareAndSwap(w, d); w = worst.Load() {
				}
			})
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		assert.Less(t, time.Duration(worst.Load()), time.Second)
	})
}

// A key that answers 500 takes nothing from the others.
func TestGateOneFailingKey(t *testing.T) {
	for _, callers := range []int{50, 200} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var g retry.Gate
			var bad, good sync.WaitGroup
			for range callers {
				bad.Go(func() {
					for ctx.Err() == nil {
						_ = g.Do(ctx, retry.Policy{}, true, slow(func() error { return status(500) }))
					}
				})
			}
			for range 1000 {
				good.Go(func() {
					start := time.Now()
					assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(fine)))
					assert.Less(t, time.Since(start), 200*time.Millisecond)
				})
				time.Sleep(20 * time.Millisecond)
			}
			good.Wait()
			cancel()
			bad.Wait()
		})
	}
}

// While the gate is shut, whoever has not been tried asks before those who failed.
func TestGateProbesRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var g retry.Gate
		var bad sync.WaitGroup
		for range 100 {
			bad.Go(func() { _ = g.Do(ctx, retry.Policy{}, true, slow(func() error { return status(503) })) })
		}
		time.Sleep(10 * time.Second)
		start := time.Now()
		require.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(fine)))
		assert.Less(t, time.Since(start), time.Minute)
		cancel()
		bad.Wait()
	})
}

// While all are refused, all ask in turn.
func TestGateRefusedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var g retry.Gate
		var tries [3]int
		var wg sync.WaitGroup
		for n := range tries {
			wg.Go(func() { _ = g.Do(ctx, retry.Policy{}, true, slow(func() error { tries[n]++; return status(429) })) })
		}
		wg.Wait()
		least, most := slices.Min(tries[:]), slices.Max(tries[:])
		assert.Greater(t, least, 5)
		assert.LessOrEqual(t, most-least, 2, tries)
	})
}

// A client that is never idle learns its limit no dearer than another.
func TestGateBurstOfABusyClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := filling(200, time.Second)()
		v.start, v.random = time.Now(), rand.New(rand.NewPCG(1, 2))
		var g retry.Gate
		var wg sync.WaitGroup
		one := func() {
			wg.Go(func() {
				assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, func(ctx context.Context) error { return v.try(ctx, 1) }))
			})
		}
		stop := make(chan struct{})
		wg.Go(func() {
			_ = g.Do(t.Context(), retry.Policy{}, true, func(context.Context) error { <-stop; return nil })
		})
		for range 150 * 600 {
			one()
			time.Sleep(time.Second / 150)
		}
		before := g.Stats()
		require.Zero(t, before.Throttled)
		for range 4000 {
			one()
		}
		close(stop)
		wg.Wait()
		after := g.Stats()
		assert.Less(t, float64(after.Throttled), 0.10*float64(after.Tries-before.Tries))
	})
}

// A host that comes back is found within seconds, however long it was away.
func TestGateLongOutage(t *testing.T) {
	for _, failure := range []func() error{
		func() error { return status(429) }, func() error { return status(503) },
		func() error { return network(ekm.ErrorHttpAttemptConnect, ekm.PhaseDial, io.EOF) },
	} {
		synctest.Test(t, func(t *testing.T) {
			var g retry.Gate
			start := time.Now()
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					assert.NoError(t, g.Do(t.Context(), retry.Policy{Budget: 9 * time.Hour}, true, slow(func() error {
						if time.Since(start) < 6*time.Hour {
							return failure()
						}
						return nil
					})))
				})
			}
			wg.Wait()
			assert.Less(t, time.Since(start), 6*time.Hour+15*time.Second)
		})
	}
}

// A connection that breaks under many calls is one failure of the host, not many:
// the next call does not wait.
func TestGateBrokenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g retry.Gate
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_ = g.Do(t.Context(), retry.Policy{Attempts: 1}, true, slow(func() error {
					return network(ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, io.ErrUnexpectedEOF)
				}))
			})
		}
		wg.Wait()
		assert.False(t, g.Stats().Shut)
		start := time.Now()
		require.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(fine)))
		assert.Equal(t, 10*time.Millisecond, time.Since(start))
	})
}

// A call that the host will not have lives as long as its context, while others are
// served, and costs few requests where these are few.
func TestGateRefusedAmongFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g retry.Gate
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		start := time.Now()
		var refused, served atomic.Int64
		var last time.Duration
		var wg sync.WaitGroup
		wg.Go(func() {
			err := g.Do(ctx, retry.Policy{}, true, slow(func() error {
				refused.Add(1)
				last = time.Since(start)
				return status(429)
			}))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = g.Do(ctx, retry.Policy{}, true, slow(func() error {
					if time.Since(start) < 5*time.Second {
						return status(429) // both are, to begin with
					}
					served.Add(1)
					return nil
				}))
			}
		})
		wg.Wait()
		assert.Less(t, refused.Load(), int64(150)) // one in two seconds
		assert.Greater(t, served.Load(), int64(1000))
		assert.Greater(t, last, 5*time.Minute-time.Second) // it rests no longer than leaves time to try
	})
}

// Nor does it outlive a host that answers nobody any more.
func TestGateRefusedAndThenAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g retry.Gate
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			err := g.Do(t.Context(), retry.Policy{}, true, slow(func() error { return status(429) }))
			assert.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
			assert.InDelta(t, 180, time.Since(start).Seconds(), 5)
		})
		for time.Since(start) < time.Minute {
			require.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(fine)))
		}
		wg.Wait()
	})
}

// A few such calls leave the others most of what there is.
func TestGateSomeRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		var g retry.Gate
		var served atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for pass(ctx, 50*time.Millisecond) == nil {
					_ = g.Do(ctx, retry.Policy{}, true, slow(func() error { served.Add(1); return nil }))
				}
			})
		}
		for range 10 {
			wg.Go(func() { _ = g.Do(ctx, retry.Policy{}, true, slow(func() error { return status(429) })) })
		}
		wg.Wait()
		assert.Greater(t, served.Load(), int64(100*120))
	})
}

// After an outage, calls that are still refused do not keep out those that failed
// meanwhile.
func TestGateRefusedAfterOutage(t *testing.T) {
	for _, inFlight := range []int{2, 0} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			g := retry.Gate{InFlight: inFlight}
			start := time.Now()
			call := func(after func() error) error {
				return g.Do(ctx, retry.Policy{}, true, slow(func() error {
					if time.Since(start) < time.Minute {
						return network(ekm.ErrorHttpAttemptConnect, ekm.PhaseDial, io.EOF)
					}
					return after()
				}))
			}
			var good, bad sync.WaitGroup
			for range 300 {
				good.Go(func() { assert.NoError(t, call(fine)) })
			}
			for range 5 {
				bad.Go(func() { _ = call(func() error { return status(429) }) })
			}
			good.Wait()
			cancel()
			bad.Wait()
		})
	}
}

// A back-off of the call's own is cut to fit before its deadline.
func TestDoFitsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			start := time.Now()
			require.NoError(t, retry.Policy{}.Do(ctx, true, slow(func() error {
				if time.Since(start) < 2*time.Second {
					return status(503)
				}
				return nil
			})))
			cancel()
		}
	})
}

// What a proxy answers to CONNECT says nothing of the vault.
func TestDoProxy(t *testing.T) {
	for code, want := range map[int]int{502: 3, 503: 3, 504: 3, 400: 1, 401: 1, 403: 1, 407: 1, 408: 1, 429: 1, 500: 1} {
		for _, repeatable := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				var g retry.Gate
				err := g.Do(t.Context(), retry.Policy{Attempts: 3}, repeatable, slow(func() error {
					return &ekm.Error{Code: ekm.ErrorHttpSendRequest, Party: ekm.Proxy, Phase: ekm.PhaseProxy, Status: code}
				}))
				e, ok := errors.AsType[*ekm.Error](err)
				require.True(t, ok)
				assert.Equal(t, want, e.Attempts, code)
				assert.Equal(t, retry.Stats{Tries: uint64(want), Retries: uint64(want - 1)}, g.Stats())
			})
		}
	}
	missing := network(ekm.ErrorHttpAttemptConnect, ekm.PhaseResolve, &net.DNSError{IsNotFound: true})
	missing.Party = ekm.Proxy
	tries, _, err := run(t.Context(), retry.Policy{}, true, func() error { return missing })
	require.Error(t, err)
	assert.Equal(t, 1, tries)
}

// Whatever tries and contexts do, every call ends and none is left counted.
func TestGateStress(t *testing.T) {
	for round := range 3 {
		synctest.Test(t, func(t *testing.T) {
			g := retry.Gate{InFlight: 1 + round*20, Waiting: 3000}
			var wg sync.WaitGroup
			for n := range 4000 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					defer func() { _ = recover() }()
					chaos(t.Context(), &g, rand.New(rand.NewPCG(uint64(n), uint64(round))))
				}()
			}
			wg.Wait()
			assert.Zero(t, g.Stats().InFlight)
			assert.Zero(t, g.Stats().Waiting)
			assert.NoError(t, g.Do(t.Context(), retry.Policy{}, true, slow(fine)))
		})
	}
}

func chaos(ctx context.Context, g *retry.Gate, r *rand.Rand) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(60_000))*time.Millisecond)
	defer cancel()
	p := retry.Policy{Base: time.Millisecond, Try: time.Duration(r.IntN(30)) * time.Millisecond, Budget: time.Duration(r.IntN(60)) * time.Second}
	_ = g.Do(ctx, p, r.IntN(2) == 0, func(ctx context.Context) error {
		if err := pass(ctx, time.Duration(r.IntN(20))*time.Millisecond); err != nil {
			return err
		}
		switch r.IntN(12) {
		case 0:
			panic("x")
		case 1:
			runtime.Goexit()
		case 2, 3:
			return status(429)
		case 4:
			return status(503)
		case 5:
			return status(500)
		case 6:
			<-ctx.Done()
			return network(ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, ctx.Err())
		case 7:
			cancel()
		}
		return nil
	})
}
