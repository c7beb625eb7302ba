package fakevault

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var errClosed = errors.New("fakevault: server closed")

// reply is an answer that is complete but not yet sent. Both ways out, a real connection and the in-process transport,
// send it from here, so that the handlers know nothing of either.
type reply struct {
	status int
	header http.Header
	body   []byte

	// What a scripted fault does to the sending.
	abort    error // no answer at all: the connection ends, or this error comes out of the transport
	declared int64 // Content-Length, if not -1
	cut      int64 // send so many bytes of the body, then break off; -1: send all
	stall    bool  // at the cut, wait for the end of the request instead of breaking off
	flood    int64 // send so many bytes of filler after the body
	chunked  bool  // send without Content-Length
	server   *Server
}

func newReply(status int, contentType string, body []byte) *reply {
	h := http.Header{}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	return &reply{status: status, header: h, body: body, declared: -1, cut: -1}
}

func textReply(status int, text string) *reply {
	return newReply(status, "text/plain; charset=utf-8", []byte(text))
}

func jsonReply(status int, v any) *reply {
	return newReply(status, "application/json; charset=utf-8", marshal(v))
}

// marshal writes JSON as the services do: compact, with &, < and > as they are, no line end.
func marshal(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // all values are our own structs
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// alphabetic re-writes JSON with its members sorted, as Managed HSM sends them. encoding/json sorts map keys.
func alphabetic(b []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		panic(err)
	}
	return marshal(v)
}

// length is the Content-Length to send.
func (p *reply) length() int64 {
	if p.declared >= 0 {
		return p.declared
	}
	return int64(len(p.body)) + p.flood
}

// full is the body with the filler, before any cut.
func (p *reply) full() io.Reader {
	r := io.Reader(bytes.NewReader(p.body))
	if p.flood > 0 {
		r = io.MultiReader(r, io.LimitReader(filler{}, p.flood))
	}
	return r
}

// filler is an endless run of spaces: a body of any size without the memory for it, and JSON still.
type filler struct{}

func (filler) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// writeTo sends the reply over a real connection.
func (p *reply) writeTo(w http.ResponseWriter, r *http.Request) {
	if p.abort != nil {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	for name, values := range p.header {
		h[name] = values // names in the spelling that we gave them
	}
	if p.status != http.StatusNoContent && !p.chunked {
		h.Set("Content-Length", strconv.FormatInt(p.length(), 10))
	}
	w.WriteHeader(p.status)
	if p.chunked {
		_ = http.NewResponseController(w).Flush() // or net/http would count a short body
	}
	if r.Method == http.MethodHead || p.status == http.StatusNoContent {
		return
	}
	src := io.LimitReader(p.full(), p.length()) // net/http takes no more than was declared
	if p.cut >= 0 {
		src = io.LimitReader(src, p.cut)
	}
	if _, err := io.Copy(w, src); p.cut < 0 && err == nil {
		return // less than was declared is noticed, and the connection closed, by net/http
	}
	_ = http.NewResponseController(w).Flush()
	if p.stall && p.server != nil {
		_ = p.server.wait(r.Context(), -1)
	}
	panic(http.ErrAbortHandler)
}

// setHeader replaces a header, however it is spelled.
func setHeader(h http.Header, name string, values []string) {
	for old := range h {
		if strings.EqualFold(old, name) {
			delete(h, old)
		}
	}
	h[name] = values
}

func stamp(h http.Header) { h.Set("Date", time.Now().UTC().Format(http.TimeFormat)) }
