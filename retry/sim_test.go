package retry_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/retry"
)

// A law is how a vault limits its callers, in units of the cheapest operation.
// allow says whether one of so many units is let in at a time since the start.
type law interface {
	allow(at time.Duration, weight float64) bool
}

// fixedWindow is the documented law: so much in each window, which begins with
// the first request after the end of the last.
type fixedWindow struct {
	rate          func(time.Duration) float64
	length        time.Duration
	countRejected bool
	end           time.Duration
	used          float64
}

func (l *fixedWindow) allow(at time.Duration, weight float64) bool {
	if at >= l.end {
		l.end, l.used = at+l.length, 0
	}
	ok := l.used == 0 || l.used+weight <= l.rate(at)*l.length.Seconds()
	if ok || l.countRejected {
		l.used += weight
	}
	return ok
}

// bucket fills evenly, up to depth seconds' worth.
type bucket struct {
	rate          func(time.Duration) float64
	depth         time.Duration
	countRejected bool
	tokens        float64
	last          time.Duration
	begun         bool
}

func (l *bucket) allow(at time.Duration, weight float64) bool {
	rate := l.rate(at)
	size := max(1, rate*l.depth.Seconds())
	if !l.begun {
		l.begun, l.tokens = true, size
	}
	l.tokens = min(size, l.tokens+rate*(at-l.last).Seconds())
	l.last = at
	if l.tokens < min(weight, size) {
		if l.countRejected {
			l.tokens = max(0, l.tokens-weight)
		}
		return false
	}
	l.tokens -= weight
	return true
}

// slidingWindow looks back one length from each request.
type slidingWindow struct {
	rate          func(time.Duration) float64
	length        time.Duration
	countRejected bool
	at            []time.Duration
	weights       []float64
	used          float64
}

func (l *slidingWindow) allow(at time.Duration, weight float64) bool {
	n := 0
	for n < len(l.at) && l.at[n] <= at-l.length {
		l.used -= l.weights[n]
		n++
	}
	l.at, l.weights = l.at[n:], l.weights[n:]
	ok := len(l.at) == 0 || l.used+weight <= l.rate(at)*l.length.Seconds()
	if ok || l.countRejected {
		l.at, l.weights, l.used = append(l.at, at), append(l.weights, weight), l.used+weight
	}
	return ok
}

func always(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

const (
	unreachable = -1 // no connection
	mute        = -2 // a connection, but no answer
)

// A vault answers after a few milliseconds, by its law.
type vault struct {
	law    law                               // nil: no limit
	stop   func(time.Duration) int           // a status for everything, or one of the two above; 0: none
	asks   func(time.Duration) time.Duration // the Retry-After of a 429; nil: none
	chance func(time.Duration) float64       // the share of requests refused whatever their rate; nil: none
	rival  func(time.Duration) float64       // requests per second of another client, which never backs off; nil: none
	start  time.Time
	random *rand.Rand
	next   time.Duration // request of the rival

	mu       sync.Mutex
	requests int
	refused  int
	early    int // requests before learnt, and the refused ones of them
	earlyNo  int
	learnt   time.Duration
}

func (v *vault) try(ctx context.Context, weight float64) error {
	v.mu.Lock()
	there, back := v.latency(), v.latency()
	v.mu.Unlock()
	if err := pass(ctx, there); err != nil {
		return err
	}
	status, after := v.answer(weight)
	if status == mute {
		back = 30 * time.Second // when the client has had enough
	}
	if err := pass(ctx, back); err != nil {
		return err
	}
	switch status {
	case 200:
		return nil
	case mute:
		return &ekm.Error{Code: ekm.ErrorHttpGetResponseCode, Party: ekm.Vault, Phase: ekm.PhaseStatus}
	case unreachable:
		return &ekm.Error{Code: ekm.ErrorHttpAttemptConnect, Party: ekm.Vault, Phase: ekm.PhaseDial}
	}
	return &ekm.Error{Code: ekm.ErrorHttpResponseCodeThrottled, Party: ekm.Vault, Status: status, RetryAfter: after}
}

func (v *vault) latency() time.Duration {
	return 3*time.Millisecond + time.Duration(v.random.ExpFloat64()*float64(2*time.Millisecond))
}

func (v *vault) answer(weight float64) (status int, after time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := time.Since(v.start)
	v.compete(at)
	status = 200
	if v.stop != nil && v.stop(at) != 0 {
		status = v.stop(at)
	} else if v.chance != nil && v.random.Float64() < v.chance(at) {
		status = 429
	} else if v.law != nil && !v.law.allow(at, weight) {
		status = 429
		if v.asks != nil {
			after = v.asks(at)
		}
	}
	v.requests++
	if status != 200 {
		v.refused++
	}
	if at < v.learnt {
		v.early++
		if status != 200 {
			v.earlyNo++
		}
	}
	return status, after
}

// compete lets the rival make its requests up to a time.
func (v *vault) compete(at time.Duration) {
	if v.rival == nil {
		return
	}
	for v.next < at {
		rate := v.rival(v.next)
		if rate == 0 {
			v.next += time.Millisecond
			continue
		}
		v.law.allow(v.next, 1)
		v.next += time.Duration(v.random.ExpFloat64() * float64(time.Second) / rate)
	}
}

func pass(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return &ekm.Error{Code: ekm.ErrorHttpGetResponseCode, Party: ekm.Vault, Err: ctx.Err()}
	}
}

