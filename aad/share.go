package aad

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/flight"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/retry"
)

// A flown tells apart work that does not answer for each other's callers.
type flown[K comparable] struct {
	key K
	// ahead marks a refresh in the background. It ends with the Tokens that began
	// it, so nobody else may wait for it.
	ahead bool
	alone *Tokens // the only one whose callers may wait for it; nil: any
}

// A landing is what comes of shared work.
type landing[V any] struct {
	value   V
	by      *Tokens   // who did it
	ends    time.Time // when the last of those who waited for it would have left
	endless bool      // there was one who would not
	made    int32     // exchanges
}

// share returns what work returns, and has it run at most once at a time for key,
// for all clients that share the credential. If another's work fails in a way that
// may be its own alone, because its context, limits, retries or network differ, t
// does the work itself. Whoever waits counts the exchanges of the work as its own.
func share[K comparable, V any](ctx context.Context, t *Tokens, group *flight.Group[flown[K], landing[V]], key K, work func(context.Context) (V, error)) (V, error) {
	recorded := func(ctx context.Context) (landing[V], error) {
		var made atomic.Int32
		value, err := work(wire.Counting(ctx, &made))
		ends, bounded := ctx.Deadline()
		return landing[V]{value, t, ends, !bounded, made.Load()}, err
	}
	got, err := group.Do(ctx, flown[K]{key: key}, recorded)
	got.count(ctx, err)
	if err != nil && got.mayDiffer(ctx, t, err) {
		got, err = group.Do(ctx, flown[K]{key: key, alone: t}, recorded)
		got.count(ctx, err)
	}
	return got.value, err
}

// count adds the exchanges of the work to those of a caller who waited for it, as far
// as it had got where the caller left before.
func (l landing[V]) count(ctx context.Context, err error) {
	made := l.made
	if left, ok := errors.AsType[*flight.Left](err); ok {
		if e, ok := errors.AsType[*ekm.Error](left.Last); ok {
			made = int32(e.Attempts)
		}
	}
	wire.Count(ctx, made)
}

// mayDiffer reports whether t, which waited for the landing with ctx, may fare
// better than the one who did the work.
func (l landing[V]) mayDiffer(ctx context.Context, t *Tokens, err error) bool {
	if l.by == nil || isRefusal(err) || ctx.Err() != nil {
		return false // nothing landed, or it would be the same for everybody
	}
	e, ok := errors.AsType[*ekm.Error](err)
	if !ok || e.Party == ekm.Local && !ownLimit(e) {
		return false // the credential's own fault
	}
	ends, bounded := ctx.Deadline()
	longer := !l.endless && (!bounded || ends.After(l.ends))
	return l.by != t || longer && retry.Temporary(err)
}

// isRefusal reports that the other side itself said no, which waiting does not
// cure, or gave a token that had expired. A portal's or proxy's page with the same
// status says nothing like that.
func isRefusal(err error) bool {
	e, ok := errors.AsType[*ekm.Error](err)
	if ok && e.Party != ekm.Local && errors.Is(err, errExpired) {
		return true
	}
	return ok && e.Status >= 400 && e.Status < 500 && e.ServiceCode != "" && !retry.Temporary(err)
}

// ownLimit reports a failure by one of the limits of the client that had it.
func ownLimit(e *ekm.Error) bool {
	switch e.Code {
	case ekm.ErrorGetTokenOutOfMemoryConcatPath, ekm.ErrorGetTokenOutOfMemoryConcatBody, ekm.ErrorGetTokenOutOfMemoryConvertResponseString,
		ekm.ErrorGetAADValuesOutOfMemoryConcatPath:
		return true
	}
	return e.Phase == ekm.PhasePrepare
}

// gaveUp gives a code to the failure of what goroutines share. A caller whose
// context ended while it waited is told how far that had got if nobody else waits
// for it, else a code that blames nobody; the latter too if the one who did the
// work never returned. Errors that have a code it returns as they are.
func gaveUp(err error, op, host string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*ekm.Error](err); ok {
		return err
	}
	if left, ok := errors.AsType[*flight.Left](err); ok {
		err = fmt.Errorf("gave up waiting: %w", left.Cause)
		if e, ok := errors.AsType[*ekm.Error](left.Last); ok {
			full := *e
			if e.Err == nil {
				full.Err = left.Cause
			} else if !errors.Is(e.Err, left.Cause) {
				full.Err = fmt.Errorf("%w: %w", e.Err, left.Cause)
			}
			return &full
		}
	}
	return &ekm.Error{Code: ekm.SCPErrFailure, Op: op, Party: ekm.Local, Host: host, Time: time.Now(), Err: err}
}
