package fakevault

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Server is the fake. It is an [http.Handler] for every host it plays and safe for concurrent use.
// Make one with [New].
type Server struct {
	opts       Options
	hsm        bool
	signingKey *rsa.PrivateKey
	entraHosts []string

	mu       sync.Mutex
	closed   bool
	hung     map[chan struct{}]struct{} // requests that a fault keeps waiting; closed by Close
	serial   int                        // source of request ids: counted, never random
	journal  []Entry
	script   []*scripted
	keys     map[string]*key // by lower-case name, deleted ones included
	versions int
	pool     []*rsa.PrivateKey
	refused  map[Operation]Refusal
	apps     map[string]*app
	tokens   map[string]*issued // by token text
	issued   int                // tokens issued so far
	revoked  int                // tokens with a number up to this one are revoked
	demand   *claimsDemand
	window   window
	jtis     map[string]time.Time
	arcKeys  map[string]string // challenge file -> content
}

// New makes a server. It opens nothing: use [Server.Transport], [Server.Listen] or the server itself as a handler.
func New(opts Options) *Server {
	o := opts.withDefaults()
	s := &Server{
		opts:       o,
		hsm:        strings.Contains(o.VaultHost, ".managedhsm."),
		signingKey: mustSigningKey(),
		entraHosts: authorityHosts(hostOnly(o.AuthorityHost)),
		hung:       map[chan struct{}]struct{}{},
		keys:       map[string]*key{},
		pool:       slices.Clone(o.Keys),
		refused:    map[Operation]Refusal{},
		apps:       map[string]*app{},
		tokens:     map[string]*issued{},
		jtis:       map[string]time.Time{},
		arcKeys:    map[string]string{},
	}
	s.AddApp(o.ClientID, o.ClientSecret)
	return s
}

// VaultURL is the vault's address, "https://fakevault.vault.azure.net" by default.
func (s *Server) VaultURL() string { return "https://" + s.opts.VaultHost }

// VaultHost is the host of VaultURL.
func (s *Server) VaultHost() string { return s.opts.VaultHost }

// AuthorityURL is what the challenge names: authority host and tenant.
func (s *Server) AuthorityURL() string {
	return "https://" + s.opts.AuthorityHost + "/" + s.opts.Tenant
}

// AuthorityHost is the host of AuthorityURL.
func (s *Server) AuthorityHost() string { return s.opts.AuthorityHost }

// Tenant is the id of the only tenant.
func (s *Server) Tenant() string { return s.opts.Tenant }

// Resource is the audience that the vault wants in a token.
func (s *Server) Resource() string { return s.opts.Resource }

// ClientID is the id of the application known from the start.
func (s *Server) ClientID() string { return s.opts.ClientID }

// ClientSecret is the secret of the application known from the start.
func (s *Server) ClientSecret() string { return s.opts.ClientSecret }

// TokenKey is the public key that verifies the access tokens of this server.
func (s *Server) TokenKey() *rsa.PublicKey { return &s.signingKey.PublicKey }

// Close ends all requests that a scripted fault keeps waiting; later ones do not wait. Listeners are closed on their own.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for ch := range s.hung {
		close(ch)
	}
	clear(s.hung)
}

// ServeHTTP answers for every host that the server plays.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r.Body, s.opts.MaxBody)
	if err != nil {
		panic(http.ErrAbortHandler) // the client went away in the middle of its body
	}
	s.serve(&call{r: r, body: body}).writeTo(w, r)
}

// readBody reads one byte more than allowed, so that the caller can tell.
func readBody(body io.Reader, limit int64) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	return io.ReadAll(io.LimitReader(body, limit+1))
}

// serve makes the reply to one request: journal, scripted faults, then the party that is asked.
func (s *Server) serve(c *call) *reply {
	c.s, c.ctx = s, c.r.Context()
	c.classify()
	c.requestID = s.nextID()
	entry := s.record(c)
	rep := s.runFaults(c)
	s.finish(entry, rep, c.faults)
	return rep
}

// answer asks the party that the request is for.
func (c *call) answer() *reply {
	if int64(len(c.body)) > c.s.opts.MaxBody {
		return textReply(http.StatusRequestEntityTooLarge, "Request Entity Too Large")
	}
	switch c.party {
	case partyVault:
		return c.vault()
	case partyEntra:
		return c.entra()
	case partyIMDS:
		return c.imds()
	case partyAppService:
		return c.appService()
	case partyArc:
		return c.arc()
	}
	return textReply(http.StatusNotFound, "fakevault does not play "+hostOnly(c.r.Host)+c.r.URL.Path)
}

// wait waits for d, or without end if d is negative. It ends early with the context, whose cause it returns, and with Close.
// The channel is made here, not in New, because a channel from outside a testing/synctest bubble would stop the
// bubble's clock.
func (s *Server) wait(ctx context.Context, d time.Duration) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	ch := make(chan struct{})
	s.hung[ch] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.hung, ch)
		s.mu.Unlock()
	}()

	var timer <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-timer:
		return nil
	case <-ch:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// nextID gives request ids, token ids and trace ids: UUIDs that are the same on every run.
func (s *Server) nextID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	return seededID(s.opts.VaultHost, "id", fmt.Sprint(s.serial))
}

// seededID is a version 5 UUID of its arguments.
func seededID(parts ...string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(strings.Join(parts, "\x00"))).String()
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
