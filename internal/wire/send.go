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
// [retry.Policy.Do]; without it, net/http does not repeat the request either once it
// was written.
func (c *Client) Send(ctx context.Context, p retry.Policy, r *Request, repeatable bool, judge func(*Response) error) (*Response, error) {
	sent := *r
	sent.once = !repeatable
	return c.Retry(ctx, p, r, repeatable, func(ctx context.Context) (*Response, error) {
		resp, err := c.Do(ctx, &sent)
		if err == nil {
			err = judge(resp)
		}
		return resp, err
	})
}

// Retry is [Client.Send] for a caller that makes the tries of r itself.
func (c *Client) Retry(ctx context.Context, p retry.Policy, r *Request, repeatable bool, try func(context.Context) (*Response, error)) (*Response, error) {
	gate := c.Gate
	if r.Apart {
		gate = nil
	}
	var answer *Response
	tries := 0
	err := gate.Do(ctx, p, repeatable, func(ctx context.Context) (err error) {
		if tries++; tries > 1 {
			c.Retried() // here, as not every try goes through a gate, which may be others' too
		}
		answer, err = try(ctx)
		return err
	})
	if err == nil {
		answer.Attempts = tries
		return answer, nil
	}
	if e, ok := errors.AsType[*ekm.Error](err); ok && e.Op == "" {
		e.Op, e.CorrelationID = r.Op, r.Correlation // it ended at the gate
	}
	return nil, err
}
