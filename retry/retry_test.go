package retry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/retry"
)

func TestAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	const none = -1
	for _, c := range []struct {
		name, header, value string
		want                time.Duration
	}{
		{"seconds", "Retry-After", "10", 10 * time.Second},
		{"zero", "Retry-After", "0", 0},
		{"fraction", "Retry-After", "1.5", 1500 * time.Millisecond},
		{"blanks", "Retry-After", " \t7 ", 7 * time.Second},
		{"milliseconds", "Retry-After-Ms", "250", 250 * time.Millisecond},
		{"milliseconds, other name", "X-Ms-Retry-After-Ms", " 250 ", 250 * time.Millisecond},
		{"RFC 1123", "Retry-After", "Mon, 23 Nov 2026 10:00:30 GMT", 30 * time.Second},
		{"RFC 850", "Retry-After", "Monday, 23-Nov-26 10:00:30 GMT", 30 * time.Second},
		{"asctime", "Retry-After", "Mon Nov 23 10:00:30 2026", 30 * time.Second},
		{"a date gone by", "Retry-After", "Mon, 23 Nov 2026 09:00:30 GMT", 0},
		{"huge", "Retry-After", "99999999999999999999", math.MaxInt64},
		{"beyond float64", "Retry-After", strings.Repeat("9", 400), math.MaxInt64},
		{"negative", "Retry-After", "-5", none},
		{"sign", "Retry-After", "+5", none},
		{"garbage", "Retry-After", "soon", none},
		{"dot", "Retry-After", ".", none},
		{"two dots", "Retry-After", "1.2.3", none},
		{"NaN", "Retry-After", "NaN", none},
		{"Inf", "Retry-After", "Inf", none},
		{"hexadecimal", "Retry-After", "0x10", none},
		{"exponent", "Retry-After", "1e3", none},
		{"underscore", "Retry-After", "1_0", none},
		{"blank", "Retry-After", "  ", none},
		{"absent", "X", "1", none},
	} {
		got, ok := retry.After(http.Header{c.header: {c.value}}, now)
		if c.want == none {
			assert.False(t, ok, c.name)
			assert.Zero(t, got, c.name)
			continue
		}
		assert.True(t, ok, c.name)
		assert.Equal(t, c.want, got, c.name)
	}
	d, ok := retry.After(http.Header{"Retry-After": {"9"}, "Retry-After-Ms": {"250"}}, now)
	assert.True(t, ok)
	assert.Equal(t, 250*time.Millisecond, d, "the more exact one wins")
	d, ok = retry.After(http.Header{"Retry-After": {"9"}, "Retry-After-Ms": {"x"}}, now)
	assert.True(t, ok)
	assert.Equal(t, 9*time.Second, d, "but not if it is garbage")
}

func FuzzAfter(f *testing.F) {
	for _, s := range []string{"1", "1.5", "Mon, 23 Nov 2026 10:00:30 GMT", "-1", "NaN", "9999999999999999999999"} {
		f.Add(s, "")
		f.Add("", s)
	}
	f.Fuzz(func(t *testing.T, s, ms string) {
		d, ok := retry.After(http.Header{"Retry-After": {s}, "Retry-After-Ms": {ms}}, time.Unix(1e9, 0))
		if d < 0 || !ok && d != 0 {
			t.Fatal(d, ok)
		}
	})
}

func status(n int) *ekm.Error {
	return &ekm.Error{Code: ekm.ErrorHttpResponseCodeServerError, Party: ekm.Vault, Status: n, ServiceCode: "Busy"}
}

func network(code ekm.Code, phase ekm.Phase, cause error) *ekm.Error {
	return &ekm.Error{Code: code, Party: ekm.Vault, Phase: phase, Err: cause}
}

func tlsFailure(cause error) *ekm.Error {
	return network(ekm.ErrorHttpSendRequest, ekm.PhaseTLS, cause)
}

// run calls Do with a try that always fails the same way.
func run(ctx context.Context, p retry.Policy, repeatable bool, make func() error) (tries int, took time.Duration, err error) {
	start := time.Now()
	err = p.Do(ctx, repeatable, func(context.Context) error { tries++; return make() })
	return tries, time.Since(start), err
}

