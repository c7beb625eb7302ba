package wire_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/retry"
)

// A body is a response's, of a round tripper that counts for itself.
type body struct {
	read   func([]byte) (int, error)
	closed atomic.Int32
}

func (b *body) Read(p []byte) (int, error) { return b.read(p) }
func (b *body) Close() error               { b.closed.Add(1); return nil }

// A round tripper that breaks its contract is a defect of the program, which no
// second try mends: the party is local, and nobody else is blamed.
func TestRoundTrippersThatBreakTheirContract(t *testing.T) {
	mishap := errors.New("a mishap")
	full := func() *body { return &body{read: strings.NewReader("ok").Read} }
	for _, c := range []struct {
		name  string
		resp  func(*body) *http.Response
		body  *body
		err   error
		says  string
		code  ekm.Code
		phase ekm.Phase
	}{
		{"nothing", func(*body) *http.Response { return nil }, nil, nil, "neither response nor error", 3107, ekm.PhaseWrite},
		{"no body", func(*body) *http.Response { return &http.Response{StatusCode: 200} }, nil, nil, "without a body", 3107, ekm.PhaseWrite},
		{"both", responding(200), full(), mishap, "a response and an error: a mishap", 3107, ekm.PhaseWrite},
		{"both, without a body", func(*body) *http.Response { return &http.Response{StatusCode: 502} }, nil, mishap, "a mishap", 3107, ekm.PhaseWrite},
		{"negative status", responding(-1), full(), nil, "the status -1", 3107, ekm.PhaseWrite},
		{"status of four digits", responding(2000), full(), nil, "the status 2000", 3107, ekm.PhaseWrite},
		{"negative count", responding(200), &body{read: func([]byte) (int, error) { return -1, nil }}, nil, "read -1 of", 3119, ekm.PhaseBody},
		{"more than there is room for", responding(200), &body{read: func(p []byte) (int, error) { return len(p) + 1, nil }}, nil, "of", 3119, ekm.PhaseBody},
	} {
		t.Run(c.name, func(t *testing.T) {
			tries := 0
			client := &wire.Client{Gate: new(retry.Gate), Transport: tripper(func(*http.Request) (*http.Response, error) {
				tries++
				return c.resp(c.body), c.err
			})}
			_, err := client.Send(t.Context(), client.Call(retry.Policy{Base: time.Microsecond}, true), get("v.example"), func(*wire.Response) error { return nil })
			e := failed(t, err, want{c.code, c.phase, ekm.Local, "v.example"})
			assert.Equal(t, 1, tries)
			assert.ErrorContains(t, e, "breaks its contract")
			assert.ErrorContains(t, e, c.says)
			if c.err != nil {
				assert.ErrorIs(t, err, c.err)
			}
			if c.body != nil {
				assert.EqualValues(t, 1, c.body.closed.Load(), "closed")
			}
			assert.False(t, client.Gate.Stats().Shut, "the host has nothing to do with it")
		})
	}
}

func responding(status int) func(*body) *http.Response {
	return func(b *body) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: -1, Body: b}
	}
}

// A body that gives nothing and does not end is given up, as it would keep a
// processor busy until the context ends, or longer.
func TestBodyThatGivesNothing(t *testing.T) {
	b := &body{read: func([]byte) (int, error) { return 0, nil }}
	client := &wire.Client{Transport: tripper(func(*http.Request) (*http.Response, error) { return responding(200)(b), nil })}
	_, err := do(t, client, get("v.example"))
	failed(t, err, want{ekm.ErrorHttpReadData, ekm.PhaseBody, ekm.Vault, "v.example"})
	require.ErrorIs(t, err, io.ErrNoProgress)
}

// Whatever panics within an exchange, the client counts on: limits that were taken
// are given back, and the next exchange has room.
func TestPanicsWithinAnExchange(t *testing.T) {
	var broken bool
	panicking := func(what string) *wire.Client {
		return &wire.Client{
			Limits: wire.Limits{InFlight: 1, Held: 4}, Gate: &retry.Gate{InFlight: 1},
			Transport: tripper(func(*http.Request) (*http.Response, error) {
				if broken && what == "round trip" {
					panic("a mishap")
				}
				b := &body{read: strings.NewReader("ok").Read}
				if broken && what == "read" {
					first := true
					b.read = func(p []byte) (int, error) {
						if first {
							first = false
							return copy(p, "ok"), nil
						}
						panic("a mishap")
					}
				}
				resp := responding(200)(b)
				if broken && what == "close" {
					resp.Body = badCloser{b}
				}
				return resp, nil
			}),
		}
	}
	for _, what := range []string{"round trip", "read", "close"} {
		t.Run(what, func(t *testing.T) {
			client := panicking(what)
			send := func() (*wire.Response, error) {
				return client.Send(t.Context(), client.Call(retry.Policy{}, true), get("v.example"), func(*wire.Response) error { return nil })
			}
			broken = true
			for range 3 {
				assert.PanicsWithValue(t, "a mishap", func() { _, _ = send() }, "in the caller's goroutine it passes as it is")
			}
			broken = false
			for range 3 {
				resp, err := send()
				require.NoError(t, err)
				assert.Equal(t, "ok", string(resp.Body))
			}
			assert.Zero(t, client.Gate.Stats().InFlight)
		})
	}
}

type badCloser struct{ io.Reader }

func (badCloser) Close() error { panic("a mishap") }

// A closer is a round tripper whose idle connections panic when they are closed.
type closer struct {
	tripper
	looks atomic.Int32
}

func (c *closer) CloseIdleConnections() {
	if c.looks.Add(1) > 1 {
		panic("a mishap")
	}
}

// Connections are closed by the clock too, and then nobody could recover.
func TestPanicsByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(closer)
		client := &wire.Client{Transport: c, Own: true}
		client.Close()
		time.Sleep(time.Hour)
		assert.EqualValues(t, 3, c.looks.Load())
		assert.Panics(t, client.Close, "in the caller's goroutine it passes")
		time.Sleep(time.Hour)
	})
}
