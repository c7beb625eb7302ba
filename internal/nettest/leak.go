package nettest

import (
	"flag"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// Run is m.Run for a package's TestMain: it fails if goroutines of the tests
// outlive them.
func Run(m *testing.M) int {
	before := runtime.NumGoroutine()
	code := m.Run()
	Settles(func() bool { return runtime.NumGoroutine() <= before })
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // which leaves a signal handler
	if n := runtime.NumGoroutine(); code == 0 && n > before && !fuzzing {
		stacks := make([]byte, 1<<16)
		fmt.Printf("%d goroutines left behind\n%s\n", n-before, stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	return code
}

// Settles waits until ok, for some seconds at most, and reports whether it came to
// that. It takes no goroutine, so ok may count them.
func Settles(ok func() bool) bool {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}
