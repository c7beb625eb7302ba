package aad

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"

	"github.com/akv-ekm/ekm/internal/hidden"
)

// shown is embedded in every credential: it returns the one text that is printed,
// logged or encoded in place of the credential. Secrets must stay out of it, and
// have to be in a hidden.Value besides, as dumpers call no methods.
type shown func() string

// String returns the text.
func (s shown) String() string { return s() }

// Format writes the text, for any verb.
func (s shown) Format(f fmt.State, _ rune) { hidden.Format(f, s()) }

// LogValue returns the text.
func (s shown) LogValue() slog.Value { return slog.StringValue(s()) }

// MarshalText returns the text.
func (s shown) MarshalText() ([]byte, error) { return []byte(s()), nil }

func (c *clientSecret) describe() string { return "client secret of application " + c.id }

// describe names the certificate as the portal does, by its SHA-1 thumbprint, if
// that is known.
func (c *certificate) describe() string {
	hash, thumbprint := "SHA-1", c.id.SHA1
	if thumbprint == nil {
		hash, thumbprint = "SHA-256", c.id.SHA256
	}
	return "certificate with " + hash + " thumbprint " + strings.ToUpper(hex.EncodeToString(thumbprint)) + " of application " + c.clientID
}

func (m *managed) describe() string {
	s := "managed identity (" + string(m.options.Source) + ")"
	for _, id := range [...]struct{ kind, value string }{
		{"client id", m.options.ClientID}, {"object id", m.options.ObjectID}, {"resource id", m.options.ResourceID},
	} {
		if id.value != "" {
			s += ", " + id.kind + " " + id.value
		}
	}
	return s
}

func (w *workload) describe() string {
	return "workload identity of application " + w.options.ClientID + ", token file " + w.options.TokenFile
}

func (f *foreign) describe() string { return fmt.Sprintf("token source %T", f.source.Reveal()) }

// describe tells of the credential that was loaded last. One that is reloading
// itself is not asked, since it may have loaded this one.
func (r *reloading) describe() string {
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	if _, again := last.(*reloading); again {
		return "reloading credential of a reloading credential"
	}
	return fmt.Sprintf("reloading %s", last)
}

// String tells what the options are, but not the password.
func (o CertificateOptions) String() string {
	var parts []string
	if o.Password != "" {
		parts = append(parts, "with a password")
	}
	if o.Thumbprint != "" {
		parts = append(parts, fmt.Sprintf("thumbprint %.100q", o.Thumbprint))
	}
	if o.RS256 {
		parts = append(parts, "RS256")
	}
	if o.SendChain {
		parts = append(parts, "with its chain")
	}
	return "aad.CertificateOptions(" + strings.Join(parts, ", ") + ")"
}

// Format writes what String returns, for any verb.
func (o CertificateOptions) Format(f fmt.State, _ rune) { hidden.Format(f, o.String()) }

// LogValue is what String returns.
func (o CertificateOptions) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalText returns what String returns. Packages encoding/json and encoding/xml
// call it, so that the options can be read from JSON, but not written to it.
func (o CertificateOptions) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// GobEncode returns an error: the options cannot be stored without the password.
func (o CertificateOptions) GobEncode() ([]byte, error) {
	return nil, hidden.Unstorable("aad.CertificateOptions")
}

// String tells which options are set, by name. It shows none of their values: a
// Transport or Logger may hold any secret, and a text may be one in the wrong place.
//
// Package fmt calls no methods on unexported fields, so a struct that keeps Options in
// one prints what its Transport holds.
func (o Options) String() string { return hidden.Given(o) }

// Format writes what String returns, for any verb.
func (o Options) Format(f fmt.State, _ rune) { hidden.Format(f, o.String()) }

// LogValue is what String returns.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalText returns what String returns. Packages encoding/json and encoding/xml
// call it. Package encoding/gob encodes no Options.
func (o Options) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// String tells whose tokens they are.
func (t *Tokens) String() string { return fmt.Sprintf("tokens of %v", t.credential) }
