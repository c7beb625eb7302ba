package wire

import (
	"context"
	"errors"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/retry"
)

// Call returns the tries of one operation, with p and through the client's gate.
// repeatable is as in [retry.Policy.Do].
func (c *Client) Call(p retry.Policy, repeatable bool) *retry.Call {
	return &retry.Call{Gate: c.Gate, Policy: p, Repeatable: repeatable}
}

// Send makes exchanges for call until judge accepts a response or call's policy
// gives up. judge returns nil for a response that answers the request, else its
// refusal, an error from [Client.Refusal].
func (c *Client) Send(ctx context.Context, call *retry.Call, r *Request, judge func(*Response) error) (*Response, error) {
	return c.Retry(ctx, call, r, func(ctx context.Context) (*Response, error) {
		resp, err := c.Do(ctx, r)
		if err == nil {
			err = judge(resp)
		}
		return resp, err
	})
}

// Retry is [Client.Send] for a caller that makes the tries of r itself. An error of
// try's without a code ends it, as nothing was sent.
func (c *Client) Retry(ctx context.Context, call *retry.Call, r *Request, try func(context.Context) (*Response, error)) (*Response, error) {
	var last struct {
		answer *Response
		err    error
		ended  time.Time
	}
	err := call.Do(ctx, func(ctx context.Context) (err error) {
		if last.err != nil {
			// Here, as not every try goes through a gate, which may be others' too.
			c.Retried(ctx, call.Tries()-1, last.err, time.Since(last.ended))
		}
		if last.answer, err = try(ctx); err != nil {
			last.err, last.ended = err, time.Now()
		}
		return err
	})
	if err == nil {
		last.answer.Attempts = call.Tries()
		return last.answer, nil
	}
	if e, ok := errors.AsType[*ekm.Error](err); ok && e.Op == "" {
		e.Op, e.CorrelationID = r.Op, r.Correlation // it ended at the gate
	}
	return nil, err
}
