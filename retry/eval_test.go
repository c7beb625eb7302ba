package retry_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestEval(t *testing.T) {
	if os.Getenv("EVAL") == "" {
		t.Skip()
	}
	for _, s := range scenes() {
		n := 20
		if s.duration > 0 {
			n = 1
		}
		if f := os.Getenv("SCENE"); f != "" && !strings.Contains(s.name, f) {
			continue
		}
		if os.Getenv("SINGLE") != "" && s.duration > 0 {
			continue
		}
		took, want := s.ideal()
		var sum, worst, waste, worstW, late float64
		fails, lo, hi := 0, 1<<30, 0
		for range n {
			r := s.run(t, gated())
			ratio := r.took.Seconds() / took.Seconds()
			if s.duration > 0 {
				ratio = float64(want) / float64(r.done)
			}
			sum += ratio
			worst = max(worst, ratio)
			waste += r.waste()
			worstW = max(worstW, r.waste())
			late += r.lateWaste()
			fails += r.failed
			lo, hi = min(lo, r.perClient[0]), max(hi, r.perClient[s.clients-1])
		}
		k := float64(n)
		fmt.Printf("%-42s fail %d ratio %.3f max %.3f waste %.1f max %.1f late %.1f clients %d..%d\n", s.name, fails, sum/k, worst, 100*waste/k, 100*worstW, 100*late/k, lo, hi)
	}
}
