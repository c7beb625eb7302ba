package fakevault

import (
	"crypto/rsa"
	"slices"
	"strings"
	"time"
)

// Keys without HTTP, for tests that begin with a vault that is not empty.

// CreateKey makes an RSA key, or a new version of one, without HTTP, and returns its key id with version.
// bits 0 is Options.KeyBits. It panics if the name is invalid or belongs to a deleted key.
func (s *Server) CreateKey(name string, bits int) string {
	if bits == 0 {
		bits = s.opts.KeyBits
	}
	v := &keyVersion{kty: "RSA", bits: bits, enabled: true, rsa: s.rsaKey(bits)}
	if s.hsm {
		v.kty = "RSA-HSM"
	}
	return s.seed(name, v)
}

// AddKey is CreateKey with a key that the caller brings.
func (s *Server) AddKey(name string, priv *rsa.PrivateKey) string {
	v := &keyVersion{kty: "RSA", bits: priv.N.BitLen(), enabled: true, rsa: priv}
	if s.hsm {
		v.kty = "RSA-HSM"
	}
	return s.seed(name, v)
}

// CreateECKey makes an EC key (P-256, P-384 or P-521) without HTTP.
func (s *Server) CreateECKey(name, crv string) string {
	v, err := s.newVersion(&keyRequest{Kty: "EC", Crv: crv})
	if err != nil {
		panic("fakevault: " + err.message)
	}
	return s.seed(name, v)
}

func (s *Server) seed(name string, v *keyVersion) string {
	if !validName(name) {
		panic("fakevault: invalid key name " + name)
	}
	v.ops = v.defaultOps()
	s.mu.Lock()
	defer s.mu.Unlock()
	name, err := s.insert(name, v)
	if err != nil {
		panic("fakevault: " + err.message)
	}
	return s.keyID(name, v.id)
}

// KeyUpdate is what UpdateKey changes; a nil field stays as it is.
type KeyUpdate struct {
	Enabled   *bool
	NotBefore *time.Time
	Expires   *time.Time
	Ops       []string // key_ops; empty but not nil: no operation
}

// UpdateKey changes a version (the newest, if version is empty) without HTTP. It panics if there is none.
func (s *Server) UpdateKey(name, version string, u KeyUpdate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[strings.ToLower(name)]
	if k == nil || k.version(version) == nil {
		panic("fakevault: no key " + name + "/" + version)
	}
	old := k.version(version)
	v := *old
	if u.Enabled != nil {
		v.enabled = *u.Enabled
	}
	unix := func(t *time.Time) *int64 { n := t.Unix(); return &n }
	if u.NotBefore != nil {
		v.nbf = unix(u.NotBefore)
	}
	if u.Expires != nil {
		v.exp = unix(u.Expires)
	}
	if u.Ops != nil {
		v.ops = slices.Clone(u.Ops)
	}
	v.updated = time.Now().Unix()
	k.replace(old, &v)
}

// DisableKey sets enabled to false.
func (s *Server) DisableKey(name, version string) {
	s.UpdateKey(name, version, KeyUpdate{Enabled: new(bool)})
}

// PrivateKey returns the RSA key behind a version (the newest, if version is empty), nil if there is none: the oracle
// with which a test checks what the vault wrapped.
func (s *Server) PrivateKey(name, version string) *rsa.PrivateKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keys[strings.ToLower(name)]; k != nil {
		if v := k.version(version); v != nil {
			return v.rsa
		}
	}
	return nil
}
