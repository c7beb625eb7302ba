package fakevault

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// FaultKind says what a [Fault] does. The kinds in the first group take the place of the operation, which does not
// happen unless Fault.Applied is set. Those in the second group spoil an answer: that of the operation, or the one that
// Status, Header and Body give.
type FaultKind int

const (
	// Answer answers with Status, Header and Body. With Status 0 the operation answers, Header and Retry-After are added.
	Answer FaultKind = iota
	// Hang gives no answer until the request's context ends or the server closes.
	Hang
	// Abort ends the connection without an answer.
	Abort
	// Refuse refuses the connection. Only the in-process transport can; over a listener it is Abort.
	// It is matched by Host, Method and Path; Operation and Applied are not used.
	Refuse

	// Cut breaks the connection after Bytes bytes of the body.
	Cut
	// Stall stops sending after Bytes bytes of the body, and keeps the connection.
	Stall
	// Garble sends a body that is not JSON: the right one, with Bytes bytes left and the rest overwritten.
	Garble
	// WrongLength sends a Content-Length that is Bytes too large (or too small, if negative).
	WrongLength
	// Flood sends Bytes bytes of white space after the body.
	Flood
)

// Fault is one line of a script: which requests it is for, and what happens to them. It is plain data; the same
// script gives the same run. The first fault that matches a request, and is not used up, is applied, and only that one.
type Fault struct {
	Name string // for Entry.Faults; default: the kind and the status

	// The zero value of a field matches all requests. Method is compared without case, Host without port,
	// Path is a part of the path.
	Operation Operation
	Host      string
	Method    string
	Path      string

	Skip  int // let so many matching requests pass first
	Times int // apply to so many; 0 is once, negative is for ever

	Delay      time.Duration // wait before anything else happens
	Kind       FaultKind
	Status     int
	Header     http.Header // {authority}, {tenant} and {resource} are filled in
	Body       string
	RetryAfter string // value of a Retry-After header
	Bytes      int64  // see the kinds
	Chunked    bool   // send the answer without Content-Length
	Applied    bool   // the operation happens, its answer is lost
}

type scripted struct {
	Fault
	seen, used int
}

// Script adds faults behind those that are there already.
func (s *Server) Script(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		if f.Times == 0 {
			f.Times = 1
		}
		if f.Name == "" {
			f.Name = fmt.Sprintf("%v %d", f.Kind, f.Status)
		}
		s.script = append(s.script, &scripted{Fault: f})
	}
}

// ClearScript removes all faults and returns how many of them were not used up.
func (s *Server) ClearScript() (unused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.script {
		if f.Times > 0 && f.used < f.Times {
			unused++
		}
	}
	s.script = nil
	return unused
}

// takeFault finds the fault for this request and counts it.
func (s *Server) takeFault(matches func(*Fault) bool) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.script {
		if f.Times > 0 && f.used >= f.Times || !matches(&f.Fault) {
			continue
		}
		f.seen++
		if f.seen <= f.Skip {
			continue
		}
		f.used++
		return &f.Fault
	}
	return nil
}

func (f *Fault) matchesRequest(host, method, path string) bool {
	return (f.Host == "" || hostOnly(f.Host) == hostOnly(host)) &&
		(f.Method == "" || strings.EqualFold(f.Method, method)) &&
		strings.Contains(path, f.Path)
}

// refuses is for the transport, before there is a request that a server could see.
func (s *Server) refuses(r *http.Request, host string) bool {
	return s.takeFault(func(f *Fault) bool {
		return f.Kind == Refuse && f.matchesRequest(host, r.Method, r.URL.Path)
	}) != nil
}

func refusedConnection(addr string) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("%s: %w", addr, syscall.ECONNREFUSED)}
}

// runFaults answers the request with its fault, if there is one, and plainly otherwise.
func (s *Server) runFaults(c *call) *reply {
	f := s.takeFault(func(f *Fault) bool {
		if f.Kind == Refuse && c.inProcess {
			return false // its turn was before the connection
		}
		return (f.Operation == "" || f.Operation == c.op) && f.matchesRequest(c.r.Host, c.r.Method, c.r.URL.Path)
	})
	if f == nil {
		return c.answer()
	}
	c.faults = append(c.faults, f.Name)
	if f.Delay > 0 {
		if err := s.wait(c.ctx, f.Delay); err != nil {
			return aborted(err)
		}
	}
	if f.Applied && (f.Kind <= Refuse) {
		c.answer()
	}
	switch f.Kind {
	case Hang:
		return aborted(s.wait(c.ctx, -1))
	case Abort, Refuse:
		return aborted(io.EOF)
	}
	rep := s.scriptedAnswer(c, f)
	f.spoil(rep)
	rep.server, rep.chunked = s, f.Chunked
	return rep
}

