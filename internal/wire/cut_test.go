package wire_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/nettest"
)

// An end is how a connection is cut.
type end struct {
	name string
	cut  func(*tls.Conn)
}

func ends() []end {
	return []end{
		{"closed", func(c *tls.Conn) { _ = c.Close() }},
		{"closed without close_notify", func(c *tls.Conn) { _ = c.NetConn().Close() }},
		{"reset", func(c *tls.Conn) { _ = c.NetConn().(*net.TCPConn).SetLinger(0); _ = c.NetConn().Close() }},
	}
}

// Wherever a response is cut, the call is made again: in the status line, within a
// header's name, between headers, in a chunk or a trailer.
func TestResponsesCutAnywhere(t *testing.T) {
	for name, whole := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nX-Ms-A: b\r\nContent-Length: 2\r\n\r\nok",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: u\r\n\r\n",
		"1xx":     "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	} {
		for _, end := range ends() {
			t.Run(name+", "+end.name, func(t *testing.T) {
				var cut, conns atomic.Int32
				address := nettest.ListenTLS(t, trusted().Config(t), func(c net.Conn) {
					text := whole
					if conns.Add(1) == 1 {
						text = whole[:cut.Load()]
					}
					if nettest.ReadRequest(c) {
						if text == "" {
							nettest.Settle()
						}
						_, _ = io.WriteString(c, text)
						if text != whole && end.name == "reset" {
							nettest.Settle() // lest the reset overtakes it
						}
					}
					end.cut(c.(*tls.Conn))
				})
				step := 1
				if name != "length" || end.name != "closed" {
					step = 4 // for the time that it takes
				}
				for i := 0; i < len(whole); i += step {
					cut.Store(int32(i))
					conns.Store(0)
					resp, err := send(t, newClient(t, nil), post(address), true)
					if !assert.NoError(t, err, "cut behind %q", whole[:i]) {
						continue
					}
					assert.Equal(t, "ok", string(resp.Body))
					assert.Equal(t, 2, resp.Attempts, "cut behind %q", whole[:i])

					// What must not be repeated is not, and the code says how far it had got.
					conns.Store(0)
					_, err = send(t, newClient(t, nil), post(address), false)
					e := failed(t, err, want{ekm.CodeOf(err), phaseOf(err), ekm.Vault, address})
					assert.EqualValues(t, 1, conns.Load())
					if name == "length" && end.name == "closed" { // else net/http does not tell where it was
						assert.Equal(t, cutCode(whole, i), e.Code, "cut behind %q: %v", whole[:i], err)
					}
				}
			})
		}
	}
}

func phaseOf(err error) ekm.Phase {
	if e, ok := errors.AsType[*ekm.Error](err); ok {
		return e.Phase
	}
	return ""
}

// cutCode is the code for a response that is cut at i.
func cutCode(whole string, i int) ekm.Code {
	switch {
	case i < strings.Index(whole, " OK"):
		return ekm.ErrorHttpGetResponseCode
	case i < strings.Index(whole, "\r\n\r\n")+len("\r\n\r\n"):
		return ekm.ErrorHttpQueryHeader
	}
	return ekm.ErrorHttpReadData
}

// A header that makes no sense is final: it is not the line that spoils it.
func TestMalformedHeadersAreFinal(t *testing.T) {
	for _, text := range []string{
		"no colon\r\n\r\n", "no colon\r\n", "Content-Length 10\r\n\r\n", " folded\r\n\r\n", "X\x00Y: z\r\n\r\n", ": z\r\n\r\n",
		"nocolon\r\nX: y\r\n\r\n" + strings.Repeat("z", 8<<10), "Content-Length: ten\r\n\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	} {
		for _, hang := range []bool{false, true} {
			var conns atomic.Int32
			address := nettest.ListenTLS(t, trusted().Config(t), counted(&conns, nettest.Replying("HTTP/1.1 200 OK\r\n"+text, hang)))
			_, err := send(t, newClient(t, nil), get(address), true)
			require.Error(t, err, "%q", text)
			assert.EqualValues(t, 1, conns.Load(), "%q: %v", text, err)
		}
	}
}

func TestHTTP2ResponsesCutAnywhere(t *testing.T) {
	for _, end := range ends() {
		t.Run(end.name, func(t *testing.T) {
			var cut, conns atomic.Int32
			whole := answered(1)
			address := nettest.Listen(t, counted(&conns, speakingH2(t, nil, func(c *tls.Conn, stream uint32) bool {
				if conns.Load() > 1 {
					_, _ = c.Write(answered(stream))
					return true
				}
				nettest.Settle()
				_, _ = c.Write(whole[:cut.Load()])
				nettest.Settle()
				end.cut(c)
				return false
			})))
			for i := range whole {
				cut.Store(int32(i))
				conns.Store(0)
				resp, err := send(t, newClient(t, nil), post(address), true)
				if assert.NoError(t, err, "cut at %d", i) {
					assert.Equal(t, "ok", string(resp.Body))
				}
			}
		})
	}
}

// What a server of HTTP/2 says in the middle of a response ends it as a cut does.
func TestHTTP2ResponsesGivenUp(t *testing.T) {
	headers := func(s uint32) []byte { return frame(frameHeaders, endHeaders, s, 0x88) }
	for _, c := range []struct {
		name  string
		reply func(stream uint32) []byte
		code  ekm.Code
		again bool
	}{
		{"RST_STREAM for an answer", func(s uint32) []byte { return reset(s, internalError) }, ekm.ErrorHttpGetResponseCode, true},
		{"RST_STREAM in the body", func(s uint32) []byte { return append(headers(s), reset(s, internalError)...) }, ekm.ErrorHttpReadData, true},
		{"RST_STREAM in the body, NO_ERROR", func(s uint32) []byte { return append(headers(s), reset(s, noError)...) }, ekm.ErrorHttpReadData, true},
		{"GOAWAY in the body", func(s uint32) []byte { return append(headers(s), goAway(s, internalError)...) }, ekm.ErrorHttpReadData, true},
		{"GOAWAY for an answer", func(s uint32) []byte { return goAway(s, internalError) }, ekm.ErrorHttpGetResponseCode, true},
		// ":status: 200", then a field's name in capitals, without indexing.
		{"a malformed header", func(s uint32) []byte {
			return frame(frameHeaders, endHeaders|endStream, s, 0x88, 0, 1, 'X', 1, 'y')
		}, ekm.ErrorHttpQueryHeader, false},
		{"no status", func(s uint32) []byte {
			return frame(frameHeaders, endHeaders|endStream, s, 0, 1, 'x', 1, 'y')
		}, ekm.ErrorHttpQueryHeader, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var requests atomic.Int32
			address := nettest.Listen(t, speakingH2(t, nil, func(conn *tls.Conn, stream uint32) bool {
				requests.Add(1)
				nettest.Settle()
				_, _ = conn.Write(c.reply(stream))
				nettest.Settle()
				return !strings.Contains(c.name, "GOAWAY")
			}))
			_, err := send(t, newClient(t, nil), post(address), true)
			e := failed(t, err, want{c.code, phaseOf(err), ekm.Vault, address})
			tries := 1
			if c.again {
				tries = 3
			}
			assert.Equal(t, tries, e.Attempts, "%v", err)
			assert.EqualValues(t, tries, requests.Load())
		})
	}
}
