package wire

import (
	"context"

	"github.com/akv-ekm/ekm/retry"
)

// Send makes exchanges until judge accepts a response or p gives up. judge
// returns nil for a response that answers the request, else its refusal, an
// error from [Client.Refusal]. repeatable is as in [retry.Policy.Do].
func (c *Client) Send(ctx context.Context, p retry.Policy, r *Request, repeatable bool, judge func(*Response) error) (*Response, error) {
	var answer *Response
	err := p.Do(ctx, repeatable, func(ctx context.Context) error {
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
	return answer, nil
}
