package wire

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/retry"
)

// An Outcome is what one operation came to, for its record in the log.
type Outcome struct {
	Op       string
	Key      string    // its name; empty: none
	Version  string    // as asked; empty: none
	Answered string    // the version that answered, if it is another one
	Began    time.Time // of the operation
	Err      error
	Seen     *ekm.Error // what Err is, or in the same form what is known of a success
	// Ahead says that nobody waits for the operation, and that its failure has done no
	// harm yet.
	Ahead bool
}

// Wants reports whether the record of an operation that ended with err would be
// written, so that nothing needs to be gathered for one that would not.
func (c *Client) Wants(ctx context.Context, err error) bool {
	return c.Logger != nil && c.Logger.Enabled(ctx, c.level(err))
}

// level is that of a record: a warning where the same call may succeed later, be it
// because a context ended it. A final answer is an error however late it came.
func (c *Client) level(err error) slog.Level {
	switch {
	case err == nil:
		return c.Success
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || retry.Temporary(err):
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}

// Tell writes the record of an operation.
func (c *Client) Tell(ctx context.Context, o Outcome) {
	if c.Logger == nil {
		return
	}
	level, message := c.level(o.Err), "operation succeeded"
	switch {
	case o.Err != nil && o.Ahead:
		level, message = slog.LevelWarn, "token not refreshed ahead of its end"
	case o.Err != nil:
		message = "operation failed"
	}
	attrs := make([]slog.Attr, 0, 20)
	for _, a := range [...]slog.Attr{
		slog.String("operation", o.Op), slog.String("key", o.Key), slog.String("version", o.Version), slog.String("answered", o.Answered),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	attrs = append(append(attrs, facts(o.Seen)...), slog.Float64("duration", time.Since(o.Began).Seconds()))
	c.Logger.LogAttrs(ctx, level, message, attrs...)
}

// Retried counts and tells that a try is made after another, of the number failed,
// ended with err; wait is the time between them.
func (c *Client) Retried(ctx context.Context, failed int, err error, wait time.Duration) {
	c.counted.retries.Add(1)
	e, ok := errors.AsType[*ekm.Error](err)
	if !ok || c.Logger == nil || !c.Logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	shown := *e
	shown.Attempts = 0 // which callers change
	attrs := append([]slog.Attr{slog.String("operation", e.Op), slog.Int("try", failed), slog.Float64("wait", wait.Seconds())}, facts(&shown)...)
	c.Logger.LogAttrs(ctx, slog.LevelDebug, "operation tried again", attrs...)
}

// facts are what e tells, under the names that its JSON form has for it, but for the
// operation and the time, which the record has anyway.
func facts(e *ekm.Error) []slog.Attr {
	if e == nil {
		return nil
	}
	shown := *e
	shown.Op, shown.Time = "", time.Time{}
	return shown.LogValue().Group()
}
