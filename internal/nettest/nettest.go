// Package nettest is the other end of a connection, for tests: listeners on the
// loopback interface that reply, stop or break off as a test has them, with
// certificates of an authority of their own, and a name server.
package nettest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Listen serves each connection on loopback with handle, closes them all when the
// test ends, and returns the address.
func Listen(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// ListenTLS is [Listen] with the handshake made.
func ListenTLS(t testing.TB, config *tls.Config, handle func(net.Conn)) string {
	t.Helper()
	return Listen(t, func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() == nil {
			handle(s)
			_ = s.CloseWrite()
		}
	})
}

// Replying reads one request and sends text in reply; hang keeps the connection
// afterwards.
func Replying(text string, hang bool) func(net.Conn) {
	return func(c net.Conn) {
		if !ReadRequest(c) {
			return
		}
		if text == "" {
			Settle()
		}
		_, _ = io.WriteString(c, text)
		if hang {
			_, _ = io.Copy(io.Discard, c)
		}
	}
}

// Settle lets the client's transport report that it has written the request.
func Settle() { time.Sleep(10 * time.Millisecond) }

// ReadRequest reads one request to its end, and reports whether it was one.
func ReadRequest(c net.Conn) bool {
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		_, err = io.Copy(io.Discard, req.Body)
	}
	return err == nil
}

// Reset breaks the connection in mid-handshake.
func Reset(c net.Conn) {
	_, _ = c.Read(make([]byte, 100))
	_ = c.(*net.TCPConn).SetLinger(0)
}

// ClosedPort is an address where nobody listens.
func ClosedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}
