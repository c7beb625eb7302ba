package akv_test

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/retry"
)

// misbehaving is what foreign code does when it is called: nothing, or what is set.
type misbehaving struct{ deed atomic.Pointer[func()] }

func (m *misbehaving) set(deed func()) { m.deed.Store(&deed) }
func (m *misbehaving) behave()         { m.deed.Store(nil) }

func (m *misbehaving) called() {
	if deed := m.deed.Load(); deed != nil {
		(*deed)()
	}
}

// mishap is what the panics of these tests come from: their stacks name it.
//
//go:noinline
func mishap() { panic("a mishap") }

// A foreign is a client with one piece of foreign code in it, which misbehaves.
type foreign struct {
	misbehaving
	opts   akv.Options
	cred   func(*testing.T) aad.Credential // nil: a client secret
	ctx    func(context.Context) context.Context
	shared bool // it is called in work that callers share, not in the caller's own goroutine
	renews bool // it is called to renew a token, too
	after  bool // it is called when the token is kept already, which lasts for an hour
}

const canarySecret = "canary-secret~0123456789"

func (f *foreign) client(t *testing.T) *akv.Client {
	t.Helper()
	f.opts.Gate = &retry.Gate{InFlight: 4}
	if f.opts.Transport == nil {
		f.opts.Transport = newWorld()
	}
	if f.cred == nil {
		f.cred = func(t *testing.T) aad.Credential {
			cred, err := aad.NewClientSecret("id", canarySecret)
			require.NoError(t, err)
			return cred
		}
	}
	client, err := akv.NewClient("contoso", f.cred(t), &f.opts)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func (f *foreign) context(t *testing.T) context.Context {
	if f.ctx == nil {
		return t.Context()
	}
	return f.ctx(t.Context())
}

// by is a round tripper that misbehaves at the requests of one kind.
func (f *foreign) by(kind func(*http.Request) bool) http.RoundTripper {
	w := newWorld()
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if kind(r) {
			f.called()
		}
		return w.RoundTrip(r)
	})
}

func toAuthority(r *http.Request) bool { return strings.HasPrefix(r.URL.Host, "login.") }
func probing(r *http.Request) bool     { return !toAuthority(r) && r.Header.Get("Authorization") == "" }
func operating(r *http.Request) bool   { return r.Header.Get("Authorization") != "" }

// A trap is a body that misbehaves.
type trap struct {
	io.ReadCloser
	read, close func()
}

func (b trap) Read(p []byte) (int, error) { b.read(); return b.ReadCloser.Read(p) }
func (b trap) Close() error               { b.close(); return b.ReadCloser.Close() }

// handler is a log handler that misbehaves at the records of tokens, or of calls.
type handler struct {
	slog.Handler
	f      *foreign
	tokens bool
}

func (h handler) Enabled(context.Context, slog.Level) bool { return true }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	of := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "operation" {
			of = a.Value.String()
		}
		return of == ""
	})
	if h.tokens == (of == "acquireToken") {
		h.f.called()
	}
	return h.Handler.Handle(ctx, r)
}

type tokenSource func(context.Context, challenge.Challenge) (aad.Token, error)

func (s tokenSource) Token(ctx context.Context, c challenge.Challenge) (aad.Token, error) {
	return s(ctx, c)
}

// A signer has an RSA key elsewhere.
type signer struct {
	crypto.Signer
	called func()
}

func (s signer) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	s.called()
	return s.Signer.Sign(r, digest, o)
}

