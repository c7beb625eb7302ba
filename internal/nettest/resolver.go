package nettest

import (
	"context"
	"encoding/binary"
	"net"
	"testing"
)

// The answers of a [Resolver]: RFC 1035, 4.1.1.
const (
	ServerFailure = 2
	NoSuchName    = 3
	NoAnswer      = -1
)

// Resolver asks a name server that answers every question with rcode.
func Resolver(t testing.TB, rcode int) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = server.Close(); <-done })
	go func() {
		defer close(done)
		for buf := make([]byte, 512); ; {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			if rcode >= 0 && n >= 12 {
				_, _ = server.WriteTo(refusal(buf[:n], rcode), from)
			}
		}
	}()
	// The resolver waits for seconds on, in the background, unless it is cut off.
	ended, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if err := ended.Err(); err != nil {
			return nil, err
		}
		conn, err := new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
		if err == nil {
			context.AfterFunc(ended, func() { _ = conn.Close() })
		}
		return conn, err
	}}
}

// refusal is the question sent back, with rcode and no records.
func refusal(question []byte, rcode int) []byte {
	end := 12
	for end < len(question) && question[end] != 0 {
		end += int(question[end]) + 1
	}
	reply := append([]byte(nil), question[:min(end+5, len(question))]...)
	binary.BigEndian.PutUint16(reply[2:], 0x8180|uint16(rcode))
	copy(reply[4:12], []byte{0, 1, 0, 0, 0, 0, 0, 0})
	return reply
}

// Unheard is a resolver whose questions reach nobody: each waits until its context
// ends, in virtual time too.
func Unheard() *net.Resolver {
	// Package net makes a channel at its first question, which must not be asked in
	// a bubble of testing/synctest.
	mute := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
	_, _ = mute.LookupHost(context.Background(), "first.example")
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, far := net.Pipe()
		context.AfterFunc(ctx, func() { _ = far.Close() })
		return conn, nil
	}}
}
