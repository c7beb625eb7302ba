package nettest

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// A Server is an HTTP server that counts its connections.
type Server struct {
	*httptest.Server
	Opened atomic.Int32 // so far
	Open   atomic.Int32
}

// Serve serves h on loopback until the test ends: over TLS with config, HTTP/2 if
// h2; without, if config is nil.
func Serve(t testing.TB, config *tls.Config, h2 bool, h http.HandlerFunc) *Server {
	t.Helper()
	s := &Server{Server: httptest.NewUnstartedServer(h)}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.Opened.Add(1)
			s.Open.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.Open.Add(-1)
		}
	}
	if s.EnableHTTP2 = h2; config == nil {
		s.Start()
	} else {
		s.TLS = config
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s
}

// Addr is its address.
func (s *Server) Addr() string { return s.Listener.Addr().String() }

// Left reports that all connections were closed, or are soon.
func (s *Server) Left() bool { return Settles(func() bool { return s.Open.Load() == 0 }) }
