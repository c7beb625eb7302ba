package wire

import (
	"context"
	"sync/atomic"

	"github.com/akv-ekm/ekm"
)

type countKey struct{}

// Counting returns a context whose exchanges [Client.Do] adds to n, and to no other
// counter that ctx may carry.
func Counting(ctx context.Context, n *atomic.Int32) context.Context {
	return context.WithValue(ctx, countKey{}, n)
}

// Count adds exchanges to the counter that ctx carries, if it carries one.
func Count(ctx context.Context, exchanges int32) {
	if n, ok := ctx.Value(countKey{}).(*atomic.Int32); ok {
		n.Add(exchanges)
	}
}

// count adds an exchange that ended with e, or with a response, if it began at all.
func count(ctx context.Context, e *ekm.Error) {
	if e == nil || e.Phase != ekm.PhasePrepare {
		Count(ctx, 1)
	}
}
