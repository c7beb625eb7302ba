package akv

import (
	"context"
	"errors"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/jwk"
)

// told is the end of every call. It writes the call's record, if anybody reads that,
// and returns err. id is the key's that has answered, or "".
func (k *call) told(ctx context.Context, id string, err error) error {
	c := k.client
	if !c.wire.Wants(ctx, err) {
		return err
	}
	o := wire.Outcome{Op: k.name, Began: k.began, Err: err, Seen: k.seen(err)}
	if k.url != "" { // else they may be anything, a secret in the wrong place above all
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

// seen is what is known of how the call ended.
func (k *call) seen(err error) *ekm.Error {
	if err != nil {
		e, _ := errors.AsType[*ekm.Error](err) // which every error of a call is
		return e
	}
	e := k.client.wire.Refusal(k.last(), k.answer) // read for its ids
	e.Code, e.Attempts = ekm.CodeOf(err), int(k.made.Load())
	return e
}
