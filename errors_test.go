package ekm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
)

// full is an Error with every field set.
func full() *ekm.Error {
	return &ekm.Error{
		Code:          ekm.ErrorGetTokenBadCredentials,
		Op:            "acquireToken",
		Party:         ekm.Authority,
		Credential:    ekm.CredentialSecret,
		Phase:         ekm.PhaseDecode,
		Host:          "login.microsoftonline.com",
		Addresses:     []netip.Addr{netip.MustParseAddr("20.190.160.2")},
		Status:        401,
		ServiceCode:   "invalid_client",
		InnerCode:     "inner",
		AADSTS:        "AADSTS7000222",
		Message:       "The provided client secret keys are expired.",
		RequestID:     "11111111-0000-0000-0000-000000000000",
		CorrelationID: "22222222-0000-0000-0000-000000000000",
		TraceID:       "33333333-0000-0000-0000-000000000000",
		Region:        "westeurope",
		Attempts:      2,
		RetryAfter:    1500 * time.Millisecond,
		Time:          time.Date(2026, 11, 23, 4, 5, 6, 700_000_000, time.FixedZone("", 3600)),
		Err:           io.ErrUnexpectedEOF,
	}
}

func TestErrorLine(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		name string
		err  ekm.Error
		want string
	}{
		{"everything", *full(), "acquireToken: 3303 ErrorGetTokenBadCredentials: authority login.microsoftonline.com: " +
			"HTTP 401 invalid_client/inner/AADSTS7000222: The provided client secret keys are expired.: unexpected EOF " +
			"(request id 11111111-0000-0000-0000-000000000000, trace id 33333333-0000-0000-0000-000000000000, " +
			"correlation id 22222222-0000-0000-0000-000000000000, 2 exchanges, retry after 1.5s)"},
		{
			"the vault refuses",
			ekm.Error{
				Code: ekm.ErrorHttpOperationForbidden, Op: "wrapKey", Party: ekm.Vault,
				Host: "contoso.vault.azure.net", Status: 403, ServiceCode: "Forbidden", InnerCode: "ForbiddenByRbac", RequestID: "r1",
			},
			"wrapKey: 3113 ErrorHttpOperationForbidden: vault contoso.vault.azure.net: HTTP 403 Forbidden/ForbiddenByRbac (request id r1)",
		},
		{
			"the phase stands in for a status",
			ekm.Error{
				Code: ekm.ErrorHttpSendRequest, Op: "getKey", Party: ekm.Vault,
				Host: "contoso.vault.azure.net", Phase: ekm.PhaseDial, Err: dial,
			},
			"getKey: 3106 ErrorHttpSendRequest: vault contoso.vault.azure.net: dial: dial tcp: connection refused",
		},
		{
			"which addresses were tried, and on which side of a private endpoint they are",
			ekm.Error{
				Code: ekm.ErrorHttpSendRequest, Op: "getKey", Party: ekm.Vault, Host: "contoso.vault.azure.net", Phase: ekm.PhaseDial, Err: dial,
				Addresses: []netip.Addr{
					netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd00::5"),
					netip.MustParseAddr("20.50.4.4"), netip.MustParseAddr("::ffff:192.168.0.9"),
				},
			},
			"getKey: 3106 ErrorHttpSendRequest: vault contoso.vault.azure.net at 10.1.2.3 (private), fd00::5 (private), " +
				"20.50.4.4 (public), 192.168.0.9 (private): dial: dial tcp: connection refused",
		},
		{
			"the space that RFC 6598 shares, to its ends",
			ekm.Error{
				Code: ekm.ErrorHttpSendRequest, Op: "getKey", Party: ekm.Vault, Host: "contoso.vault.azure.net", Phase: ekm.PhaseDial, Err: dial,
				Addresses: []netip.Addr{
					netip.MustParseAddr("100.63.255.255"), netip.MustParseAddr("100.64.0.0"), netip.MustParseAddr("::ffff:100.100.1.2"),
					netip.MustParseAddr("100.127.255.255"), netip.MustParseAddr("100.128.0.0"), netip.MustParseAddr("2603::6440:0"),
				},
			},
			"getKey: 3106 ErrorHttpSendRequest: vault contoso.vault.azure.net at 100.63.255.255 (public), 100.64.0.0 (private), " +
				"100.100.1.2 (private), 100.127.255.255 (private), 100.128.0.0 (public), 2603::6440:0 (public): dial: dial tcp: connection refused",
		},
		{
			"a refusal at the public address, where the private endpoint is the way in",
			ekm.Error{
				Code: ekm.ErrorHttpOperationForbidden, Op: "getKey", Party: ekm.Vault, Host: "contoso.vault.azure.net", Status: 403,
				InnerCode: "ForbiddenByConnection", Addresses: []netip.Addr{netip.MustParseAddr("20.50.4.4")},
			},
			"getKey: 3113 ErrorHttpOperationForbidden: vault contoso.vault.azure.net at 20.50.4.4 (public): HTTP 403 ForbiddenByConnection",
		},
		{
			"a code alone is explained",
			ekm.Error{Code: ekm.ErrorWrapKeyBase64EncodeKey, Op: "wrapKey", Party: ekm.Local},
			"wrapKey: 3605 ErrorWrapKeyBase64EncodeKey: Local: the key to wrap is empty; nothing was sent.",
		},
		{
			"one id is told once, one attempt is not told",
			ekm.Error{Code: ekm.ErrorUnknown, Status: 302, RequestID: "a", TraceID: "a", Attempts: 1},
			"3001 ErrorUnknown: HTTP 302 (request id a)",
		},
		{
			"causes in several lines",
			ekm.Error{
				Code: ekm.ErrorHttpSendRequest,
				Err:  errors.Join(errors.New("first\ttry"), errors.New("second\r\n\u2028try\x1b")),
			},
			"3106 ErrorHttpSendRequest: first try; second; try ",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, c.err.Error())
			assert.Equal(t, c.want, fmt.Sprintf("%v", &c.err))
			assert.Equal(t, c.want, fmt.Sprintf("%s", &c.err))
			assert.Equal(t, fmt.Sprintf("%q", c.want), fmt.Sprintf("%q", &c.err))
			assert.Equal(t, "%!d(*ekm.Error="+c.want+")", fmt.Sprintf("%d", &c.err))
		})
	}
}

