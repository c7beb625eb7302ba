package wire_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// Frames of HTTP/2 and its error codes: RFC 9113, 6 and 7.
const (
	frameData, frameHeaders, frameReset, frameSettings, frameGoAway = 0, 1, 3, 4, 7

	endStream, endHeaders = 1, 4

	noError, protocolError, internalError, refusedStream = 0, 1, 2, 7
)

// frame is one frame.
func frame(kind, flags byte, stream uint32, payload ...byte) []byte {
	f := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(f, stream), payload...)
}

func reset(stream, code uint32) []byte {
	return frame(frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, code)...)
}

func goAway(last, code uint32) []byte {
	return frame(frameGoAway, 0, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code)...)
}

// answered is a whole response: ":status: 200" and a body.
func answered(stream uint32) []byte {
	return append(frame(frameHeaders, endHeaders, stream, 0x88), frame(frameData, endStream, stream, 'o', 'k')...)
}

// speakingH2 serves one connection over HTTP/2. handle gets each request's stream
// once it has ended, and writes frames to c; it reports whether to go on.
func speakingH2(t *testing.T, settings []byte, handle func(c *tls.Conn, stream uint32) bool) func(net.Conn) {
	config := trusted().Config(t)
	config.NextProtos = []string{"h2"}
	return func(raw net.Conn) {
		c := tls.Server(raw, config)
		if c.Handshake() != nil {
			return
		}
		_, _ = c.Write(frame(frameSettings, 0, 0, settings...))
		r := bufio.NewReader(c)
		_, _ = r.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		for {
			h := make([]byte, 9)
			if _, err := io.ReadFull(r, h); err != nil {
				return
			}
			_, _ = r.Discard(int(h[0])<<16 | int(h[1])<<8 | int(h[2]))
			kind, flags, stream := h[3], h[4], binary.BigEndian.Uint32(h[5:])
			if kind == frameSettings && flags == 0 {
				_, _ = c.Write(frame(frameSettings, 1, 0)) // acknowledged
			}
			if (kind == frameHeaders || kind == frameData) && flags&endStream != 0 && !handle(c, stream) {
				_ = c.CloseWrite()
				return
			}
		}
	}
}
