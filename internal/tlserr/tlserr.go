// Package tlserr tells a refusal by TLS from a failure of the network below it.
package tlserr

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
)

// Refused reports that err says that one side does not accept what the other one
// offers or demands, or that the other side does not speak TLS. The next attempt
// meets the same refusal. It holds for
//   - every alert of the other side but close_notify, which is io.EOF in Go. That
//     includes internal_error: most servers mean their own settings by it, above all
//     that they have no certificate for the name;
//   - every alert of this side but bad_record_mac, which says that the network has
//     corrupted a record;
//   - a certificate that this side does not accept, with the errors of crypto/x509;
//   - [tls.RecordHeaderError], which is the answer of a server without TLS, and
//     [*tls.ECHRejectionError];
//   - what crypto/tls says without a type of its own: an error without a cause,
//     whose text begins with "tls: ".
//
// A connection that ends or is reset, and a time limit that passes, are not refusals,
// in a handshake or elsewhere.
func Refused(err error) bool {
	alert, bare := errors.AsType[tls.AlertError](err) // as QUIC has it
	return bare && alert != corrupted || is[tls.RecordHeaderError](err) || is[*tls.ECHRejectionError](err) ||
		refusedCertificate(err) || anyOf(err, refusal)
}

func refusedCertificate(err error) bool {
	return is[*tls.CertificateVerificationError](err) || is[x509.CertificateInvalidError](err) ||
		is[x509.ConstraintViolationError](err) || is[x509.HostnameError](err) || is[x509.InsecureAlgorithmError](err) ||
		is[x509.SystemRootsError](err) || is[x509.UnhandledCriticalExtension](err) || is[x509.UnknownAuthorityError](err)
}

// corrupted is bad_record_mac.
const corrupted = tls.AlertError(20)

// refusal looks at one error, without those that it wraps.
func refusal(err error) bool {
	switch e := err.(type) {
	case *net.OpError: // crypto/tls has no exported type for what it wraps in one
		return e.Op == "remote error" || e.Op == "local error" && e.Err.Error() != corrupted.Error()
	case interface{ Unwrap() error }, interface{ Unwrap() []error }, interface{ Timeout() bool }:
		return false
	}
	text := err.Error()
	return strings.HasPrefix(text, "tls: ") && text != shutdown && text != corrupted.Error()
}

// shutdown is crypto/tls' error for a connection that this side has closed.
const shutdown = "tls: protocol is shutdown"

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// anyOf reports whether f holds for an error of the tree.
func anyOf(err error, f func(error) bool) bool {
	if err == nil {
		return false
	}
	if f(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return anyOf(e.Unwrap(), f)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if anyOf(one, f) {
				return true
			}
		}
	}
	return false
}
