// Soak keeps callers at work against the bundled fake vault, over TLS, first with
// nothing in their way and then with blips, revocations, cuts, refusals by chance and a
// neighbour that uses the vault's limit without backing off. It fails if the faults cost
// more than a fifth of the throughput, or if any caller is given an error or a wrong
// answer.
//
//	go run ./internal/soak -for 1m
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

func main() {
	each := flag.Duration("for", time.Minute, "time of all: half of it without faults, half with them")
	flag.Parse()
	fake := newVault()
	listener, err := fake.Listen()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	r, err := soak(context.Background(), fake, listener.Transport(), *each/2)
	if closing := listener.Close(); err == nil {
		err = closing
	}
	fmt.Println(r)
	if err == nil {
		err = r.fault()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const (
	key     = "tde"
	callers = 40
	limit   = 100 // the vault's, in calls a second
)

// newVault is a vault that takes fewer calls than the machine could make, so that
// throughput does not depend on the machine.
func newVault() *fakevault.Server {
	fake := fakevault.New(fakevault.Options{Throttle: fakevault.Throttle{Limit: limit, Window: time.Second}})
	fake.CreateKey(key, 2048)
	return fake
}

// A report is what a run came to.
type report struct {
	calm, faulted uint64 // calls done
	failed, wrong uint64
	last          error // of the failed ones
	faults        uint64
	stats         akv.Stats
}

func (r report) ratio() float64 { return float64(r.faulted) / float64(max(1, r.calm)) }

func (r report) String() string {
	return fmt.Sprintf("calls %d without faults, %d among %d faults: ratio %.2f; failed %d, wrong %d; %+v",
		r.calm, r.faulted, r.faults, r.ratio(), r.failed, r.wrong, r.stats)
}

// fault is what the run showed to be wrong.
func (r report) fault() error {
	const least = 0.8
	switch {
	case r.wrong > 0:
		return fmt.Errorf("%d answers were wrong", r.wrong)
	case r.failed > 0:
		return fmt.Errorf("%d calls failed, the last with: %w", r.failed, r.last)
	case r.ratio() < least:
		return fmt.Errorf("faults left %.2f of the throughput, less than %.1f", r.ratio(), least)
	}
	return nil
}

// soak runs two phases of the given length.
func soak(ctx context.Context, fake *fakevault.Server, transport http.RoundTripper, phase time.Duration) (report, error) {
	cred, err := aad.NewClientSecret(fake.ClientID(), fake.ClientSecret())
	if err != nil {
		return report{}, err
	}
	client, err := akv.NewClient(fake.VaultURL(), cred, &akv.Options{Transport: transport})
	if err != nil {
		return report{}, err
	}
	defer client.Close()
	var w work
	w.client = client
	calm := w.keepBusy(ctx, phase)

	ctx, stop := context.WithTimeout(ctx, phase) // those who are late meet no more faults
	var trouble sync.WaitGroup
	var faults atomic.Uint64
	trouble.Go(func() { faults.Store(blips(ctx, fake)) })
	trouble.Go(func() { chance(ctx, fake) })
	trouble.Go(func() { neighbour(ctx, fake, cred, transport) })
	faulted := w.keepBusy(context.WithoutCancel(ctx), phase)
	stop()
	trouble.Wait()
	last, _ := w.last.Load().(failure)
	return report{
		calm: calm, faulted: faulted, failed: w.failed.Load(), wrong: w.wrong.Load(), last: last.err,
		faults: faults.Load(), stats: client.Stats(),
	}, nil
}

// work is what the callers do and have done.
type work struct {
	client        *akv.Client
	failed, wrong atomic.Uint64
	last          atomic.Value // failure
}

type failure struct{ err error }

// keepBusy has all callers wrap and unwrap for a time, and returns how many calls
// succeeded in it. Calls under way at the end are waited for and do not count.
func (w *work) keepBusy(ctx context.Context, phase time.Duration) uint64 {
	end := time.Now().Add(phase)
	var done atomic.Uint64
	count := func(err error) bool {
		if err != nil {
			w.failed.Add(1)
			w.last.Store(failure{err})
			return false
		}
		if time.Now().Before(end) {
			done.Add(1)
		}
		return true
	}
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for time.Now().Before(end) {
				dek := make([]byte, 32)
				_, _ = rand.Read(dek) // it never fails
				wrapped, err := w.client.WrapKey(ctx, key, "", akv.RSAOAEP256, dek)
				if !count(err) {
					continue
				}
				for range 2 {
					_, err = w.client.GetKey(ctx, key, "")
					count(err)
				}
				back, err := w.client.UnwrapKey(ctx, key, "", akv.RSAOAEP256, wrapped.Value)
				if count(err) && !bytes.Equal(back.Value, dek) {
					w.wrong.Add(1)
				}
			}
		})
	}
	group.Wait()
	return done.Load()
}

// blips makes short faults of every kind at random, of the vault and the authority,
// and returns how many.
func blips(ctx context.Context, fake *fakevault.Server) (n uint64) {
	vault := func(f fakevault.Fault) fakevault.Fault {
		f.Host = fake.VaultHost()
		return f
	}
	for pause(ctx, time.Duration(1000+mathrand.IntN(1000))*time.Millisecond) == nil {
		switch n++; n % 9 { // revocations stand apart: a call is given a new token once
		case 0:
			fake.Script(vault(fakevault.Fault{Status: 503, Times: 5}))
		case 1:
			fake.RevokeTokens()
		case 2:
			fake.Script(vault(fakevault.Fault{Kind: fakevault.Abort, Times: 2}))
		case 3:
			fake.Script(vault(fakevault.Fault{Kind: fakevault.Cut, Bytes: 20, Times: 2}))
		case 4:
			fake.RevokeTokensWithClaims()
		case 5:
			fake.Script(vault(fakevault.Fault{Status: 500, Times: 2}))
		case 6:
			fake.Script(vault(fakevault.Fault{Delay: time.Second, Times: 5}))
		case 7:
			fake.Script(fakevault.EntraTransient(2))
			fake.RevokeTokens()
		case 8:
			fake.Script(vault(fakevault.Fault{Status: 502, Times: 2}))
		}
	}
	return n
}

// chance has about one call in a hundred refused.
func chance(ctx context.Context, fake *fakevault.Server) {
	for pause(ctx, time.Duration(mathrand.IntN(int(200*time.Second/limit)))) == nil {
		fake.Script(fakevault.Fault{Host: fake.VaultHost(), Status: http.StatusTooManyRequests})
	}
}

// neighbour is another program of the same vault, which takes a tenth of its limit for
// half of the time and does not care whether it is refused.
func neighbour(ctx context.Context, fake *fakevault.Server, cred aad.Credential, transport http.RoundTripper) {
	tokens := aad.NewTokens(cred, &aad.Options{Transport: transport})
	defer tokens.Close()
	demand := challenge.Challenge{Authority: fake.AuthorityURL(), Resource: "https://vault.azure.net", Scope: "https://vault.azure.net/.default"}
	for {
		for range limit / 2 {
			if token, err := tokens.Get(ctx, demand); err == nil {
				ask(ctx, fake, token, transport)
			}
			if pause(ctx, 10*time.Second/limit) != nil {
				return
			}
		}
		if pause(ctx, 5*time.Second) != nil {
			return
		}
	}
}

// ask makes one request without looking at the answer.
func ask(ctx context.Context, fake *fakevault.Server, token aad.Token, transport http.RoundTripper) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fake.VaultURL()+"/keys/"+key+"?api-version=7.4", nil)
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	if resp, err := transport.RoundTrip(r); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errors.New("the run is over")
	}
}