// A caller is one program's way of dealing with refusals.
type caller func(ctx context.Context, try func(context.Context) error) error

// A strategy makes the caller of one client.
type strategy struct {
	name   string
	client func(*rand.Rand) caller
}

func gated() strategy {
	return strategy{"gate", func(*rand.Rand) caller {
		g := &retry.Gate{}
		return func(ctx context.Context, try func(context.Context) error) error {
			return g.Do(ctx, retry.Policy{}, true, try)
		}
	}}
}

// ungated is the same policy without a gate.
func ungated() strategy {
	return strategy{"no gate", func(*rand.Rand) caller {
		return func(ctx context.Context, try func(context.Context) error) error {
			return retry.Policy{}.Do(ctx, true, try)
		}
	}}
}

// naive is what most programs do: five tries, waits that double from 500 ms.
func naive() strategy {
	return strategy{"naive", func(r *rand.Rand) caller {
		return tries(5, func(n int) time.Duration {
			return time.Duration((0.5 + r.Float64()/2) * float64(500*time.Millisecond<<(n-1)))
		})
	}}
}

// official is azcore's policy_retry.go: three retries, (2^n - 1) x 800 ms x
// [0.8, 1.3), at most 60 s.
func official() strategy {
	return strategy{"official", func(r *rand.Rand) caller {
		return tries(4, func(n int) time.Duration {
			return min(time.Minute, time.Duration(float64(int(1)<<n-1)*(0.8+r.Float64()/2)*float64(800*time.Millisecond)))
		})
	}}
}

func tries(limit int, wait func(n int) time.Duration) caller {
	var mu sync.Mutex
	return func(ctx context.Context, try func(context.Context) error) error {
		for n := 1; ; n++ {
			err := try(ctx)
			if err == nil || n == limit {
				return err
			}
			mu.Lock()
			d := wait(n)
			mu.Unlock()
			if err := pass(ctx, d); err != nil {
				return err
			}
		}
	}
}

// A scene is a load on a vault.
type scene struct {
	name     string
	vault    func() *vault
	clients  int
	callers  int           // of each client, at the same time
	calls    int           // of each caller, one after the other; 0: until the end
	duration time.Duration // the end; 0: when all calls are done
	every    time.Duration // between the calls of one caller, on average
	weight   func(*rand.Rand) float64
	learnt   time.Duration
}

// A result is what came of it.
type result struct {
	failed, done      int
	units             float64 // done
	requests, refused int
	late, lateNo      int // requests after learnt, and the refused ones of them
	took              time.Duration
	waits             []time.Duration // of calls that succeeded or wait still, sorted
	heavy             []time.Duration // of those of more than one unit
	perClient         []int           // calls done, sorted
	perSecond         []int           // calls done in each second
}