// foreigners are all kinds of foreign code that a client calls.
func foreigners() map[string]func() *foreign {
	tripping := func(shared bool, kind func(*http.Request) bool) func() *foreign {
		return func() *foreign {
			f := &foreign{shared: shared, renews: shared}
			f.opts.Transport = f.by(kind)
			return f
		}
	}
	body := func(part string) func() *foreign {
		return func() *foreign {
			f := &foreign{shared: true, renews: true}
			w, none := newWorld(), func() {}
			f.opts.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := w.RoundTrip(r)
				if err == nil && toAuthority(r) {
					b := trap{resp.Body, none, none}
					if part == "read" {
						b.read = f.called
					} else {
						b.close = f.called
					}
					resp.Body = b
				}
				return resp, err
			})
			return f
		}
	}
	logging := func(tokens bool) func() *foreign {
		return func() *foreign {
			f := &foreign{shared: tokens, renews: tokens, after: tokens}
			f.opts.Logger = slog.New(handler{slog.DiscardHandler, f, tokens})
			return f
		}
	}
	wrapping := func(shared bool, kind func(*http.Request) bool) func() *foreign {
		return func() *foreign {
			f := &foreign{shared: shared, renews: shared}
			f.opts.Wrap = func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					if kind(r) {
						f.called()
					}
					return next.RoundTrip(r)
				})
			}
			return f
		}
	}
	return map[string]func() *foreign{
		"round tripper, asked for the challenge":        func() *foreign { f := tripping(true, probing)(); f.renews = false; return f },
		"round tripper, asked for the token":            tripping(true, toAuthority),
		"round tripper, asked for the key":              tripping(false, operating),
		"body, read":                                    body("read"),
		"body, closed":                                  body("close"),
		"log handler, told of the token":                logging(true),
		"log handler, told of the call":                 logging(false),
		"what wraps the transport, asked for the token": wrapping(true, toAuthority),
		"what wraps the transport, asked for the key":   wrapping(false, operating),
		"token source": func() *foreign {
			f := &foreign{shared: true, renews: true}
			f.cred = func(t *testing.T) aad.Credential {
				cred, err := aad.NewTokenSource(tokenSource(func(context.Context, challenge.Challenge) (aad.Token, error) {
					f.called()
					return aad.NewToken("token-of-tenant-a", time.Now().Add(time.Hour)), nil
				}))
				require.NoError(t, err)
				return cred
			}
			return f
		},
		"function that loads the credential": func() *foreign {
			f := &foreign{shared: true, renews: true}
			f.cred = func(t *testing.T) aad.Credential {
				cred, err := aad.NewReloading(func(context.Context) (aad.Credential, error) {
					f.called()
					return aad.NewClientSecret("id", canarySecret)
				})
				require.NoError(t, err)
				return cred
			}
			return f
		},
		"signer": func() *foreign {
			f := &foreign{shared: true, renews: true}
			f.cred = func(t *testing.T) aad.Credential {
				cred, err := aad.NewSigner("id", signer{testKey(), f.called}, nil, &aad.CertificateOptions{Thumbprint: strings.Repeat("ab", 20)})
				require.NoError(t, err)
				return cred
			}
			return f
		},
		"trace hook in the caller's context": func() *foreign {
			f := &foreign{shared: true}
			w := newWorld()
			f.opts.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
				return w.RoundTrip(r)
			})
			f.ctx = func(ctx context.Context) context.Context {
				return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { f.called() }})
			}
			return f
		},
		"the caller's context": func() *foreign {
			f := &foreign{shared: true}
			f.ctx = func(ctx context.Context) context.Context { return &strangeContext{ctx, f} }
			f.opts.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				r.Context().Value(strangeKey{})
				return newWorld().RoundTrip(r)
			})
			return f
		},
	}
}

type strangeKey struct{}

type strangeContext struct {
	context.Context
	f *foreign
}

func (c *strangeContext) Value(key any) any {
	if key == (strangeKey{}) {
		c.f.called()
	}
	return c.Context.Value(key)
}

// together has many callers get a key at once, and returns what each recovered.
func together(ctx context.Context, client *akv.Client, n int) (recovered []any, errs []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			var err error
			defer func() {
				v := recover()
				mu.Lock()
				defer mu.Unlock()
				recovered, errs = append(recovered, v), append(errs, err)
			}()
			_, err = client.GetKey(ctx, "tde", "")
		})
	}
	wg.Wait()
	return recovered, errs
}

func serves(t *testing.T, client *akv.Client) {
	t.Helper()
	recovered, errs := together(t.Context(), client, 10)
	for i := range errs {
		require.Nil(t, recovered[i])
		require.NoError(t, errs[i])
	}
	s := client.Stats()
	assert.Zero(t, s.Vault.Gate.InFlight+s.Vault.Gate.Waiting+s.Authority.Gate.InFlight+s.Authority.Gate.Waiting)
}