func TestErrorBlock(t *testing.T) {
	want := `3303 ErrorGetTokenBadCredentials
  what:        ` + ekm.ErrorGetTokenBadCredentials.Explain() + `
  advice:      ` + full().Advice() + `
  operation:   acquireToken
  party:       authority
  credential:  client secret
  host:        login.microsoftonline.com
  address:     20.190.160.2 (public)
  phase:       decode
  status:      401
  service:     invalid_client
  inner:       inner
  aadsts:      AADSTS7000222
  message:     The provided client secret keys are expired.
  request:     11111111-0000-0000-0000-000000000000
  correlation: 22222222-0000-0000-0000-000000000000
  trace:       33333333-0000-0000-0000-000000000000
  region:      westeurope
  attempts:    2
  retryAfter:  1.5s
  time:        2026-11-23T03:05:06Z
  cause:       unexpected EOF`
	assert.Equal(t, want, fmt.Sprintf("%+v", full()))
}

// Nothing is told that is not known, and no value can add a line of its own.
func TestErrorBlockOfLittle(t *testing.T) {
	err := &ekm.Error{Code: ekm.ErrorUnknown, Err: errors.New("one\n  status:      200")}
	want := `3001 ErrorUnknown
  what:        ` + ekm.ErrorUnknown.Explain() + `
  advice:      ` + ekm.ErrorUnknown.Remedy() + `
  cause:       one;   status:      200`
	assert.Equal(t, want, fmt.Sprintf("%+v", err))
}

func TestErrorTree(t *testing.T) {
	cause := fmt.Errorf("connecting: %w", &net.OpError{
		Op: "dial", Net: "tcp",
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
	})
	err := fmt.Errorf("opening the database: %w", &ekm.Error{
		Code: ekm.ErrorHttpSendRequest,
		Err:  errors.Join(cause, context.DeadlineExceeded),
	})

	assert.ErrorIs(t, err, ekm.ErrorHttpSendRequest)
	assert.NotErrorIs(t, err, ekm.ErrorAKVDoesNotExist)
	assert.NotErrorIs(t, err, ekm.LegacyErrorHttpSendRequest)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.NotErrorIs(t, err, context.Canceled)

	var ours *ekm.Error
	require.ErrorAs(t, err, &ours)
	assert.Equal(t, ekm.ErrorHttpSendRequest, ours.Code)
	var code ekm.Code
	require.ErrorAs(t, err, &code)
	assert.Equal(t, ekm.ErrorHttpSendRequest, code)
	var dial *net.OpError
	require.ErrorAs(t, err, &dial)
	assert.Equal(t, "dial", dial.Op)
}

func TestCodeOf(t *testing.T) {
	bad := &ekm.Error{Code: ekm.ErrorGetTokenBadCredentials}
	var none *ekm.Error
	for _, c := range []struct {
		name string
		err  error
		want ekm.Code
	}{
		{"nil", nil, ekm.ErrorSuccess},
		{"foreign", io.EOF, ekm.ErrorUnknown},
		{"foreign, in a tree", fmt.Errorf("a: %w", errors.Join(io.EOF, context.Canceled)), ekm.ErrorUnknown},
		{"ours", bad, ekm.ErrorGetTokenBadCredentials},
		{"ours, wrapped", fmt.Errorf("a: %w", bad), ekm.ErrorGetTokenBadCredentials},
		{"ours, behind a foreign one", errors.Join(io.EOF, bad), ekm.ErrorGetTokenBadCredentials},
		{"ours in ours: the outer one", &ekm.Error{Code: ekm.ErrorGetTokenRejected, Err: bad}, ekm.ErrorGetTokenRejected},
		{"bare code", ekm.ErrorAKVDoesNotExist, ekm.ErrorAKVDoesNotExist},
		{"bare code, wrapped", fmt.Errorf("a: %w", ekm.ErrorAKVDoesNotExist), ekm.ErrorAKVDoesNotExist},
		{"a bare code before an Error: the Error", errors.Join(ekm.ErrorAKVDoesNotExist, bad), ekm.ErrorGetTokenBadCredentials},
		{"an Error without a code is no success", &ekm.Error{Err: io.EOF}, ekm.ErrorUnknown},
		{"a nil *Error in an error is no success", none, ekm.ErrorUnknown},
	} {
		assert.Equal(t, c.want, ekm.CodeOf(c.err), c.name)
	}
}

