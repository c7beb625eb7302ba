package aad

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
)

// NewReloading is a credential that may change while it is used: load is called
// for each exchange, about once an hour, and what it returns is the identity of
// that exchange. A secret from a store, or a file that is replaced in time, thus
// takes effect without a restart:
//
//	cred, err := aad.NewReloading(func(ctx context.Context) (aad.Credential, error) {
//		pfx, err := os.ReadFile("/run/secrets/app.pfx")
//		if err != nil {
//			return nil, err
//		}
//		return aad.NewPFX(clientID, pfx, nil)
//	})
//
// If the authority rejects the credential (3303, or 3110 for an application that
// it does not know), load is called once more, and the exchange repeated if that
// gave another one; if it failed, the authority's answer stands.
//
// load is called by at most one goroutine at a time for the same demand. Its context
// ends when nobody waits any more; while it goes on in spite of that, later callers
// wait for it. Its errors are returned with their
// code, or with 3304 if they have none. NewReloading calls it once; the error is
// what it returned, or 6 (SCPErrInvalidArgument) if it is nil.
func NewReloading(load func(context.Context) (Credential, error)) (Credential, error) {
	if load == nil {
		return nil, invalid("the function that loads the credential is nil")
	}
	r := &reloading{load: load}
	r.shown = r.describe
	_, err := r.reload(context.Background(), challenge.Challenge{})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// NewReloadingFile is [NewReloading] for a file: parse makes the credential of
// its content, which is read anew for each exchange, at most 1 MiB of it.
//
//	cred, err := aad.NewReloadingFile("/run/secrets/app.pem", func(pem []byte) (aad.Credential, error) {
//		return aad.NewPEM(clientID, pem, nil)
//	})
func NewReloadingFile(path string, parse func([]byte) (Credential, error)) (Credential, error) {
	if parse == nil {
		return nil, invalid("the function that reads the credential's file is nil")
	}
	return NewReloading(func(context.Context) (Credential, error) {
		content, err := readFile(path, 1<<20)
		if err != nil {
			return nil, fmt.Errorf("the credential's file: %w", err)
		}
		return parse(content)
	})
}

// refusedIdentity reports that the authority does not take a credential, for
// which another one may be there by now.
func refusedIdentity(err error) bool {
	e, ok := errors.AsType[*ekm.Error](err)
	return ok && (e.Code == ekm.ErrorGetTokenBadCredentials || e.Code == ekm.ErrorHttpResponseCodeClientError && e.Party == ekm.Authority)
}

type reloading struct {
	shown
	load  func(context.Context) (Credential, error)
	turns turns
	kept  cache

	mu   sync.Mutex
	last Credential
}

func (r *reloading) cache() *cache { return &r.kept }

func (r *reloading) reload(ctx context.Context, demand challenge.Challenge) (Credential, error) {
	end, err := r.turns.take(ctx, demand)
	if err != nil {
		return nil, noToken(err, ekm.Local, "")
	}
	defer end() // also if load panics
	cred, err := r.load(ctx)
	if err == nil && cred == nil {
		err = errors.New("no credential was loaded")
	}
	if cred == Credential(r) {
		err = errors.New("the function that loads the credential returned the credential that calls it")
	}
	if err != nil {
		return nil, noToken(err, ekm.Local, "")
	}
	r.mu.Lock()
	r.last = cred
	r.mu.Unlock()
	return cred, nil
}

func (r *reloading) token(ctx context.Context, x *exchange, demand challenge.Challenge) (Token, error) {
	cred, err := r.reload(ctx, demand)
	if err != nil {
		return Token{}, err
	}
	tok, err := exchanged(ctx, cred, x, demand)
	if !refusedIdentity(err) {
		return tok, err
	}
	// The file may have been replaced between our reading and Entra's check.
	again, loadErr := r.reload(ctx, demand)
	if loadErr != nil || again.fingerprint() == cred.fingerprint() {
		return tok, err
	}
	return exchanged(ctx, again, x, demand)
}

func (r *reloading) fingerprint() [32]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.fingerprint()
}

func (r *reloading) notAfter() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	end, _ := NotAfter(r.last)
	return end
}

// digest is a fingerprint of parts that tells two credentials apart and tells
// nothing of them.
func digest(parts ...string) [32]byte {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256([]byte(p))
		h.Write(sum[:])
	}
	return [32]byte(h.Sum(nil))
}
