package wire

import (
	"context"
	"errors"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/retry"
)

// Send makes exchanges, each let through the client's gate, until judge accepts a
// response or p gives up. judge returns nil for a response that answers the
// request, else its refusal, an error from [Client.Refusal]. repeatable is as in
// [retry.Policy.Do].
func (c *Client) Send(ctx context.Context, p retry.Policy, r *Request, repeatable bool, judge func(*Response) error) (*Response, error) {
	var answer *Response
	tries := 0
	err := c.Retry(ctx, p, r, repeatable, func(ctx context.Context) error {
		tries++
		resp, err := c.Do(ctx, r)
		if err == nil {
			err = judge(resp)
		}
		answer = resp
		return err
	})
	if err != nil {
		return nil, err
	}
	answer.Attempts = tries
	return answer, nil
}

// Retry is [Client.Send] for a caller that makes the tries of r itself.
func (c *Client) Retry(ctx context.Context, p retry.Policy, r *Request, repeatable bool, try func(context.Context) error) error {
	gate := c.Gate
	if r.Apart {
		gate = nil
	}
	tried := false
	err := gate.Do(ctx, p, repeatable, func(ctx context.Context) error {
		if tried {
			c.Retried() // here, as not every try goes through a gate, which may be others' too
		}
		tried = true
		return try(ctx)
	})
	if e, ok := errors.AsType[*ekm.Error](err); ok && e.Op == "" {
		e.Op, e.CorrelationID = r.Op, r.Correlation // it ended at the gate
	}
	return err
}
