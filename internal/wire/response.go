package wire

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// checkHeader holds the header against its limits. The transport has a limit of
// its own, above ours, for what it reads before we see it.
func (x *exchange) checkHeader(h http.Header) error {
	var total int64
	for name, values := range h {
		for _, v := range values {
			if int64(len(v)) > x.limits.HeaderValue {
				return fmt.Errorf("%w: %d bytes, limit %d", errFieldSize, len(v), x.limits.HeaderValue)
			}
			total += int64(len(name) + len(v) + 4)
		}
	}
	if total > x.limits.Header {
		return fmt.Errorf("%w: %d bytes, limit %d", errHeaderSize, total, x.limits.Header)
	}
	return nil
}

// readBody reads the body to its end. Memory is taken as bytes arrive, never on
// the word of a Content-Length alone.
func (x *exchange) readBody(resp *http.Response) ([]byte, error) {
	limit := x.limits.Body
	declared := resp.ContentLength
	switch {
	case declared < -1:
		return nil, fmt.Errorf("%w: %d", errLength, declared)
	case declared > limit:
		return nil, fmt.Errorf("%w: %d bytes, limit %d", errDeclared, declared, limit)
	}
	r := &heldReader{r: resp.Body, x: x, left: limit + 1}
	defer r.release()
	var buf bytes.Buffer
	if declared > 0 {
		buf.Grow(int(min(declared, 4<<10)) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(r)
	switch {
	case err != nil:
		return nil, err
	case n > limit:
		return nil, fmt.Errorf("%w: more than %d bytes", errGrown, limit)
	case n < declared:
		return nil, io.ErrUnexpectedEOF // a round tripper that does not count for itself
	}
	return buf.Bytes(), nil
}

// A heldReader reads up to a limit, and charges what it reads to the client's
// common budget.
type heldReader struct {
	r     io.Reader
	x     *exchange
	n     int64
	left  int64
	empty int // reads in a row
}

func (h *heldReader) Read(p []byte) (int, error) {
	if h.left <= 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), h.left)]
	n, err := h.r.Read(p)
	if n < 0 || n > len(p) {
		return 0, fmt.Errorf("%w: its body read %d of %d bytes", errContract, n, len(p))
	}
	if h.empty++; n > 0 || err != nil {
		h.empty = 0
	} else if h.empty == 100 {
		return 0, io.ErrNoProgress // as bufio does; the body may not observe the context either
	}
	h.n += int64(n)
	h.left -= int64(n)
	if h.x.client.held.Add(int64(n)) > h.x.limits.Held {
		return n, fmt.Errorf("%w of %d bytes", errHeld, h.x.limits.Held)
	}
	return n, err
}

func (h *heldReader) release() { h.x.client.held.Add(-h.n) }
