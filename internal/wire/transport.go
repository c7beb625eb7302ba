package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/akv-ekm/ekm"
)

// NewTransport makes the round tripper that is used where the caller gives
// none: TLS 1.2 or later, HTTP/2, a time limit on each phase, connections enough
// for a burst of calls. proxy chooses the proxy for a target; nil means that none
// is ever used.
func NewTransport(proxy func(target *url.URL) (*url.URL, error), limits Timeouts) *http.Transport {
	limits = limits.withDefaults()
	t := &http.Transport{
		DialContext:            dialWithin(limits.Dial),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    limits.TLS,
		ResponseHeaderTimeout:  limits.FirstByte,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    128,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10, // Limits.Header is checked below this
		DisableCompression:     true,      // replies are small, and a bomb would be decompressed before it is counted
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
		GetProxyConnectHeader:  askTunnel,
		OnProxyConnectResponse: refuseConnect,
	}
	if proxy != nil {
		t.Proxy = func(req *http.Request) (*url.URL, error) { return chooseProxy(req, proxy) }
	}
	return t
}

// chooseProxy notes the proxy for the error that may follow.
func chooseProxy(req *http.Request, proxy func(*url.URL) (*url.URL, error)) (*url.URL, error) {
	u, err := proxy(req.URL)
	if x := of(req.Context()); x != nil && u != nil {
		x.proxy.Store(u.Host)
	}
	return u, err
}

func dialWithin(limit time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return dial(ctx, net.Dialer{Timeout: limit, KeepAlive: 30 * time.Second}, network, address)
	}
}

// dial connects, and tells the exchange when the name is resolved, to what, and
// when the connection is made: what follows on a proxied one is the proxy's doing.
func dial(ctx context.Context, d net.Dialer, network, address string) (net.Conn, error) {
	x := of(ctx)
	if x == nil {
		return d.DialContext(ctx, network, address)
	}
	x.enter(ekm.PhaseResolve)
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		x.enter(ekm.PhaseDial)
		x.dialed(address)
		return nil
	}
	conn, err := d.DialContext(ctx, network, address)
	if err == nil && x.proxyHost() != "" {
		x.enter(ekm.PhaseProxy)
	}
	return conn, err
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