// A date is compared with the clock of whoever wrote it.
func TestAfterDateOfTheResponse(t *testing.T) {
	h := http.Header{"Retry-After": {"Mon, 23 Nov 2026 10:00:30 GMT"}, "Date": {"Mon, 23 Nov 2026 10:00:00 GMT"}}
	for _, off := range []time.Duration{0, time.Hour, -time.Hour} {
		got, ok := retry.After(h, time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC).Add(off))
		assert.True(t, ok)
		assert.Equal(t, 30*time.Second, got, "this machine's clock is off by %v", off)
	}
	h.Set("Date", "today")
	got, _ := retry.After(h, time.Date(2026, 11, 23, 10, 0, 10, 0, time.UTC))
	assert.Equal(t, 20*time.Second, got, "a Date that cannot be read")
}

func TestDoTimes(t *testing.T) {
	for _, c := range []struct {
		name     string
		policy   retry.Policy
		after    time.Duration
		tries    int
		min, max time.Duration
	}{
		{"defaults: 0.5, 1, 2, 4 s, each from its half", retry.Policy{}, 0, 5, 3750 * time.Millisecond, 7500 * time.Millisecond},
		{"one attempt", retry.Policy{Attempts: 1}, time.Second, 1, 0, 0},
		{"two attempts", retry.Policy{Attempts: 2, Base: time.Second}, 0, 2, 500 * time.Millisecond, time.Second},
		{"the cap bounds the doubling", retry.Policy{Attempts: 6, Base: time.Second, Cap: 2 * time.Second}, 0, 6, 4500 * time.Millisecond, 9 * time.Second},
		{"what the server asks is a floor", retry.Policy{Attempts: 3}, 10 * time.Second, 3, 20 * time.Second, 20 * time.Second},
		{"the floor is capped", retry.Policy{Attempts: 2}, time.Hour, 2, time.Minute, time.Minute},
		{"a small floor changes nothing", retry.Policy{Attempts: 2, Base: 10 * time.Second}, time.Second, 2, 5 * time.Second, 10 * time.Second},
		{"the budget ends it before the wait that would exceed it", retry.Policy{Attempts: 9}, 50 * time.Second, 3, 100 * time.Second, 100 * time.Second},
		{"the budget may be used up exactly", retry.Policy{Attempts: 9, Budget: 100 * time.Second}, 50 * time.Second, 3, 100 * time.Second, 100 * time.Second},
		{"many attempts do not overflow", retry.Policy{Attempts: 80, Base: time.Hour, Cap: 2 * time.Hour, Budget: 1000 * time.Hour}, 0, 80, 78 * time.Hour, 157 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries, took, err := run(t.Context(), c.policy, true, func() error {
					e := status(500)
					e.RetryAfter = c.after
					return e
				})
				e, ok := errors.AsType[*ekm.Error](err)
				require.True(t, ok)
				assert.Equal(t, c.tries, tries)
				assert.Equal(t, c.tries, e.Attempts)
				assert.GreaterOrEqual(t, took, c.min)
				assert.LessOrEqual(t, took, c.max)
			})
		})
	}
}

// What says "not now" is bounded by the budget, whatever the number of attempts.
func TestDoNotNow(t *testing.T) {
	for _, c := range []struct {
		name     string
		policy   retry.Policy
		after    time.Duration
		tries    int
		min, max time.Duration
	}{
		{"one attempt is no retry at all", retry.Policy{Attempts: 1}, time.Second, 1, 0, 0},
		{"the budget ends it before the wait that would exceed it", retry.Policy{Attempts: 2}, 50 * time.Second, 3, 100 * time.Second, 100 * time.Second},
		{"the budget may be used up exactly", retry.Policy{Attempts: 2, Budget: 100 * time.Second}, 50 * time.Second, 3, 100 * time.Second, 100 * time.Second},
		{"each wait is a minute", retry.Policy{Budget: 10 * time.Minute}, time.Hour, 11, 10 * time.Minute, 10 * time.Minute},
	} {
		for _, n := range []int{429, 503} {
			t.Run(fmt.Sprint(n, " ", c.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tries, took, err := run(t.Context(), c.policy, true, func() error {
						e := status(n)
						e.RetryAfter = c.after
						return e
					})
					require.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
					assert.Equal(t, c.tries, tries)
					assert.GreaterOrEqual(t, took, c.min)
					assert.LessOrEqual(t, took, c.max)
				})
			})
		}
	}
}

