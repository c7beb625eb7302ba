package fakevault

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Entry is what the server remembers of one request. It never holds a secret, token, assertion or body.
type Entry struct {
	Time             time.Time
	Operation        Operation
	Method           string
	Host             string // as the client sent it
	Path             string
	Query            []string // names of the query parameters, sorted
	Form             []string // names of the form fields of a token request, sorted
	HasAuthorization bool
	HasBody          bool
	BodySize         int
	UserAgent        string
	Proto            string   // "HTTP/1.1", "HTTP/2.0"
	RequestID        string   // x-ms-request-id of the answer
	Status           int      // 0: not answered (yet)
	Faults           []string // names of the scripted faults that were applied
}

// Journal returns all requests since the start or the last ResetJournal, in the order of arrival.
func (s *Server) Journal() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.journal)
}

// Count returns how many requests of this operation, or of one of these, the journal has.
func (s *Server) Count(ops ...Operation) int {
	n := 0
	for _, e := range s.Journal() {
		if slices.Contains(ops, e.Operation) {
			n++
		}
	}
	return n
}

// ResetJournal forgets the requests so far. One that is still being answered leaves no trace.
func (s *Server) ResetJournal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = nil
}

// record opens the entry of a request and returns the request id by which finish finds it.
func (s *Server) record(c *call) string {
	e := Entry{
		Time:             time.Now(),
		Operation:        c.op,
		Method:           c.r.Method,
		Host:             c.r.Host,
		Path:             c.r.URL.Path,
		Query:            slices.Sorted(maps.Keys(c.r.URL.Query())),
		HasAuthorization: c.r.Header.Get("Authorization") != "",
		HasBody:          len(c.body) > 0,
		BodySize:         len(c.body),
		UserAgent:        c.r.UserAgent(),
		Proto:            c.r.Proto,
		RequestID:        c.requestID,
	}
	if c.op == OpToken && c.r.Method == http.MethodPost {
		if form, err := url.ParseQuery(string(c.body)); err == nil {
			e.Form = slices.Sorted(maps.Keys(form))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = append(s.journal, e)
	return e.RequestID
}

// finish completes the entry.
func (s *Server) finish(requestID string, rep *reply, faults []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.journal) - 1; i >= 0; i-- {
		if s.journal[i].RequestID == requestID {
			s.journal[i].Faults = faults
			if rep.abort == nil {
				s.journal[i].Status = rep.status
			}
			return
		}
	}
}
