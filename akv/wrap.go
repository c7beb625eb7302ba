package akv

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"github.com/akv-ekm/ekm"
)

// An Algorithm wraps keys: RFC 7518, section 4.1.
type Algorithm string

// The algorithms of RSA keys. What one has wrapped no other unwraps: keep the
// algorithm with the result. RSAOAEP256 is the one to choose; RSAOAEP (with SHA-1)
// and RSA15 are for what exists.
const (
	RSA15      Algorithm = "RSA1_5"
	RSAOAEP    Algorithm = "RSA-OAEP"
	RSAOAEP256 Algorithm = "RSA-OAEP-256"
)

// A Result is what wrapping or unwrapping gives.
//
// Printed with any verb or logged, it shows KeyID and how long Value is. It cannot
// be encoded as JSON, XML, text or gob, since a wrapped key that is left out of what
// is stored is lost: store KeyID and Value themselves. What Go does not let a type
// prevent is that package fmt prints Value in a struct with a Result in an unexported
// field.
type Result struct {
	// KeyID is the URL of the key version that did it, a version of the key asked
	// for in this client's vault, see [Options.IDHost]. Keep it with a wrapped key:
	// after a rotation the newest version is another one. [jwk.SplitID] takes it
	// apart into the name and the version that UnwrapKey wants.
	KeyID string
	// Value is the wrapped key, or the key itself.
	Value []byte
}

// WrapKey encrypts key, a symmetric key, with a version of the key name; an
// empty version is the newest one. How long key may be follows from the key's
// size and alg: 190 bytes for 2048 bits and RSAOAEP256.
//
// Codes of its own: 3600 to 3609; 3112 if there is no such key, 3113 without
// the permission or with a disabled key; 3 (SCPErrNotSupported) for an alg that
// is not one of ours. EC keys do not wrap. Nothing is checked beforehand: the error is
// what the vault answers, 403 (3113, KeyOperationForbidden) or 400 (3110).
func (c *Client) WrapKey(ctx context.Context, name, version string, alg Algorithm, key []byte) (Result, error) {
	k := c.call(opWrapKey(), name, version)
	result, err := k.convert(ctx, "wrapkey", alg, key)
	return result, k.told(ctx, result.KeyID, err)
}

// UnwrapKey decrypts what [Client.WrapKey] gave, with the same version and alg.
// Give the version: with none the newest one is used, which is another after a
// rotation.
//
// Codes of its own: 3700 to 3709; otherwise as WrapKey. The vault answers 400
// (3110) if wrapped is not what that version and alg have wrapped.
func (c *Client) UnwrapKey(ctx context.Context, name, version string, alg Algorithm, wrapped []byte) (Result, error) {
	k := c.call(opUnwrapKey(), name, version)
	result, err := k.convert(ctx, "unwrapkey", alg, wrapped)
	return result, k.told(ctx, result.KeyID, err)
}

// convert is what wrapping and unwrapping have in common: all but the codes.
func (k *call) convert(ctx context.Context, action string, alg Algorithm, value []byte) (Result, error) {
	path, err := k.versionPath(k.key, k.version, "/"+action)
	if err != nil {
		return Result{}, err
	}
	if alg != RSA15 && alg != RSAOAEP && alg != RSAOAEP256 {
		return Result{}, &ekm.Error{
			Code: ekm.SCPErrNotSupported, Op: k.name, Party: ekm.Local, Time: time.Now(),
			Err: errors.New("the algorithm is none of RSA1_5, RSA-OAEP and RSA-OAEP-256"),
		}
	}
	if err := k.start(path, ""); err != nil {
		return Result{}, err
	}
	codes, limits := k.family.codes(), k.client.opts.Limits
	if len(value) == 0 {
		return Result{}, k.fail(codes.encode, "there is no key: its length is 0")
	}
	if n := base64.RawURLEncoding.EncodedLen(len(value)); n > limits.Value {
		return Result{}, k.fail(codes.value, "the key has %d bytes in base64, the limit is %d (Limits.Value)", n, limits.Value)
	}
	if n := bodySize(alg, value); n > limits.Request {
		return Result{}, k.fail(codes.request, "the request has %d bytes, the limit is %d (Limits.Request)", n, limits.Request)
	}
	k.body = valueBody(alg, value)
	k.secret = k.body[len(k.body)-base64.RawURLEncoding.EncodedLen(len(value))-len(`"}`) : len(k.body)-len(`"}`)]
	body, err := k.do(ctx)
	if err != nil {
		return Result{}, err
	}
	kid, result, err := k.value(body)
	clear(body) // as far as it is ours to clear
	return Result{KeyID: kid, Value: result}, err
}
