package retry_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

func window(rate float64, length time.Duration) func() *vault {
	return func() *vault { return &vault{law: &fixedWindow{rate: always(rate), length: length}} }
}

func strict(v func() *vault) func() *vault {
	return func() *vault {
		v := v()
		switch l := v.law.(type) {
		case *fixedWindow:
			l.countRejected = true
		case *bucket:
			l.countRejected = true
		case *slidingWindow:
			l.countRejected = true
		}
		return v
	}
}

func filling(rate float64, depth time.Duration) func() *vault {
	return func() *vault { return &vault{law: &bucket{rate: always(rate), depth: depth}} }
}

func sliding(rate float64, length time.Duration) func() *vault {
	return func() *vault { return &vault{law: &slidingWindow{rate: always(rate), length: length}} }
}

func mixed(r *rand.Rand) float64 {
	if r.IntN(4) == 0 {
		return 8
	}
	return 1
}

func step(at time.Duration, before, after float64) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		if t < at {
			return before
		}
		return after
	}
}

func stopped(status int) func(time.Duration) int {
	return func(t time.Duration) int {
		if t > 5*time.Second && t < 65*time.Second {
			return status
		}
		return 0
	}
}

func scenes() []scene {
	five := 5 * time.Minute
	return []scene{
		{name: "4,000 at once, 200/s: window of 1 s", vault: window(200, time.Second), clients: 1, callers: 4000, calls: 1},
		{name: "the same, refusals count", vault: strict(window(200, time.Second)), clients: 1, callers: 4000, calls: 1},
		{name: "window of 10 s", vault: window(200, 10*time.Second), clients: 1, callers: 4000, calls: 1},
		{name: "bucket of 1 s", vault: filling(200, time.Second), clients: 1, callers: 4000, calls: 1},
		{name: "bucket of 1 s, refusals count", vault: strict(filling(200, time.Second)), clients: 1, callers: 4000, calls: 1},
		{name: "bucket of 50 ms", vault: filling(200, 50*time.Millisecond), clients: 1, callers: 4000, calls: 1},
		{name: "sliding 1 s", vault: sliding(200, time.Second), clients: 1, callers: 4000, calls: 1},
		{name: "sliding 10 s", vault: sliding(200, 10*time.Second), clients: 1, callers: 4000, calls: 1},
		{name: "sliding 1 s, refusals count", vault: strict(sliding(200, time.Second)), clients: 1, callers: 4000, calls: 1},
		{name: "weights 1 and 8, window 1 s, 550/s", vault: window(550, time.Second), clients: 1, callers: 4000, calls: 1, weight: mixed},
		{name: "20,000, window 10 s", vault: window(200, 10*time.Second), clients: 1, callers: 20000, calls: 1},

		{name: "10 clients 60 s, window 1 s", vault: window(200, time.Second), clients: 10, callers: 20, duration: time.Minute, learnt: 20 * time.Second},
		{name: "100 clients 5 min, window 1 s", vault: window(200, time.Second), clients: 100, callers: 20, duration: five, learnt: time.Minute},
		{name: "100 clients 5 min, window 10 s", vault: window(200, 10*time.Second), clients: 100, callers: 20, duration: five, learnt: time.Minute},
		{name: "100 clients 5 min, window 10 s, strict", vault: strict(window(200, 10*time.Second)), clients: 100, callers: 20, duration: five, learnt: time.Minute},
		{name: "100 clients 5 min, bucket 1 s", vault: filling(200, time.Second), clients: 100, callers: 20, duration: five, learnt: time.Minute},
		{name: "100 clients 5 min, bucket 1 s strict", vault: strict(filling(200, time.Second)), clients: 100, callers: 20, duration: five, learnt: time.Minute},
		{name: "100 clients 5 min, sliding 10 s", vault: sliding(200, 10*time.Second), clients: 100, callers: 20, duration: five, learnt: time.Minute},
		{name: "up 50 to 500 at 30 s, 1 client", vault: func() *vault { return &vault{law: &bucket{rate: step(30*time.Second, 50, 500), depth: time.Second}} }, clients: 1, callers: 2000, duration: time.Minute},
		{name: "down 500 to 50 at 30 s, 1 client", vault: func() *vault { return &vault{law: &bucket{rate: step(30*time.Second, 500, 50), depth: time.Second}} }, clients: 1, callers: 2000, duration: 90 * time.Second},
		{name: "up 50 to 500, window 10 s, 1 client", vault: func() *vault {
			return &vault{law: &fixedWindow{rate: step(30*time.Second, 50, 500), length: 10 * time.Second}}
		}, clients: 1, callers: 2000, duration: time.Minute},
		{name: "503 for 60 s at 5 s, 1 client", vault: func() *vault { v := filling(200, time.Second)(); v.stop = stopped(503); return v }, clients: 1, callers: 2000, duration: 2 * time.Minute},
		{name: "503 for 60 s at 5 s, unlimited", vault: func() *vault { v := filling(1e5, time.Second)(); v.stop = stopped(503); return v }, clients: 1, callers: 2000, every: 10 * time.Second, duration: 2 * time.Minute},
		{name: "no connection for 60 s, 1 client", vault: func() *vault { v := filling(200, time.Second)(); v.stop = stopped(-1); return v }, clients: 1, callers: 2000, duration: 2 * time.Minute},
		{name: "no connection for 60 s, 10 clients", vault: func() *vault { v := filling(200, time.Second)(); v.stop = stopped(-1); return v }, clients: 10, callers: 200, duration: 2 * time.Minute},
		{name: "1,000 clients 5 min, window 10 s", vault: window(200, 10*time.Second), clients: 1000, callers: 2, duration: five, learnt: time.Minute},
	}
}

func TestThrottlingTable(t *testing.T) {
	for _, s := range scenes() {
		if f := os.Getenv("SCENE"); f != "" && !strings.Contains(s.name, f) {
			continue
		}
		begin := time.Now()
		r := s.run(t, gated())
		real := time.Since(begin)
		took, n := s.ideal()
		ratio := r.took.Seconds() / took.Seconds()
		if s.duration > 0 {
			ratio = float64(n) / float64(r.done)
		}
		fmt.Printf("%-42s fail %d waste %.1f%% late %.1f%% took %.1f s ratio %.3f p50 %.2f p99 %.2f max %.2f clients %d..%d req %d [%.2fs]\n", s.name, r.failed, 100*r.waste(), 100*r.lateWaste(), r.took.Seconds(), ratio, r.wait(.5).Seconds(), r.wait(.99).Seconds(), r.wait(1).Seconds(), r.perClient[0], r.perClient[s.clients-1], r.requests, real.Seconds())
	}
}
