package akv_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/retry"
)

// Wherever a call waits, it returns when its context ends, not later.
func TestLeavingWhereverItWaits(t *testing.T) {
	hanging := func(f *fakevault.Server, op fakevault.Operation, skip int) {
		f.Script(fakevault.Fault{Operation: op, Kind: fakevault.Hang, Skip: skip, Times: -1})
	}
	for _, c := range []struct {
		where   string
		prepare func(*fakevault.Server, *akv.Options)
		others  int // calls before this one
	}{
		{"the challenge", func(f *fakevault.Server, _ *akv.Options) { hanging(f, fakevault.OpGet, 0) }, 0},
		{"another's challenge", func(f *fakevault.Server, _ *akv.Options) { hanging(f, fakevault.OpGet, 0) }, 1},
		{"the token", func(f *fakevault.Server, _ *akv.Options) { hanging(f, fakevault.OpToken, 0) }, 0},
		{"another's token", func(f *fakevault.Server, _ *akv.Options) { hanging(f, fakevault.OpToken, 0) }, 1},
		{"the answer", func(f *fakevault.Server, _ *akv.Options) { hanging(f, fakevault.OpGet, 1) }, 0},
		{"the body", func(f *fakevault.Server, _ *akv.Options) {
			f.Script(fakevault.Fault{Operation: fakevault.OpGet, Skip: 1, Kind: fakevault.Stall, Bytes: 10, Times: -1})
		}, 0},
		{"the back-off after a failure", func(f *fakevault.Server, o *akv.Options) {
			f.Script(fakevault.Fault{Operation: fakevault.OpGet, Skip: 1, Status: 500, Times: -1})
			o.Retry = retry.Policy{Base: time.Hour, Cap: time.Hour, Budget: 24 * time.Hour}
		}, 0},
		{"a vault that throttles everything", func(f *fakevault.Server, _ *akv.Options) {
			f.Script(fakevault.VaultThrottled(-1))
		}, 0},
		{"the gate, full", func(f *fakevault.Server, o *akv.Options) {
			hanging(f, fakevault.OpGet, 1)
			o.Gate = &retry.Gate{InFlight: 1}
		}, 2},
		{"a dial", func(f *fakevault.Server, o *akv.Options) {
			o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
		}, 0},
	} {
		for how, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
			"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 3*time.Second)
			},
			"cancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(3*time.Second, cancel)
				return ctx, cancel
			},
		} {
			t.Run(c.where+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := keyed(t, fakevault.Options{})
					opts := akv.Options{}
					c.prepare(fake, &opts)
					client := clientOf(t, fake, opts)
					var before sync.WaitGroup
					early, stop := context.WithCancel(t.Context())
					for range c.others {
						before.Go(func() { _, _ = client.GetKey(early, "tde", "") })
						synctest.Wait()
					}
					ctx, cancel := end(t.Context())
					defer cancel()
					begun := time.Now()
					_, err := client.GetKey(ctx, "tde", "")
					took := time.Since(begun)
					stop()
					before.Wait()
					require.Error(t, err)
					if took < 3*time.Second {
						// It may leave early where the next wait would outlast the deadline.
						assert.Equal(t, "deadline", how)
						assert.Contains(t, c.where, "back-off")
						return
					}
					assert.LessOrEqual(t, took, 3*time.Second+10*time.Millisecond)
					assert.ErrorIs(t, err, ctx.Err())
				})
			})
		}
	}
}

// Four thousand calls at once against a vault that allows 200 a second: none fails,
// few requests are wasted, and it takes hardly longer than it must.
func TestThrottledBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls, limit, window = 4000, 2000, 10 * time.Second
		fake := keyed(t, fakevault.Options{Throttle: fakevault.Throttle{Limit: limit, Window: window}})
		slow := roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(15 * time.Millisecond)
			return fake.Transport().RoundTrip(r)
		})
		client := clientOf(t, fake, akv.Options{Transport: slow})
		begun := time.Now()
		var failed atomic.Int64
		var wg sync.WaitGroup
		for range calls {
			wg.Go(func() {
				if _, err := client.GetKey(t.Context(), "tde", ""); err != nil {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		took := time.Since(begun)
		s := client.Stats().Vault
		t.Logf("%d requests, %d of them refused, in %v", s.Gate.Tries, s.Throttled, took)
		assert.Zero(t, failed.Load())
		assert.Less(t, float64(s.Throttled)/float64(s.Gate.Tries), 0.05)
		// The vault counts in windows: what the first one takes, it takes at once.
		assert.Less(t, took, time.Duration(1.15*float64(calls)/limit*float64(window)))
	})
}

// A burst that is not throttled costs a few round trips more than one.
func TestUnthrottledBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const trip = 20 * time.Millisecond
		fake := keyed(t, fakevault.Options{})
		client := clientOf(t, fake, akv.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(trip)
			return fake.Transport().RoundTrip(r)
		})})
		_, err := client.GetKey(t.Context(), "tde", "")
		require.NoError(t, err)
		begun := time.Now()
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				_, err := client.GetKey(t.Context(), "tde", "")
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.LessOrEqual(t, time.Since(begun), 5*trip)
	})
}

// IMDS that is being updated is waited for, but not beyond the caller's time.
func TestLeavingTheWaitForIMDS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := keyed(t, fakevault.Options{})
		fake.Script(fakevault.Fault{Operation: fakevault.OpIMDS, Status: 410, Times: -1})
		cred, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.IMDS})
		require.NoError(t, err)
		client, err := akv.NewClient(fake.VaultURL(), cred, &akv.Options{Transport: fake.Transport()})
		require.NoError(t, err)
		defer client.Close()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		begun := time.Now()
		_, err = client.GetKey(ctx, "tde", "")
		assert.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 3*time.Second, time.Since(begun))
	})
}