func (r result) waste() float64     { return float64(r.refused) / float64(max(1, r.requests)) }
func (r result) lateWaste() float64 { return float64(r.lateNo) / float64(max(1, r.late)) }

// count counts a call done at a time.
func (r *result) count(at time.Duration) {
	for len(r.perSecond) <= int(at/time.Second) {
		r.perSecond = append(r.perSecond, 0)
	}
	r.perSecond[at/time.Second]++
}

// during is the calls done between two times, in whole seconds.
func (r result) during(from, to time.Duration) (n int) {
	for i, done := range r.perSecond {
		if at := time.Duration(i) * time.Second; at >= from && at < to {
			n += done
		}
	}
	return n
}

func quantile(waits []time.Duration, q float64) time.Duration {
	if len(waits) == 0 {
		return 0
	}
	return waits[int(q*float64(len(waits)-1))]
}

func (s scene) run(t testing.TB, by strategy) (r result) {
	synctest.Test(t.(*testing.T), func(t *testing.T) {
		v := s.vault()
		v.start, v.learnt, v.random = time.Now(), s.learnt, rand.New(rand.NewPCG(1, 2))
		ctx := t.Context()
		if s.duration > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, s.duration)
			defer cancel()
		}
		var mu sync.Mutex
		var failed atomic.Int64
		var wg sync.WaitGroup
		r.perClient = make([]int, s.clients)
		for n := range s.clients {
			random := rand.New(rand.NewPCG(3, uint64(n)))
			do := by.client(random)
			for k := range s.callers {
				own := rand.New(rand.NewPCG(uint64(k), uint64(n)))
				wg.Go(func() {
					for i := 0; (s.calls == 0 || i < s.calls) && ctx.Err() == nil; i++ {
						if s.every > 0 && pass(ctx, time.Duration(own.ExpFloat64()*float64(s.every))) != nil {
							return
						}
						weight := 1.0
						if s.weight != nil {
							weight = s.weight(own)
						}
						start := time.Now()
						err := do(ctx, func(ctx context.Context) error { return v.try(ctx, weight) })
						if err != nil && ctx.Err() == nil {
							failed.Add(1)
							continue
						}
						mu.Lock()
						r.waits = append(r.waits, time.Since(start))
						if weight > 1 {
							r.heavy = append(r.heavy, time.Since(start))
						}
						if err == nil {
							r.done++
							r.perClient[n]++
							r.units += weight
							r.count(time.Since(v.start))
						}
						mu.Unlock()
					}
				})
			}
		}
		wg.Wait()
		r.took = time.Since(v.start)
		r.failed = int(failed.Load())
		r.requests, r.refused = v.requests, v.refused
		r.late, r.lateNo = v.requests-v.early, v.refused-v.earlyNo
	})
	slices.Sort(r.waits)
	slices.Sort(r.heavy)
	slices.SortFunc(r.perClient, cmp.Compare)
	return r
}

// ideal is the time that somebody who knows the vault's law needs for so many
// calls, or where the load has an end, the units that he gets in.
func (s scene) ideal() (time.Duration, float64) {
	v := s.vault()
	lenient(v.law)
	total := s.clients * s.callers * s.calls
	random, n := rand.New(rand.NewPCG(5, 6)), 0
	weigh := func() float64 {
		if s.weight == nil {
			return 1
		}
		return s.weight(random)
	}
	weight, units := weigh(), 0.0
	for at := time.Duration(0); ; at += time.Millisecond {
		if s.duration > 0 && at >= s.duration {
			return at, units
		}
		for (v.stop == nil || v.stop(at) == 0) && v.law.allow(at, weight) {
			units += weight
			weight = weigh()
			if n++; s.duration == 0 && n == total {
				return at + 10*time.Millisecond, units
			}
		}
	}
}

// lenient makes a law forget refusals: who knows it is never refused.
func lenient(l law) {
	switch l := l.(type) {
	case *fixedWindow:
		l.countRejected = false
	case *bucket:
		l.countRejected = false
	case *slidingWindow:
		l.countRejected = false
	}
}