// TestProviderCode: what the engine is given is 0 for success alone, and a number
// that somebody can look up.
func TestProviderCode(t *testing.T) {
	wrapped := fmt.Errorf("a: %w", &ekm.Error{Code: ekm.ErrorGetTokenBadCredentials})
	for _, c := range []struct {
		name string
		err  error
		want ekm.Code
	}{
		{"nil is success, which CodeOf calls 3000", nil, 0},
		{"the number itself", &ekm.Error{Code: ekm.ErrorHttpOperationForbidden}, 3113},
		{"wrapped", wrapped, 3303},
		{"the provider's own", ekm.SCPErrFailureInRegistry, 2058},
		{"an older number", ekm.LegacyErrorHttpSendRequest, 3008},
		{"the protocol's: a buffer that is too small", ekm.SCPErrInsufficientBuffer, 2},
		{"the protocol's: no more algorithms", ekm.SCPErrNotFound, 4},
		{"a result that has no other number", &ekm.Error{Code: ekm.SCPErrNotSupported}, 3},
		{"foreign", io.EOF, 3001},
		{"an Error without a code", &ekm.Error{Err: io.EOF}, 3001},
		{"an error that calls itself a success", ekm.ErrorSuccess, 3001},
		{"the same in 0 to 7", ekm.SCPErrSuccess, 3001},
		{"a number that the interface reserves", ekm.AcquireToken, ekm.SCPErrAuthFailure},
		{"another one", ekm.GetKeyByName, ekm.SCPErrNotFound},
		{"one that nobody has documented", ekm.Code(2048), ekm.SCPErrFailure},
		{"a provider's own addition", ekm.Code(5001), 5001},
		{"a number below all", ekm.Code(-1), 3001},
	} {
		assert.Equal(t, c.want, ekm.ProviderCode(c.err), c.name)
	}
	for _, c := range ekm.Codes() {
		got := ekm.ProviderCode(c)
		assert.NotZero(t, got, "%v is an error", c)
		if c > 2048 && c != ekm.ErrorSuccess {
			assert.Equal(t, c, got)
		}
	}
}

func TestErrorJSON(t *testing.T) {
	got, err := json.Marshal(full())
	require.NoError(t, err)
	assert.Equal(t, `{"code":3303,"symbol":"ErrorGetTokenBadCredentials","operation":"acquireToken","party":"authority",`+
		`"credential":"client secret","host":"login.microsoftonline.com","address":"20.190.160.2 (public)","phase":"decode","status":401,"service":"invalid_client","inner":"inner",`+
		`"aadsts":"AADSTS7000222","message":"The provided client secret keys are expired.",`+
		`"request":"11111111-0000-0000-0000-000000000000","correlation":"22222222-0000-0000-0000-000000000000",`+
		`"trace":"33333333-0000-0000-0000-000000000000","region":"westeurope","attempts":2,"retryAfter":1.5,`+
		`"time":"2026-11-23T03:05:06.7Z","cause":"unexpected EOF"}`, string(got))

	got, err = json.Marshal(&ekm.Error{Code: ekm.ErrorAKVDoesNotExist})
	require.NoError(t, err)
	assert.Equal(t, `{"code":3900,"symbol":"ErrorAKVDoesNotExist"}`, string(got))

	// Odd text from outside still makes valid JSON.
	got, err = json.Marshal(&ekm.Error{Code: 3050, Message: "\"\n\xff", Err: errors.New("<a>\\")})
	require.NoError(t, err)
	assert.True(t, json.Valid(got), "%s", got)
}

// The log group has the members of the JSON form, with the same values.
func TestErrorLogValue(t *testing.T) {
	for _, err := range []*ekm.Error{full(), {Code: ekm.ErrorAKVDoesNotExist}} {
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Error("failed", "err", err)
		var line struct{ Err map[string]any }
		require.NoError(t, json.Unmarshal(log.Bytes(), &line))

		text, marshalErr := json.Marshal(err)
		require.NoError(t, marshalErr)
		var want map[string]any
		require.NoError(t, json.Unmarshal(text, &want))
		assert.Equal(t, want, line.Err)
	}
}
