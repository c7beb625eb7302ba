package aad

import (
	"context"
	"sync"

	"github.com/akv-ekm/ekm/challenge"
)

// turns lets one goroutine at a time call foreign code for the same demand. Claims do not
// make a demand another one, as each rejected token may come with its own. Foreign code
// may ignore its context and still run when its caller has left; callers that come
// meanwhile wait for it. The zero value is ready.
type turns struct {
	mu   sync.Mutex
	busy map[challenge.Challenge]chan struct{} // closed when the turn ends
}

// take waits for the turn for c and returns the function that ends it, or ctx's
// error.
func (t *turns) take(ctx context.Context, c challenge.Challenge) (end func(), err error) {
	c.Claims, c.Error = "", ""
	for {
		t.mu.Lock()
		before := t.busy[c]
		if before == nil {
			if t.busy == nil {
				t.busy = make(map[challenge.Challenge]chan struct{})
			}
			mine := make(chan struct{})
			t.busy[c] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				delete(t.busy, c)
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
