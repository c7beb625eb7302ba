// Command bench compares what one WrapKey costs the caller in package akv, in
// Microsoft's azkeys, and in a few lines of net/http and encoding/json. All talk
// to the same round tripper in the same process, which answers with canned bytes:
// network and cryptography are left out, and what remains is the client.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"text/tabwriter"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(out io.Writer) error {
	fmt.Fprintf(out, "%s %s/%s, %d CPUs\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "warm WrapKey\tns/op\tratio\tB/op\tratio\tallocs/op\tratio\t")
	var base testing.BenchmarkResult
	for i, c := range append([]contender{baseline()}, signingIn()...) {
		r := testing.Benchmark(warm(c))
		if r.N == 0 {
			return errors.New(c.name + " failed")
		}
		if i == 0 {
			base = r
		}
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%d\t%.2f\t%d\t%.2f\t\n", c.name,
			r.NsPerOp(), ratio(r.NsPerOp(), base.NsPerOp()),
			r.AllocedBytesPerOp(), ratio(r.AllocedBytesPerOp(), base.AllocedBytesPerOp()),
			r.AllocsPerOp(), ratio(r.AllocsPerOp(), base.AllocsPerOp()))
	}
	fmt.Fprintln(w, "\ncold WrapKey\trequests\t\tns/op\tB/op\tallocs/op\t\t")
	for _, c := range signingIn() {
		r := testing.Benchmark(cold(c))
		if r.N == 0 {
			return errors.New(c.name + " failed")
		}
		fmt.Fprintf(w, "%s\t%.0f\t\t%d\t%d\t%d\t\t\n", c.name, r.Extra["requests/op"], r.NsPerOp(), r.AllocedBytesPerOp(), r.AllocsPerOp())
	}
	return w.Flush()
}

func ratio(a, b int64) float64 { return float64(a) / float64(max(b, 1)) }