// aborted gives no answer. The in-process transport returns err; a server that closes in mid-request looks like EOF.
func aborted(err error) *reply {
	if err == errClosed {
		err = io.EOF
	}
	return &reply{abort: err}
}

// scriptedAnswer is the answer before it is spoiled.
func (s *Server) scriptedAnswer(c *call, f *Fault) *reply {
	var rep *reply
	if f.Status == 0 {
		rep = c.answer()
	} else {
		contentType := ""
		switch {
		case strings.HasPrefix(f.Body, "{"):
			contentType = "application/json; charset=utf-8"
		case f.Body != "":
			contentType = "text/plain; charset=utf-8"
		}
		rep = newReply(f.Status, contentType, []byte(f.Body))
		c.commonHeader(rep)
	}
	for name, values := range f.Header {
		filled := make([]string, len(values))
		for i, v := range values {
			filled[i] = s.fillIn(v)
		}
		setHeader(rep.header, name, filled)
	}
	if f.RetryAfter != "" {
		rep.header.Set("Retry-After", f.RetryAfter)
	}
	return rep
}

func (s *Server) fillIn(v string) string {
	return strings.NewReplacer("{authority}", s.AuthorityURL(), "{tenant}", s.opts.Tenant, "{resource}", s.opts.Resource).Replace(v)
}

// commonHeader sets what the asked service sends with every answer.
func (c *call) commonHeader(rep *reply) {
	switch c.party {
	case partyVault:
		c.vaultHeader(rep)
	case partyEntra:
		c.entraHeader(rep)
	}
}

func (f *Fault) spoil(rep *reply) {
	switch f.Kind {
	case Cut:
		rep.cut = f.Bytes
	case Stall:
		rep.cut, rep.stall = f.Bytes, true
	case Garble:
		for i := min(f.Bytes, int64(len(rep.body))); i < int64(len(rep.body)); i++ {
			rep.body[i] = "<!?>"[i%4]
		}
	case WrongLength:
		rep.declared = max(0, int64(len(rep.body))+f.Bytes)
	case Flood:
		rep.flood = f.Bytes
	}
}

// String names the kind.
func (k FaultKind) String() string {
	names := []string{"answer", "hang", "abort", "refuse", "cut", "stall", "garble", "wrong length", "flood"}
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("FaultKind(%d)", int(k))
	}
	return names[k]
}

// VaultThrottled is the 429 of a vault, word for word (reported to AzureSignTool); real vaults send no Retry-After.
func VaultThrottled(times int) Fault {
	return Fault{Name: "vault throttled", Operation: "", Path: "keys", Times: times, Status: http.StatusTooManyRequests, Body: throttledBody}
}

// EntraThrottled is the 429 of Entra: plain text and a Retry-After of one minute
// (reported to microsoft-authentication-library-for-dotnet).
func EntraThrottled(times int) Fault {
	return Fault{Name: "Entra throttled", Operation: OpToken, Times: times, Status: http.StatusTooManyRequests, Body: "Too Many Requests", RetryAfter: "60"}
}

// EntraTransient is AADSTS90033, a 503 (reported to azure-sdk-for-python).
func EntraTransient(times int) Fault {
	return Fault{
		Name: "Entra transient", Operation: OpToken, Times: times, Status: http.StatusServiceUnavailable,
		Body: `{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error has occurred. Please try again.","error_codes":[90033]}`,
	}
}

// UnresolvedSigningKey is AKV10046, which real vaults give now and then to good tokens (reported to azuresandbox).
func UnresolvedSigningKey(times int) Fault {
	return Fault{
		Name: "AKV10046", Path: "keys", Times: times, Status: http.StatusUnauthorized,
		Header: http.Header{"WWW-Authenticate": {`Bearer authorization="{authority}", resource="{resource}"`}},
		Body:   `{"error":{"code":"Unauthorized","message":"AKV10046: Unable to resolve the key used for signature validation. EncodedJwtHeader: 'eyJ0eXAiOiJKV1QifQ'."}}`,
	}
}
