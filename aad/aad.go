// Package aad proves an identity to Microsoft Entra ID (once Azure Active
// Directory) and keeps the tokens that it gives.
//
// A [Credential] says who the caller is and how that is proved; it is made once
// and shared by all clients of that identity. [Tokens] turns what a vault's
// challenge demands into a token, from the credential's cache where it can.
//
// # Who is told the secret
//
// A secret or assertion is sent to the authority that the challenge names and to
// nobody else. Whether that authority is one to believe is decided before, by
// [challenge.Policy.Check]; package akv does so for every challenge.
package aad

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/hidden"
)

// A Credential proves an identity. It also holds the tokens obtained with it, so
// that clients which share a Credential share them. It is safe for concurrent
// use. Credentials are made by this package's constructors; a credential of
// another library is plugged in with [NewTokenSource].
//
// Printed with any verb, logged, or encoded as text, JSON or XML, a Credential
// shows what it is and for whom, and nothing else. It cannot be encoded with gob.
type Credential interface {
	// token makes one exchange for a new token; nothing is cached.
	token(ctx context.Context, x *exchange, c challenge.Challenge) (Token, error)
	// cache is where the credential's tokens are kept.
	cache() *cache
	// kind is what errors call the credential.
	kind() ekm.CredentialKind
	// fingerprint differs between credentials that an authority could tell apart.
	fingerprint() [32]byte
}

// A Token is an access token, made by [NewToken]. Whoever has it is the caller, so
// whatever prints a Token, or a struct with a Token in it, shows only when it
// expires. Tokens cannot be compared with ==.
type Token struct {
	// Expires is when the token ends, by this machine's clock.
	Expires time.Time
	// RefreshOn is when to get a new one ahead of that. Zero means that Tokens
	// chooses: five minutes before the end, or halfway through a life of two
	// hours and more.
	RefreshOn time.Time

	value  hidden.Value[string]
	claims string // that it was asked for with
}

// NewToken returns the token that goes into the Authorization header as value,
// after "Bearer ", and ends at expires.
func NewToken(value string, expires time.Time) Token {
	return Token{Expires: expires, value: hidden.New(value)}
}

// Reveal returns what goes into the Authorization header after "Bearer ". It is
// empty for the zero Token.
func (t Token) Reveal() string { return t.value.Reveal() }

// String tells when the token expires.
func (t Token) String() string {
	return "aad.Token(expires " + t.Expires.UTC().Format(time.RFC3339) + ")"
}

// Format writes what String returns, for any verb.
func (t Token) Format(f fmt.State, _ rune) { hidden.Format(f, t.String()) }

// LogValue is what String returns.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText returns what String returns. Packages encoding/json and encoding/xml
// call it, and so do structured logs.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// GobEncode returns an error: a Token cannot be stored without its value.
func (t Token) GobEncode() ([]byte, error) { return nil, hidden.Unstorable("aad.Token") }

// A TokenSource obtains tokens in a way of its own. Token is called when there is
// no token yet, and again when the last one is about to expire or was rejected,
// by one goroutine at a time for the same demand, whatever its Claims; it need not cache, and must not
// answer with a token that was rejected. Its ctx ends when nobody waits any more;
// while it goes on in spite of that, later callers wait for it. c.Scope is what to
// ask for, c.Tenant where, and c.Claims must be passed on if it is not empty.
type TokenSource interface {
	// Token returns a token that NewToken made.
	Token(ctx context.Context, c challenge.Challenge) (Token, error)
}

// NewTokenSource makes a Credential of a foreign source of tokens. What s fails
// with is returned with the code 3304 and s's error as the cause, unless it has
// a code already. The error is 6 (SCPErrInvalidArgument) if s is nil.
func NewTokenSource(s TokenSource) (Credential, error) {
	if s == nil {
		return nil, invalid("the token source is nil")
	}
	f := &foreign{source: hidden.New(s)}
	f.shown = f.describe
	return f, nil
}

type foreign struct {
	shown
	source hidden.Value[TokenSource]
	turns  turns
	kept   cache
}

func (f *foreign) cache() *cache { return &f.kept }

// fingerprint is the source's own: one that was made anew counts as another.
func (f *foreign) fingerprint() [32]byte { return digest(fmt.Sprintf("%p", f)) }

func (f *foreign) token(ctx context.Context, x *exchange, c challenge.Challenge) (Token, error) {
	end, err := f.turns.take(ctx, c)
	if err != nil {
		return Token{}, noToken(err, ekm.Local, hostOf(c.Authority))
	}
	defer end() // also if the source panics
	t, err := f.source.Reveal().Token(ctx, c)
	if err != nil {
		return Token{}, noToken(err, ekm.Local, hostOf(c.Authority))
	}
	return usable(t, x.now(), ekm.Local, hostOf(c.Authority))
}

func invalid(format string, args ...any) error {
	return &ekm.Error{Code: ekm.SCPErrInvalidArgument, Party: ekm.Local, Err: fmt.Errorf(format, args...), Time: time.Now()}
}
