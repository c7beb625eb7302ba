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
	viaProxy := x.viaProxy(phase) || proxyConnect(err)
	switch refusal := x.refusedByTLS(err, phase); {
	case refusal != nil:
		phase, err = ekm.PhaseTLS, refusal
	case errors.Is(err, errRepeated) || errors.Is(err, errTwice):
		phase = ekm.PhaseStatus // on the last connection it may not have got so far
	case phase == ekm.PhaseHeader && x.cutOff(err):
		err = errCut
	case phase == ekm.PhaseStatus && malformedHeader(err):
		phase = ekm.PhaseHeader // of HTTP/2, which net/http tells of no sooner
	}
	e := &ekm.Error{
		Code: codeOf(err, phase, isDNS && dns.IsNotFound && !viaProxy),
		Op:   r.Op, Party: r.Party, Host: x.host, Phase: phase,
		CorrelationID: r.Correlation, Time: time.Now(), Err: r.redacted(err),
	}
	if refused, ok := errors.AsType[*proxyRefusal](err); ok {
		e.Phase, e.Status = ekm.PhaseProxy, refused.status
	}
	if viaProxy || e.Phase == ekm.PhaseProxy {
		// Another's transport does not tell which one it chose.
		if e.Party, e.Host = ekm.Proxy, x.proxyHost(); e.Host == "" && isDNS {
			e.Host = dns.Name
		}
	}
	if e.Phase == ekm.PhasePrepare || errors.Is(err, errContract) {
		e.Party = ekm.Local
	}
	e.Addresses = x.addresses(e.Party)
	return e
}

// codeOf is the code of a failed exchange, by what failed and how far it had
// got: the step of the connector's HTTP layer that would have failed there.
func codeOf(err error, phase ekm.Phase, noSuchName bool) ekm.Code {
	// Some failures of net/http have no type, so their words must do; but not the
	// words of a server that it quotes, nor what a proxy answers to CONNECT.
	garbled := malformedHeader(err) && phase != ekm.PhaseProxy
	notHTTP := strings.Contains(err.Error(), "malformed HTTP")
	says := func(s string) bool {
		return !garbled && !notHTTP && beforeBody(phase) && strings.Contains(err.Error(), s)
	}
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
	case errors.Is(err, errHeaderSize) || says("server response headers exceeded") || says("response header list larger than"):
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
	case garbled || phase == ekm.PhaseHeader && !notHTTP:
		return ekm.ErrorHttpQueryHeader
	case phase == ekm.PhaseStatus || phase == ekm.PhaseHeader || closedEarly(err, phase):
		return ekm.ErrorHttpGetResponseCode
	default: // dial, proxy, TLS, write
		return ekm.ErrorHttpSendRequest
	}
}

// beforeBody reports a phase in which net/http may complain of a header. A round
// tripper without trace hooks is in one of the first two all along.
func beforeBody(p ekm.Phase) bool {
	return p == ekm.PhaseDial || p == ekm.PhaseWrite || p == ekm.PhaseStatus || p == ekm.PhaseHeader
}

// unreachable reports that this machine has no way to the address at all.
func unreachable(err error) bool {
	for _, no := range noWay {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// malformedHeader reports that a header makes no sense: in HTTP/1, or in HTTP/2, where
// this side then resets the stream.
func malformedHeader(err error) bool {
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
		return true
	}
	const protocolError = 1
	reset, ok := errors.AsType[streamError](err)
	return ok && reset.Code == protocolError && reset.Cause != nil && reset.Cause.Error() != "received from peer"
}

// streamError is the shape in which net/http shows an error of an HTTP/2 stream to
// errors.As.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "an HTTP/2 stream was reset" }

// closedEarly reports that a connection ended where a response should begin: as
// far as a round tripper without trace hooks can tell, whose phase remains dial,
// or before the transport told that the request was written.
func closedEarly(err error, phase ekm.Phase) bool {
	if phase != ekm.PhaseDial && phase != ekm.PhaseWrite {
		return false // the proxy or the TLS handshake
	}
	return errors.Is(err, errContract) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
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
