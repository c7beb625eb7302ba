package nettest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// The answers of a [Resolver]: RFC 1035, 4.1.1.
const (
	Known         = int(dnsmessage.RCodeSuccess)
	ServerFailure = int(dnsmessage.RCodeServerFailure)
	NoSuchName    = int(dnsmessage.RCodeNameError)
)

// Resolver asks a name server that answers every question with rcode, and with
// addresses.
func Resolver(rcode int, addresses ...netip.Addr) *net.Resolver {
	return resolver(func(far net.Conn) {
		for {
			// Each message has its length in front: RFC 1035, 4.2.2.
			var size [2]byte
			if _, err := io.ReadFull(far, size[:]); err != nil {
				return
			}
			question := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(far, question); err != nil {
				return
			}
			reply := answer(question, rcode, addresses)
			if _, err := far.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
				return
			}
		}
	})
}

// Unheard is a resolver whose questions reach nobody: each waits until its context
// ends, in virtual time too.
func Unheard() *net.Resolver {
	// Package net makes a channel at its first question, which must not be asked in
	// a bubble of testing/synctest.
	mute := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
	_, _ = mute.LookupHost(context.Background(), "first.example")
	return resolver(func(net.Conn) {})
}

// resolver asks a name server at the far end of a pipe, which serve is: a socket
// could be deaf for a while after its question's context has ended.
func resolver(serve func(far net.Conn)) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, far := net.Pipe()
		context.AfterFunc(ctx, func() { _ = far.Close() })
		go serve(far)
		return conn, nil
	}}
}

// answer is the reply to a question, with those of the addresses that it asks for.
func answer(question []byte, rcode int, addresses []netip.Addr) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		panic(err)
	}
	asked := m.Questions[0]
	m.Response, m.RecursionAvailable, m.RCode, m.Additionals = true, true, dnsmessage.RCode(rcode), nil
	for _, a := range addresses {
		r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: asked.Name, Class: asked.Class}}
		switch {
		case asked.Type == dnsmessage.TypeA && a.Is4():
			r.Body = &dnsmessage.AResource{A: a.As4()}
		case asked.Type == dnsmessage.TypeAAAA && a.Is6():
			r.Body = &dnsmessage.AAAAResource{AAAA: a.As16()}
		default:
			continue
		}
		m.Answers = append(m.Answers, r)
	}
	reply, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return reply
}
