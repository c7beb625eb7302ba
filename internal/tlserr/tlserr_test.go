package tlserr_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv-ekm/ekm/internal/tlserr"
)

// late is an error of a limit, as crypto/tls and net/http make them.
type late struct{}

func (late) Error() string   { return "tls: DialWithDialer timed out" }
func (late) Timeout() bool   { return true }
func (late) Temporary() bool { return true }

func TestRefused(t *testing.T) {
	remote := func(alert uint8) error { return &net.OpError{Op: "remote error", Err: tls.AlertError(alert)} }
	local := func(alert uint8) error { return &net.OpError{Op: "local error", Err: tls.AlertError(alert)} }
	leaf := &x509.Certificate{}
	for _, c := range []struct {
		name    string
		err     error
		refused bool
	}{
		{"handshake_failure", remote(40), true},
		{"certificate_required", remote(116), true},
		{"internal_error, by which servers mean their settings", remote(80), true},
		{"user_canceled", remote(90), true},
		{"bad_record_mac, of the other side", remote(20), true},
		{"an alert without a name", remote(255), true},
		{"an alert of ours", local(70), true},
		{"bad_record_mac, of ours: the network's", local(20), false},
		{"a bare alert, as QUIC has it", tls.AlertError(40), true},
		{"no TLS", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, true},
		{"ECH", &tls.ECHRejectionError{}, true},
		{"verification", &tls.CertificateVerificationError{Err: io.EOF}, true},
		{"expired", x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired}, true},
		{"name constraint", x509.ConstraintViolationError{}, true},
		{"name", x509.HostnameError{Certificate: leaf, Host: "x"}, true},
		{"SHA-1", x509.InsecureAlgorithmError(x509.SHA1WithRSA), true},
		{"no roots", x509.SystemRootsError{}, true},
		{"extension", x509.UnhandledCriticalExtension{}, true},
		{"authority", x509.UnknownAuthorityError{}, true},
		{"no type", errors.New("tls: server selected unsupported protocol version 301"), true},
		{"no type, of the suite", errors.New("tls: server chose an unconfigured cipher suite"), true},
		{"wrapped", fmt.Errorf("write: %w", &url.Error{Op: "Get", URL: "/", Err: remote(40)}), true},
		{"of a proxy", &net.OpError{Op: "proxyconnect", Net: "tcp", Err: remote(40)}, true},
		{"joined", errors.Join(io.EOF, remote(40)), true},
		{"joined, no type", errors.Join(io.EOF, errors.New("tls: unknown")), true},

		{"nil", nil, false},
		{"close_notify, or closed", io.EOF, false},
		{"cut", io.ErrUnexpectedEOF, false},
		{"cut, wrapped", fmt.Errorf("tls: %w", io.EOF), false},
		{"closed by this side", errors.New("tls: protocol is shutdown"), false},
		{"reset", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, false},
		{"not dialed", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, false},
		{"close that fails", fmt.Errorf("tls: failed to send closeNotify alert (but connection was closed anyway): %w", syscall.EPIPE), false},
		{"late", late{}, false},
		{"late, of net/http", context.DeadlineExceeded, false},
		{"of another kind that names it", errors.New("the server said tls: no"), false},
	} {
		assert.Equal(t, c.refused, tlserr.Refused(c.err), c.name)
	}
}
