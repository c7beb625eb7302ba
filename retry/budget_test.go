package retry_test

import (
	"context"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/retry"
)

// A host that takes nothing ends calls without a deadline by their budget: those
// that were tried and those that never were.
func TestGateBudget(t *testing.T) {
	for _, n := range []int{429, 503} {
		synctest.Test(t, func(t *testing.T) {
			var g retry.Gate
			start := time.Now()
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					err := g.Do(t.Context(), retry.Policy{Budget: time.Minute}, true, slow(func() error { return status(n) }))
					assert.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
					assert.GreaterOrEqual(t, time.Since(start), time.Minute)
				})
			}
			wg.Wait()
			assert.Less(t, time.Since(start), 70*time.Second)
			assert.Less(t, g.Stats().Tries, uint64(500))
			assert.Zero(t, g.Stats().Waiting)
		})
	}
}

// What a Retry-After asks for is kept to, up to the policy's cap.
func TestGateRetryAfter(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		3 * time.Second: 3 * time.Second, 20 * time.Second: 20 * time.Second, time.Hour: time.Minute,
	} {
		for _, n := range []int{429, 503} {
			synctest.Test(t, func(t *testing.T) {
				var g retry.Gate
				start := time.Now()
				var tries []time.Duration
				require.NoError(t, g.Do(t.Context(), retry.Policy{Budget: time.Hour}, true, slow(func() error {
					if tries = append(tries, time.Since(start)); len(tries) == 4 {
						return nil
					}
					e := status(n)
					e.RetryAfter = asked
					return e
				})))
				for i := range tries[1:] {
					assert.InDelta(t, want.Seconds(), (tries[i+1] - tries[i]).Seconds(), 0.8, tries)
					assert.GreaterOrEqual(t, tries[i+1]-tries[i], want)
				}
			})
		}
	}
}

// A deadline ends a wait for a Retry-After before it begins, but not one in the queue.
func TestGateDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var g retry.Gate
		start := time.Now()
		err := g.Do(ctx, retry.Policy{}, true, func(context.Context) error {
			e := status(429)
			e.RetryAfter = 6 * time.Second
			return e
		})
		require.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		assert.Zero(t, time.Since(start))

		n := 0
		require.NoError(t, new(retry.Gate).Do(ctx, retry.Policy{Base: time.Minute}, true, func(context.Context) error {
			if n++; n < 4 {
				return status(429)
			}
			return nil
		}), "the back-off of one call would be a minute, the gate knows better")
	})
}

// A call without a deadline ends at its budget, whether or not a probe is due then.
func TestGateBudgetOfOne(t *testing.T) {
	for _, after := range []time.Duration{0, 45 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var g retry.Gate
			start := time.Now()
			err := g.Do(t.Context(), retry.Policy{}, true, slow(func() error {
				e := status(429)
				e.RetryAfter = after
				return e
			}))
			require.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
			assert.InDelta(t, 120, time.Since(start).Seconds(), 1)
		})
	}
}

// A host that takes calls and never answers ends them at their budget, give or
// take the try under way.
func TestGateHangs(t *testing.T) {
	for _, inFlight := range []int{1, 2, 128} {
		for _, callers := range []int{1, 2, 5, 300} {
			for _, try := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
				synctest.Test(t, func(t *testing.T) {
					g := retry.Gate{InFlight: inFlight}
					var wg sync.WaitGroup
					start := time.Now()
					for range callers {
						wg.Go(func() {
							err := g.Do(t.Context(), retry.Policy{Attempts: 1000}, true, func(context.Context) error {
								time.Sleep(try)
								return network(ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, os.ErrDeadlineExceeded)
							})
							assert.ErrorIs(t, err, ekm.ErrorHttpGetResponseCode)
							assert.GreaterOrEqual(t, time.Since(start), 2*time.Minute)
						})
					}
					wg.Wait()
					assert.LessOrEqual(t, time.Since(start), 2*time.Minute+try+time.Second)
				})
			}
		}
	}
}

// Calls that came at different times end at different times, each at its own.
func TestGateManyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g retry.Gate
		var wg sync.WaitGroup
		for range 50 * 200 {
			wg.Go(func() {
				start := time.Now()
				err := g.Do(t.Context(), retry.Policy{}, true, slow(func() error {
					return network(ekm.ErrorHttpAttemptConnect, ekm.PhaseDial, io.EOF)
				}))
				assert.ErrorIs(t, err, ekm.ErrorHttpAttemptConnect)
				assert.InDelta(t, 120, time.Since(start).Seconds(), 0.2)
			})
			time.Sleep(time.Second / 50)
		}
		wg.Wait()
		assert.Zero(t, g.Stats().Waiting)
	})
}
