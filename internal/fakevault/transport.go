package fakevault

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
)

// Transport returns a RoundTripper that serves every host of the server in process: no socket, no goroutine, no real
// time. It behaves as http.Transport does: it closes the request body in every case, does nothing once the context has
// ended, gives the context's cause when the context ends meanwhile, calls the hooks of httptrace, and knows no host but
// those that the server plays (the others fail as an unknown name does in DNS). It works in a testing/synctest bubble.
//
// The handler runs in the calling goroutine. All waiting in it ends with the context; the arithmetic of RSA does not.
// If the context ends during the arithmetic, the operation has its effect and the answer is lost, as on a real network.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Server }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	body := &requestBody{rc: req.Body, want: req.ContentLength}
	defer body.Close()
	if err := checkRequest(req); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := t.connect(req); err != nil {
		return nil, err
	}

	// A client that hangs in its own body must not hang us for longer than its context.
	stop := context.AfterFunc(ctx, func() { body.Close() })
	data, err := readBody(body, t.s.opts.MaxBody)
	stop()
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	body.Close()

	rep := t.s.serve(&call{r: serverRequest(req, data), body: data, inProcess: true})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if rep.abort != nil {
		return nil, rep.abort
	}
	if trace != nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	return t.response(req, rep), nil
}

// checkRequest refuses what http.Transport refuses.
func checkRequest(req *http.Request) error {
	switch {
	case req.URL == nil:
		return errors.New("http: nil Request.URL")
	case req.Header == nil:
		return errors.New("http: nil Request.Header")
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return fmt.Errorf("unsupported protocol scheme %q", req.URL.Scheme)
	case req.URL.Host == "":
		return errors.New("http: no Host in request URL")
	}
	for name, values := range req.Header {
		if name == "" || strings.ContainsAny(name, " :\r\n\x00") {
			return fmt.Errorf("net/http: invalid header field name %q", name)
		}
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				// The value may be a secret: http.Transport does not print it either.
				return fmt.Errorf("net/http: invalid header field value for %q", name)
			}
		}
	}
	return nil
}

// connect plays name resolution and the connection. It dials the host of the URL; the Host header may be another.
func (t transport) connect(req *http.Request) error {
	host, port := req.URL.Hostname(), req.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[req.URL.Scheme]
	}
	addr := net.JoinHostPort(host, port)
	trace := httptrace.ContextClientTrace(req.Context())
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(addr)
	}
	if !t.s.plays(hostOnly(host)) {
		return unknownHost(host)
	}
	if t.s.refuses(req, host) {
		return refusedConnection(addr)
	}
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Reused: true})
	}
	return nil
}

// unknownHost is what a vault that does not exist looks like: its name has no address.
func unknownHost(host string) error {
	dns := &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	return &net.OpError{Op: "dial", Net: "tcp", Err: dns}
}

// serverRequest is the request as a server would have parsed it.
func serverRequest(req *http.Request, body []byte) *http.Request {
	r := req.Clone(req.Context())
	if r.Host == "" {
		r.Host = req.URL.Host
	}
	r.RequestURI = req.URL.RequestURI()
	r.RemoteAddr = "203.0.113.7:50000"
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.Body, r.GetBody = http.NoBody, nil
	r.ContentLength = int64(len(body))
	if req.Method == "" {
		r.Method = http.MethodGet
	}
	if user := req.URL.User; user != nil && r.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		r.SetBasicAuth(user.Username(), password)
	}
	return r
}

func (t transport) response(req *http.Request, rep *reply) *http.Response {
	header := rep.header.Clone()
	canonical(header)
	res := &http.Response{
		Status:        fmt.Sprintf("%d %s", rep.status, http.StatusText(rep.status)),
		StatusCode:    rep.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		ContentLength: rep.length(),
		Body:          http.NoBody,
		Request:       req,
	}
	if req.URL.Scheme == "https" {
		res.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: req.URL.Hostname()}
	}
	if rep.status == http.StatusNoContent {
		res.ContentLength = 0
		return res
	}
	if rep.chunked {
		res.ContentLength, res.TransferEncoding = -1, []string{"chunked"}
	} else {
		header.Set("Content-Length", strconv.FormatInt(rep.length(), 10))
	}
	if req.Method != http.MethodHead {
		res.Body = newReplyBody(req.Context(), t.s, rep)
	}
	return res
}

// canonical spells header names as http.Response has them whatever the server wrote.
func canonical(h http.Header) {
	for name, values := range h {
		if c := http.CanonicalHeaderKey(name); c != name {
			delete(h, name)
			h[c] = append(h[c], values...)
		}
	}
}

// requestBody closes once and checks the length that the client promised, as http.Transport does.
type requestBody struct {
	rc   io.ReadCloser
	want int64
	got  int64
	once sync.Once
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.rc == nil {
		return 0, io.EOF
	}
	n, err := b.rc.Read(p)
	b.got += int64(n)
	if b.want > 0 && (b.got > b.want || err == io.EOF && b.got < b.want) {
		return n, fmt.Errorf("http: ContentLength=%d with Body length %d", b.want, b.got)
	}
	return n, err
}

func (b *requestBody) Close() error {
	b.once.Do(func() {
		if b.rc != nil {
			_ = b.rc.Close()
		}
	})
	return nil
}

// replyBody is the body of a response: it ends with the context, and at the cut of a scripted fault.
type replyBody struct {
	ctx    context.Context
	s      *Server
	src    io.Reader
	left   int64 // bytes until the declared length or the cut
	trap   error // what Read gives when left is used up
	stall  bool  // wait before giving it
	life   context.Context
	cancel context.CancelFunc // ends life; called by Close

	mu   sync.Mutex
	done bool
}

func newReplyBody(ctx context.Context, s *Server, rep *reply) *replyBody {
	actual := int64(len(rep.body)) + rep.flood
	b := &replyBody{ctx: ctx, s: s, src: rep.full(), left: rep.length(), trap: io.EOF}
	if rep.declared > actual {
		b.left, b.trap = actual, io.ErrUnexpectedEOF // the server promised more than it had
	}
	if rep.cut >= 0 && rep.cut < b.left {
		b.left, b.trap = rep.cut, io.ErrUnexpectedEOF
		if rep.stall {
			b.stall = true
			b.life, b.cancel = context.WithCancel(ctx)
		}
	}
	return b
}

func (b *replyBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	done := b.done
	b.mu.Unlock()
	switch {
	case done:
		return 0, http.ErrBodyReadAfterClose
	case b.ctx.Err() != nil:
		return 0, context.Cause(b.ctx)
	case b.left == 0 && b.stall:
		return 0, b.hang()
	case b.left == 0:
		return 0, b.trap
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.src.Read(p)
	b.left -= int64(n)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// hang waits as a server does that stops in the middle of its answer: until the context ends, the body or the server is closed.
func (b *replyBody) hang() error {
	switch err := b.s.wait(b.life, -1); {
	case errors.Is(err, errClosed):
		return io.ErrUnexpectedEOF
	case b.ctx.Err() != nil:
		return context.Cause(b.ctx)
	default:
		return http.ErrBodyReadAfterClose
	}
}

func (b *replyBody) Close() error {
	b.mu.Lock()
	b.done = true
	b.mu.Unlock()
	if b.cancel != nil {
		b.cancel()
	}
	return nil
}
