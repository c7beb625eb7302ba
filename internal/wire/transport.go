package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/akv-ekm/ekm"
)

// NewTransport makes the round tripper that is used where the caller gives
// none: TLS 1.2 or later, HTTP/2, a time limit on each phase, connections enough
// for a burst of calls. proxy chooses the proxy for a target; nil means that none
// is ever used.
func NewTransport(proxy func(target *url.URL) (*url.URL, error), timeouts Timeouts, limits Limits) *http.Transport {
	timeouts, limits = timeouts.withDefaults(), limits.withDefaults()
	d := &dialer{timeouts, &tls.Config{MinVersion: tls.VersionTLS12}}
	t := &http.Transport{
		DialContext:           d.dial,
		DialTLSContext:        d.dialTLS,
		TLSClientConfig:       d.config,
		TLSHandshakeTimeout:   timeouts.TLS,
		ResponseHeaderTimeout: timeouts.FirstByte,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          256,
		MaxIdleConnsPerHost:   128,
		IdleConnTimeout:       90 * time.Second,
		// The limit itself is checked below this. Far below: over HTTP/2 net/http
		// tells of a header that is over its own only that the protocol was violated.
		MaxResponseHeaderBytes: 16 * limits.Header,
		DisableCompression:     true, // replies are small, and a bomb would be decompressed before it is counted
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
		GetProxyConnectHeader:  askTunnel,
		OnProxyConnectResponse: refuseConnect,
	}
	if proxy != nil {
		t.Proxy = func(req *http.Request) (*url.URL, error) { return chooseProxy(req, proxy) }
	}
	return t
}

// Trusting has t trust the certificates in roots alone, those of the system if that is
// nil. It returns t.
func Trusting(roots *x509.CertPool, t *http.Transport) *http.Transport {
	t.TLSClientConfig.RootCAs = roots // which dialTLS reads at each handshake
	return t
}

// chooseProxy notes the proxy for the error that may follow, and its user and
// password, which must not be in that.
func chooseProxy(req *http.Request, proxy func(*url.URL) (*url.URL, error)) (*url.URL, error) {
	u, err := proxy(req.URL)
	if x := of(req.Context()); x != nil && u != nil {
		x.proxy.Store(u.Host)
		if user := u.User; user != nil {
			x.mu.Lock()
			x.users = append(x.users, func() *url.Userinfo { return user })
			x.mu.Unlock()
		}
	}
	return u, err
}

// A dialer makes the transport's connections. net/http begins them detached from
// the request, and would let one go on that nobody waits for any more; here it
// ends with an exchange that fails.
type dialer struct {
	timeouts Timeouts
	config   *tls.Config // read at the first handshake, after tests have set their roots
}

// dial connects, and tells the exchange when the name is resolved, to what, and
// when the connection is made: what follows on a proxied one is the proxy's doing.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n := net.Dialer{Timeout: d.timeouts.Dial, KeepAlive: 30 * time.Second}
	x := of(ctx)
	if x == nil {
		return n.DialContext(ctx, network, address)
	}
	if err := x.stopped(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	x.onFailure(cancel)
	x.enter(ekm.PhaseResolve)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{DNSDone: func(i httptrace.DNSDoneInfo) {
		for _, a := range i.Addrs {
			x.resolved(a.IP)
		}
	}})
	n.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		x.enter(ekm.PhaseDial)
		if a, err := netip.ParseAddrPort(address); err == nil { // the address was given, not a name
			x.resolved(a.Addr().AsSlice())
		}
		return nil
	}
	conn, err := n.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: conn, proxied: x.proxyHost() != ""}
	if l.proxied {
		x.enter(ekm.PhaseProxy)
		// net/http asks the proxy for something without a limit of its own.
		_ = l.SetDeadline(time.Now().Add(d.timeouts.Dial + 2*d.timeouts.TLS))
	}
	return l, nil
}

// dialTLS is dial and the handshake: with the target where no proxy is in
// between, else with an https proxy, which is asked for a tunnel in HTTP/1.1.
func (d *dialer) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeouts.TLS)
	defer cancel()
	config := d.config.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	if x := of(ctx); x != nil {
		x.onFailure(cancel)
		x.enter(ekm.PhaseTLS)
		if x.proxyHost() != "" {
			config.NextProtos = nil
		}
	}
	if config.ServerName, _, err = net.SplitHostPort(address); err != nil {
		return nil, err
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if x := of(ctx); x != nil {
		x.made(secured)
	}
	return secured, nil
}

// askTunnel adds nothing to the CONNECT request; it tells the exchange that the
// TLS handshake with an https proxy is over.
func askTunnel(ctx context.Context, _ *url.URL, _ string) (http.Header, error) {
	if x := of(ctx); x != nil {
		x.enter(ekm.PhaseProxy)
	}
	return nil, nil
}

// A proxyRefusal is a proxy's answer to CONNECT other than 200.
type proxyRefusal struct{ status int }

func (p *proxyRefusal) Error() string {
	hint := ""
	if p.status == http.StatusProxyAuthRequired || p.status == http.StatusUnauthorized { // as tinyproxy says it
		hint = ": it wants a user and password; only basic authentication is supported"
	}
	return fmt.Sprintf("the proxy refused the tunnel with %d %s%s", p.status, http.StatusText(p.status), hint)
}

func refuseConnect(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return &proxyRefusal{resp.StatusCode}
	}
	return nil
}

// proxyHost is the address of the proxy in use, or "".
func (x *exchange) proxyHost() string {
	host, _ := x.proxy.Load().(string)
	return host
}

// proxyConnect reports a failure to reach the proxy itself; its TLS handshake,
// unlike the target's, is marked so by net/http.
func proxyConnect(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "proxyconnect"
}

// viaProxy reports whether a failure in phase p is the proxy's.
func (x *exchange) viaProxy(p ekm.Phase) bool {
	return x.proxyHost() != "" && (p == ekm.PhaseResolve || p == ekm.PhaseDial || p == ekm.PhaseProxy)
}
