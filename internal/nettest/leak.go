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
	for end := time.Now().Add(3 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // which leaves a signal handler
	if n := runtime.NumGoroutine(); code == 0 && n > before && !fuzzing {
		stacks := make([]byte, 1<<16)
		fmt.Printf("%d goroutines left behind\n%s\n", n-before, stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	return code
}