// A panic of foreign code reaches the callers, each in its own goroutine, and does
// not end the process. Then the client is as good as new.
func TestForeignCodeThatPanics(t *testing.T) {
	for name, make := range foreigners() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := make()
				client := f.client(t)
				for range 3 {
					f.set(mishap)
					recovered, _ := together(f.context(t), client, 10)
					for _, v := range recovered {
						if !f.shared {
							assert.Equal(t, "a mishap", v, "as it is")
							continue
						}
						err, ok := v.(error)
						if !assert.True(t, ok, "%T", v) {
							return
						}
						assert.Contains(t, err.Error(), "a mishap\n\ngoroutine ")
						assert.Contains(t, err.Error(), "akv_test.mishap(", "where it came from")
						for _, secret := range []string{canarySecret, "token-of-tenant-a"} {
							assert.NotContains(t, fmt.Sprintf("%v %+v %#v", v, v, v), secret)
						}
					}
					f.behave()
					if time.Sleep(5 * time.Second); f.after { // longer than failures are kept
						time.Sleep(2 * time.Hour)
					}
				}
				serves(t, client)
			})
		})
	}
}

// Foreign code that ends its goroutine ends one of ours where callers share it, and
// each of them gets an error.
func TestForeignCodeThatEndsItsGoroutine(t *testing.T) {
	for name, make := range foreigners() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := make()
				client := f.client(t)
				f.set(runtime.Goexit)
				_, errs := together(f.context(t), client, 10)
				for _, err := range errs {
					if f.shared {
						assert.ErrorIs(t, err, ekm.SCPErrFailure)
					}
				}
				f.behave()
				time.Sleep(5 * time.Second)
				serves(t, client)
			})
		})
	}
}

// In the background there is no caller to panic: the token is not refreshed, the log
// says so if the logger itself is not what panics, and the next attempt is made.
func TestForeignCodeThatPanicsInTheBackground(t *testing.T) {
	for name, make := range foreigners() {
		for how, deed := range map[string]func(){"panics": mishap, "ends": runtime.Goexit} {
			t.Run(name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := make()
					if !f.renews {
						t.Skip("it has no part in it")
					}
					var log bytes.Buffer
					if f.opts.Logger == nil {
						f.opts.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
					}
					client := f.client(t)
					serves(t, client)
					time.Sleep(56 * time.Minute) // of an hour

					before := client.Stats().Authority.Succeeded
					f.set(deed)
					serves(t, client)
					synctest.Wait()
					if _, itself := f.opts.Logger.Handler().(handler); how == "panics" && !itself {
						assert.Contains(t, log.String(), "not refreshed")
						assert.Contains(t, log.String(), "akv_test.mishap(")
						assert.NotContains(t, log.String(), "a mishap", "the value may hold anything")
						assert.NotContains(t, log.String(), canarySecret)
					}
					f.behave()
					time.Sleep(31 * time.Second) // between two attempts
					serves(t, client)
					synctest.Wait()
					if name != "token source" {
						assert.Greater(t, client.Stats().Authority.Succeeded, before, "refreshed")
					}
				})
			})
		}
	}
}

// Foreign code that never returns keeps the caller whose goroutine it runs in, but
// nobody who waits for shared work.
func TestForeignCodeThatBlocks(t *testing.T) {
	for name, make := range foreigners() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := make()
				if !f.shared {
					t.Skip("it holds its caller, see the package's comment: a round tripper must observe the request's context")
				}
				client := f.client(t)
				block := newBlock()
				f.set(block.wait)
				ctx, cancel := context.WithTimeout(f.context(t), time.Minute)
				defer cancel()
				start := time.Now()
				_, errs := together(ctx, client, 10)
				for _, err := range errs {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
				}
				assert.Less(t, time.Since(start), time.Minute+time.Second)
				f.behave()
				block.end()
				synctest.Wait()
				time.Sleep(5 * time.Second)
				serves(t, client)
			})
		})
	}
}

type block chan struct{}

func newBlock() block { return make(block) }
func (b block) wait() { <-b }
func (b block) end()  { close(b) }