// Other failures between them count as they do alone.
func TestDoAttemptsAmongRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []int{429, 500, 503, 429, 500, 429, 500, 200}
		n := 0
		err := retry.Policy{Attempts: 3, Base: time.Millisecond}.Do(t.Context(), true, func(context.Context) error {
			n++
			return status(answers[n-1])
		})
		e, ok := errors.AsType[*ekm.Error](err)
		require.True(t, ok)
		assert.Equal(t, 500, e.Status)
		assert.Equal(t, 7, n, "the third 500 is the last try")
		assert.Equal(t, 7, e.Attempts)
	})
}

func TestDoTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, n := time.Now(), 0
		err := retry.Policy{Try: 3 * time.Second, Base: time.Second}.Do(t.Context(), true, func(ctx context.Context) error {
			if n++; n == 3 {
				return nil
			}
			<-ctx.Done()
			return network(ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, ctx.Err())
		})
		require.NoError(t, err)
		assert.Equal(t, 3, n)
		assert.GreaterOrEqual(t, time.Since(start), 6*time.Second+1500*time.Millisecond)
		assert.LessOrEqual(t, time.Since(start), 6*time.Second+3*time.Second)
	})
}

func TestDoJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 50 {
			_, took, _ := run(t.Context(), retry.Policy{Attempts: 2, Base: 2 * time.Second}, true, func() error { return status(500) })
			assert.GreaterOrEqual(t, took, time.Second)
			assert.LessOrEqual(t, took, 2*time.Second)
			seen[took] = true
		}
		assert.Greater(t, len(seen), 10, "waits must differ")
	})
}

func TestDoWhat(t *testing.T) {
	type row struct {
		name          string
		err           error
		again, unsafe bool // tried again if repeatable, and if not
	}
	local := network(ekm.ErrorHttpAttemptConnect, ekm.PhaseDial, io.EOF)
	local.Party = ekm.Local
	rows := []row{
		{"no connection", network(ekm.ErrorHttpAttemptConnect, ekm.PhaseDial, io.EOF), true, true},
		{"broken before writing", network(ekm.ErrorHttpSendRequest, ekm.PhaseTLS, io.EOF), true, true},
		{"broken while writing", network(ekm.ErrorHttpSendRequest, ekm.PhaseWrite, io.EOF), true, false},
		{"no status", network(ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, io.EOF), true, false},
		{"broken body", network(ekm.ErrorHttpReadData, ekm.PhaseBody, io.ErrUnexpectedEOF), true, false},
		{"no such name", network(ekm.ErrorAKVDoesNotExist, ekm.PhaseResolve, io.EOF), false, false},
		{"a limit of ours", local, false, false},
		{"bad proxy", network(ekm.ErrorHttpOpenSession, ekm.PhasePrepare, nil), false, false},
		{"unknown authority", network(ekm.ErrorHttpAttemptConnect, ekm.PhaseTLS, x509.UnknownAuthorityError{}), false, false},
		{"wrong host", network(ekm.ErrorHttpAttemptConnect, ekm.PhaseTLS, x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}), false, false},
		{"verification", network(ekm.ErrorHttpAttemptConnect, ekm.PhaseTLS, &tls.CertificateVerificationError{Err: io.EOF}), false, false},
		{"no TLS", network(ekm.ErrorHttpSendRequest, ekm.PhaseTLS, tls.RecordHeaderError{}), false, false},
		{"expired", tlsFailure(x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}), false, false},
		{"ECH", tlsFailure(&tls.ECHRejectionError{}), false, false},
		{"an alert", tlsFailure(&net.OpError{Op: "remote error", Err: tls.AlertError(40)}), false, false},
		{"an alert that may mean anything", tlsFailure(&net.OpError{Op: "remote error", Err: tls.AlertError(80)}), false, false},
		{"an alert, behind a proxy", tlsFailure(&net.OpError{Op: "proxyconnect", Err: &net.OpError{Op: "remote error", Err: tls.AlertError(40)}}), false, false},
		{"an alert of ours", tlsFailure(&net.OpError{Op: "local error", Err: tls.AlertError(70)}), false, false},
		{"a refusal without a type", tlsFailure(errors.New("tls: server selected unsupported protocol version 301")), false, false},
		{"a record that the line spoilt", tlsFailure(&net.OpError{Op: "local error", Err: tls.AlertError(20)}), true, true},
		{"a reset handshake", tlsFailure(&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}), true, true},
		{"a slow handshake", tlsFailure(context.DeadlineExceeded), true, true},
		{"an alert in place of an answer, on a connection in use", network(ekm.ErrorHttpGetResponseCode, ekm.PhaseStatus, &net.OpError{Op: "remote error", Err: tls.AlertError(80)}), true, false},
		{"an alert in mid-body", network(ekm.ErrorHttpReadData, ekm.PhaseBody, &net.OpError{Op: "remote error", Err: tls.AlertError(80)}), true, false},
		{"a header cut", network(ekm.ErrorHttpQueryHeader, ekm.PhaseHeader, io.ErrUnexpectedEOF), true, false},
		{"a header reset", network(ekm.ErrorHttpQueryHeader, ekm.PhaseHeader, &net.OpError{Op: "read", Err: syscall.ECONNRESET}), true, false},
		{"a header too late", network(ekm.ErrorHttpQueryHeader, ekm.PhaseHeader, context.DeadlineExceeded), true, false},
		{"a header that is malformed", network(ekm.ErrorHttpQueryHeader, ekm.PhaseHeader, textproto.ProtocolError("malformed MIME header line: x")), false, false},
		{"a name server that fails", network(ekm.ErrorHttpSendRequest, ekm.PhaseResolve, &net.DNSError{IsTemporary: true}), true, true},
		{"a proxy's name that does not exist", network(ekm.ErrorHttpSendRequest, ekm.PhaseResolve, &net.DNSError{IsNotFound: true}), false, false},
		{"not ours", io.EOF, false, false},
		{"wrapped", fmt.Errorf("outer: %w", status(503)), true, false},
	}
	for n, s := range map[int][2]bool{
		429: {true, true}, 503: {true, false}, 408: {true, false}, 500: {true, false}, 502: {true, false}, 504: {true, false},
		300: {}, 301: {}, 302: {}, 307: {}, 308: {}, 400: {}, 401: {}, 403: {}, 404: {}, 409: {}, 413: {}, 501: {}, 505: {},
	} {
		rows = append(rows, row{fmt.Sprint(n), status(n), s[0], s[1]})
	}
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for repeatable, again := range map[bool]bool{true: c.again, false: c.unsafe} {
					once := retry.Policy{Attempts: 2, Budget: 500 * time.Millisecond} // which is enough for one wait
					tries, took, err := run(t.Context(), once, repeatable, func() error { return c.err })
					require.ErrorIs(t, err, c.err)
					if again {
						assert.Equal(t, 2, tries, "repeatable %v", repeatable)
						continue
					}
					assert.Equal(t, 1, tries, "repeatable %v", repeatable)
					assert.Zero(t, took)
				}
			})
		})
	}
}

func TestDoContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		slow := func() error { e := status(503); e.RetryAfter = 6 * time.Second; return e }
		tries, took, err := run(ctx, retry.Policy{}, true, slow)
		require.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 1, tries)
		assert.Zero(t, took, "a wait beyond the deadline does not begin")

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, cancel)
		tries, took, err = run(ctx, retry.Policy{}, true, slow)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
		assert.Equal(t, 1, tries)
		assert.Equal(t, 2*time.Second, took, "the wait ends with the context")

		tries, took, err = run(ctx, retry.Policy{}, true, slow)
		require.ErrorIs(t, err, ekm.ErrorHttpResponseCodeServerError)
		assert.Equal(t, 1, tries, "ctx is over already")
		assert.Zero(t, took)
	})
}

func TestDoSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		require.NoError(t, retry.Policy{}.Do(t.Context(), false, func(context.Context) error {
			if n++; n < 3 {
				return status(429)
			}
			return nil
		}))
		assert.Equal(t, 3, n)
	})
}

func ExamplePolicy_Do() {
	tries := 0
	p := retry.Policy{Attempts: 3, Base: time.Nanosecond}
	err := p.Do(context.Background(), true, func(context.Context) error {
		if tries++; tries == 1 {
			return &ekm.Error{Code: ekm.ErrorHttpResponseCodeThrottled, Party: ekm.Vault, Status: 429}
		}
		return nil
	})
	fmt.Println(tries, err)
	// Output: 2 <nil>
}

func ExampleAfter() {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, value := range []string{"30", "1.5", "Thu, 01 Jan 2026 12:01:00 GMT"} {
		wait, ok := retry.After(http.Header{"Retry-After": {value}}, now)
		fmt.Println(wait, ok)
	}
	// Output:
	// 30s true
	// 1.5s true
	// 1m0s true
}
