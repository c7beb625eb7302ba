package akv

import (
	"context"
	"errors"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/jwk"
)

// told writes the call's log record, if the logger wants it, and returns err. Every call
// ends with it. id is the id of the key in the answer, or "".
func (k *call) told(ctx context.Context, id string, err error) error {
	c := k.client
	if !c.wire.Wants(ctx, err) {
		return err
	}
	o := wire.Outcome{Op: k.name, Began: k.began, Err: err, Seen: k.seen(err)}
	if k.url != "" { // else they were refused, and may be a secret in the wrong place
		o.Key, o.Version = k.key, k.version
	}
	if _, name, version, ok := jwk.SplitID(id); ok && version != k.version {
		o.Answered = version
		if o.Key == "" { // RestoreKey's, which asks for none
			o.Key = name
		}
	}
	c.wire.Tell(ctx, o)
	return err
}

// seen returns what is known about the call's end, as an error's fields, also for a success.
func (k *call) seen(err error) *ekm.Error {
	if err != nil {
		e, _ := errors.AsType[*ekm.Error](err) // every error of a call is one
		return e
	}
	e := k.client.wire.Refusal(k.last(), k.answer) // read for its ids
	e.Code, e.Attempts = ekm.CodeOf(err), int(k.made.Load())
	return e
}
