package fakevault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// Listener serves a [Server] over real connections on the loopback interface: TLS (1.2 and up, HTTP/2 and HTTP/1.1)
// with a certificate from its own throw-away CA, and plain HTTP, on a port of its own, for the managed identity
// endpoints.
type Listener struct {
	// Addr is the TLS address, "127.0.0.1:port"; PlainAddr that of plain HTTP.
	Addr      string
	PlainAddr string

	s       *Server
	pool    *x509.CertPool
	servers []*http.Server
	active  sync.RWMutex // held for reading by every running handler
	serving sync.WaitGroup

	mu         sync.Mutex
	transports []*http.Transport
	once       sync.Once
}

// Listen opens the listener. It is the caller's to close.
func (s *Server) Listen() (*Listener, error) {
	cert, pool, err := s.certificate()
	if err != nil {
		return nil, err
	}
	l := &Listener{s: s, pool: pool}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		_ = secure.Close()
		return nil, err
	}
	l.Addr, l.PlainAddr = secure.Addr().String(), plain.Addr().String()
	l.serve(plain, nil)
	l.serve(secure, &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12})
	return l, nil
}

func (l *Listener) serve(ln net.Listener, config *tls.Config) {
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l.active.RLock()
			defer l.active.RUnlock()
			l.s.ServeHTTP(w, r)
		}),
		TLSConfig:         config,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // refused handshakes are the clients' tests, not our news
	}
	l.servers = append(l.servers, srv)
	l.serving.Go(func() {
		if config == nil {
			_ = srv.Serve(ln)
		} else {
			_ = srv.ServeTLS(ln, "", "")
		}
	})
}

// CertPool holds the CA of the listener, and nothing else.
func (l *Listener) CertPool() *x509.CertPool { return l.pool }

// Transport returns a real [*http.Transport] that dials the listener for every host that the server plays, and trusts
// its CA only. Every call makes a new one, with connections of its own; Close closes the idle ones. A port of 80, and a
// port other than 443 on a loopback or link-local address, is plain HTTP unless it is the listener's own.
func (l *Listener) Transport() http.RoundTripper {
	t := &http.Transport{
		DialContext:       l.dial,
		TLSClientConfig:   &tls.Config{RootCAs: l.pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, // not the default with a dialer of one's own
		MaxIdleConns:      100,
		IdleConnTimeout:   time.Minute,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.transports = append(l.transports, t)
	return t
}

func (l *Listener) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	host = hostOnly(host)
	if !l.s.plays(host) {
		return nil, unknownHost(host)
	}
	target := l.Addr
	switch {
	case addr == l.Addr || addr == l.PlainAddr:
		target = addr
	case port == "80", port != "443" && (isLoopback(host) || host == imdsHost):
		target = l.PlainAddr
	}
	var d net.Dialer
	return d.DialContext(ctx, network, target)
}

// Close stops the listener, and returns when its last handler has.
func (l *Listener) Close() error {
	var errs []error
	l.once.Do(func() {
		for _, srv := range l.servers {
			errs = append(errs, srv.Close())
		}
		l.serving.Wait()
		l.mu.Lock()
		for _, t := range l.transports {
			t.CloseIdleConnections()
		}
		l.mu.Unlock()
		l.active.Lock() // waits for the handlers, whose contexts have ended with their connections
		//lint:ignore SA2001 the lock is taken to wait, not to guard
		l.active.Unlock()
	})
	return errors.Join(errs...)
}

// certificate makes a CA and a certificate for every played host.
func (s *Server) certificate() (*tls.Certificate, *x509.CertPool, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fakevault throw-away CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, nil, err
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: hostOnly(s.opts.VaultHost)},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range s.Hosts() {
		if ip := net.ParseIP(h); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool, nil
}
