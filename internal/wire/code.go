package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"syscall"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/retry"
)

// fail makes the error of a failed exchange.
func (x *exchange) fail(ctx context.Context, r *Request, err error) error {
	if e, ok := errors.AsType[*ekm.Error](err); ok {
		filled := *e // raised below us, by the choice of a proxy, and perhaps shared
		filled.Op, filled.CorrelationID, filled.Time = r.Op, r.Correlation, time.Now()
		return &filled
	}
	phase := x.phase()
	err = because(ctx, err)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	if isDNS {
		phase = ekm.PhaseResolve
	}
	e := &ekm.Error{
		Code: codeOf(err, phase, isDNS && dns.IsNotFound && !x.viaProxy(phase)),
		Op:   r.Op, Party: r.Party, Host: x.host, Phase: phase,
		CorrelationID: r.Correlation, Time: time.Now(), Err: r.redacted(err),
	}
	if refused, ok := errors.AsType[*proxyRefusal](err); ok {
		e.Phase, e.Status = ekm.PhaseProxy, refused.status
	}
	if x.viaProxy(e.Phase) || x.proxyHost() != "" && proxyConnect(err) {
		e.Party, e.Host = ekm.Proxy, x.proxyHost()
	}
	if e.Phase == ekm.PhasePrepare {
		e.Party = ekm.Local
	}
	e.Addresses = x.addresses(e.Party)
	return e
}

// codeOf is the code of a failed exchange, by what failed and how far it had
// got: the step of the connector's HTTP layer that would have failed there.
func codeOf(err error, phase ekm.Phase, noSuchName bool) ekm.Code {
	says := func(s string) bool { return strings.Contains(err.Error(), s) }
	switch {
	case errors.Is(err, errInFlight):
		return ekm.ErrorHttpCreateHttpClientOutOfMemory
	case errors.Is(err, errHost):
		return ekm.ErrorHttpConnectSession
	case errors.Is(err, errAddress):
		return ekm.ErrorHttpOpenRequest
	case errors.Is(err, errHeaderValue):
		return ekm.ErrorHttpAddRequestHeader
	case errors.Is(err, errFieldSize):
		return ekm.ErrorHttpQueryHeaderOutOfMemoryCopyHeader
	case errors.Is(err, errHeaderSize) || says("server response headers exceeded"):
		return ekm.ErrorHttpQueryHeaderOutOfMemoryReallocBuffer
	case errors.Is(err, errLength) || says("Content-Length"):
		return ekm.ErrorHttpQueryHeaderUpdateBufferLength
	case errors.Is(err, errDeclared):
		return ekm.ErrorHttpGetResponseOutOfMemoryCreateTempBuffer
	case errors.Is(err, errHeld):
		return ekm.ErrorHttpGetResponseOutOfMemoryGetResultString
	case errors.Is(err, errGrown):
		return ekm.ErrorHttpGetResponseOutOfMemoryAppendResponse
	case noSuchName:
		return ekm.ErrorAKVDoesNotExist
	case phase == ekm.PhaseBody:
		return ekm.ErrorHttpReadData
	case unreachable(err) && phase != ekm.PhaseStatus && phase != ekm.PhaseHeader:
		return ekm.ErrorHttpAttemptConnect
	case malformedHeader(err) || phase == ekm.PhaseHeader && !says("malformed HTTP"):
		return ekm.ErrorHttpQueryHeader
	case phase == ekm.PhaseStatus || phase == ekm.PhaseHeader || closedEarly(err, phase):
		return ekm.ErrorHttpGetResponseCode
	default: // dial, proxy, TLS, write
		return ekm.ErrorHttpSendRequest
	}
}

// unreachable reports that this machine has no way to the address at all.
func unreachable(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ENETDOWN) || errors.Is(err, syscall.EHOSTUNREACH)
}

func malformedHeader(err error) bool {
	_, ok := errors.AsType[textproto.ProtocolError](err)
	return ok
}

// closedEarly reports that a connection ended where a response should begin: as
// far as a round tripper without trace hooks can tell, whose phase remains dial,
// or before the transport told that the request was written.
func closedEarly(err error, phase ekm.Phase) bool {
	if phase != ekm.PhaseDial && phase != ekm.PhaseWrite {
		return false // the proxy or the TLS handshake
	}
	return errors.Is(err, errNoResponse) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Refusal is the error for a response whose status is not the one asked for.
// The caller adds what the body says, and may know a more exact code.
func (c *Client) Refusal(r *Request, resp *Response) *ekm.Error {
	e := &ekm.Error{
		Op: r.Op, Party: r.Party, Status: resp.Status, Host: hostOf(r.URL), Time: time.Now(),
		RequestID:     r.Clean(resp.Header.Get("X-Ms-Request-Id"), 100),
		CorrelationID: r.Correlation,
		Region:        r.Clean(resp.Header.Get("X-Ms-Keyvault-Region"), 40),
	}
	if resp.From.IsValid() {
		e.Addresses = []netip.Addr{resp.From}
	}
	e.RetryAfter, _ = retry.After(resp.Header, e.Time)
	switch s := resp.Status; {
	case s == http.StatusUnauthorized:
		e.Code = ekm.ErrorHttpResponseCodeUnauthorized
	case s == http.StatusForbidden:
		e.Code = ekm.ErrorHttpOperationForbidden
	case s == http.StatusNotFound:
		e.Code = ekm.ErrorHttpResourceNotFound
	case s == http.StatusTooManyRequests:
		e.Code = ekm.ErrorHttpResponseCodeThrottled
	case s >= 400 && s < 500:
		e.Code = ekm.ErrorHttpResponseCodeClientError
	case s >= 500 && s < 600:
		e.Code = ekm.ErrorHttpResponseCodeServerError
	default: // a redirect, above all: following one would hand on what was sent
		e.Code = ekm.ErrorUnknown
	}
	return e
}
