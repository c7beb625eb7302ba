package fakevault

import (
	"crypto"
	"crypto/subtle"
	"crypto/x509"
	"strings"
)

// app is an application registration in the tenant.
type app struct {
	id         string
	disabled   bool
	secrets    []secret
	keys       []registeredKey
	federation []federation
}

type secret struct {
	value   string
	expired bool
}

// registeredKey is a certificate of an application, or a bare key under a thumbprint.
type registeredKey struct {
	sha1, sha256 []byte // thumbprints
	key          crypto.PublicKey
	cert         *x509.Certificate
}

// federation is a federated identity credential: tokens of this issuer, for this subject, count as the application.
type federation struct {
	issuer, subject, audience string
	key                       crypto.PublicKey
}

// AddApp registers an application with a secret, or gives a registered one a further secret.
// With an empty secret the application has none.
func (s *Server) AddApp(clientID, value string) {
	s.withApp(clientID, func(a *app) {
		if value != "" {
			a.secrets = append(a.secrets, secret{value: value})
		}
	})
}

// ExpireSecret lets all secrets of the application expire: AADSTS7000222.
func (s *Server) ExpireSecret(clientID string) {
	s.withApp(clientID, func(a *app) {
		for i := range a.secrets {
			a.secrets[i].expired = true
		}
	})
}

// DisableApp disables the application: AADSTS7000112.
func (s *Server) DisableApp(clientID string) {
	s.withApp(clientID, func(a *app) { a.disabled = true })
}

// RemoveApp deletes the application: AADSTS700016.
func (s *Server) RemoveApp(clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.apps, strings.ToLower(clientID))
}

// withApp works on the application, which it registers if need be.
func (s *Server) withApp(clientID string, do func(*app)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := strings.ToLower(clientID)
	if s.apps[id] == nil {
		s.apps[id] = &app{id: clientID}
	}
	do(s.apps[id])
}

// app returns a copy, so that a request works on one state.
func (s *Server) app(clientID string) (app, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[strings.ToLower(clientID)]
	if a == nil {
		return app{}, false
	}
	cp := *a
	cp.secrets = append([]secret(nil), a.secrets...) // ExpireSecret changes them in place; the other lists only grow
	return cp, true
}

// checkSecret returns nil, or the AADSTS error.
func (a *app) checkSecret(value string) *entraError {
	for _, known := range a.secrets {
		if subtle.ConstantTimeCompare([]byte(known.value), []byte(value)) != 1 {
			continue
		}
		if known.expired {
			return &entraError{401, "invalid_client", 7000222, "The provided client secret keys for app '" + a.id +
				"' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."}
		}
		return nil
	}
	return &entraError{401, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '" + a.id + "'."}
}
