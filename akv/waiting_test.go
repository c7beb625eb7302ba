package akv_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/proxy"
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
		{"a round tripper that only waits", func(f *fakevault.Server, o *akv.Options) {
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
// and few requests are wasted.
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
		// Two windows of the vault take all, each in its first moment: 10 s. The gate
		// is slower, as it leaves something for others, see docs/throttling.md.
		assert.Less(t, took, window*13/10)
	})
}

// A burst that is not throttled takes one round trip for each 80 calls.
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
		assert.LessOrEqual(t, time.Since(begun), 7*trip)
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

// A rotation that the vault refuses for its own limit, a few in ten seconds, does
// not keep back what has another one.
func TestRotationsDoNotHoldUpTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := keyed(t, fakevault.Options{})
		client := clientOf(t, fake, akv.Options{})
		_, err := client.GetKey(t.Context(), "tde", "")
		require.NoError(t, err)
		fake.Script(fakevault.Fault{Operation: fakevault.OpRotate, Status: http.StatusTooManyRequests, Times: -1})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				_, err := client.RotateKey(ctx, "tde")
				assert.ErrorIs(t, err, ekm.ErrorHttpResponseCodeThrottled)
			})
		}
		for range 100 {
			begun := time.Now()
			_, err := client.GetKey(t.Context(), "tde", "")
			require.NoError(t, err)
			assert.Less(t, time.Since(begun), 10*time.Millisecond)
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
		assert.Zero(t, client.Stats().Vault.Gate.Rate, "nothing was learnt from it")
	})
}

// The same on real connections, with the library's own transport; and nothing is
// left behind after Close.
func TestLeavingRealConnections(t *testing.T) {
	silent := nettest.Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	direct := proxy.Settings{Mode: proxy.None}
	for _, c := range []struct {
		where, vault string
		proxy        proxy.Settings
	}{
		{"a handshake", "https://" + silent, direct},
		{"a dial that nobody answers", "https://192.0.2.1", direct}, // TEST-NET-1; or there is no route at all
		{"an HTTP proxy", "https://contoso.vault.azure.net", proxy.Settings{URL: "http://" + silent}},
		{"a SOCKS proxy", "https://contoso.vault.azure.net", proxy.Settings{URL: "socks5://" + silent}},
	} {
		t.Run(c.where, func(t *testing.T) {
			cred, err := aad.NewClientSecret("id", "s3cret~value")
			require.NoError(t, err)
			client, err := akv.NewClient(c.vault, cred, &akv.Options{
				Proxy:    proxy.New(c.proxy),
				Timeouts: akv.Timeouts{Dial: 1500 * time.Millisecond, TLS: 1500 * time.Millisecond},
			})
			require.NoError(t, err)
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					_, err := client.GetKey(ctx, "tde", "")
					assert.Error(t, err)
					assert.NoError(t, notMuchLaterThan(ctx))
				})
			}
			wg.Wait()
			client.Close()
			assert.True(t, nettest.Settles(func() bool { return runtime.NumGoroutine() <= before+10 }), "but for the listener's own")
		})
	}
}

// notMuchLaterThan allows what a busy machine may take; the limits of the phases
// are longer still.
func notMuchLaterThan(ctx context.Context) error {
	deadline, _ := ctx.Deadline()
	if late := time.Since(deadline); late > time.Second {
		return fmt.Errorf("returned %v after the deadline", late)
	}
	return nil
}
