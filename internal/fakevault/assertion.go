package fakevault

import (
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The client assertion (Microsoft Learn, "Application authentication certificate credentials"): a JWT that the
// application signs with a registered certificate, or that a trusted issuer gave it (workload identity federation).
//
// The fake is stricter than Entra is known to be: nbf and jti must be there, and a jti may be used once. A client that
// passes here passes there.

// assertionClaims are those that are looked at. A pointer tells a missing number from zero.
type assertionClaims struct {
	Aud audiences `json:"aud"`
	Iss string    `json:"iss"`
	Sub string    `json:"sub"`
	Jti string    `json:"jti"`
	Nbf *int64    `json:"nbf"`
	Exp *int64    `json:"exp"`
}

// audiences is one string or a list of them, RFC 7519 section 4.1.3.
type audiences []string

func (a *audiences) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// AddCertificate registers a certificate for the application. Assertions name it by the SHA-1 (x5t) or SHA-256
// (x5t#S256) of its DER.
func (s *Server) AddCertificate(clientID string, cert *x509.Certificate) {
	one, two := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	s.withApp(clientID, func(a *app) {
		a.keys = append(a.keys, registeredKey{sha1: one[:], sha256: two[:], key: cert.PublicKey, cert: cert})
	})
}

// AddKeyThumbprint registers a bare public key under a thumbprint, in hexadecimal or base64, of 20 (x5t) or 32
// (x5t#S256) bytes: for credentials that know the thumbprint but not the certificate. It panics on any other thumbprint.
func (s *Server) AddKeyThumbprint(clientID string, publicKey crypto.PublicKey, thumbprint string) {
	raw, err := hex.DecodeString(strings.ReplaceAll(thumbprint, ":", ""))
	if err != nil {
		raw, _ = decodeThumbprint(thumbprint)
	}
	k := registeredKey{key: publicKey}
	switch len(raw) {
	case sha1.Size:
		k.sha1 = raw
	case sha256.Size:
		k.sha256 = raw
	default:
		panic("fakevault: a thumbprint has 20 or 32 bytes: " + thumbprint)
	}
	s.withApp(clientID, func(a *app) { a.keys = append(a.keys, k) })
}

// AddFederated lets tokens of an issuer, for a subject and an audience ("api://AzureADTokenExchange" if empty), signed
// by the given key, stand for the application: a federated identity credential.
func (s *Server) AddFederated(clientID, issuer, subject, audience string, publicKey crypto.PublicKey) {
	if audience == "" {
		audience = "api://AzureADTokenExchange"
	}
	s.withApp(clientID, func(a *app) {
		a.federation = append(a.federation, federation{issuer, subject, audience, publicKey})
	})
}

func malformed(text string) *entraError {
	if text == "" {
		text = "JWT token is invalid or malformed."
	}
	return &entraError{http.StatusBadRequest, "invalid_request", 50027, text}
}

func refusedClient(number int, format string, args ...any) *entraError {
	return &entraError{http.StatusUnauthorized, "invalid_client", number, fmt.Sprintf(format, args...)}
}

// checkAssertion verifies the client assertion of a token request.
func (c *call) checkAssertion(a *app, form url.Values) *entraError {
	switch form.Get("client_assertion_type") {
	case assertionTypeJWT:
	case "":
		return missingParameter("client_assertion_type")
	default:
		return malformed("The client_assertion_type is not supported.")
	}
	t, err := parseJWS(form.Get("client_assertion"))
	var cl assertionClaims
	if err != nil || json.Unmarshal(t.payload, &cl) != nil || cl.Exp == nil || len(cl.Aud) == 0 {
		return malformed("")
	}
	if strings.HasPrefix(cl.Iss, "https://") {
		return c.checkFederated(a, t, &cl)
	}
	return c.checkSelfSigned(a, t, &cl)
}

// checkSelfSigned is for assertions of the application itself.
func (c *call) checkSelfSigned(a *app, t *jws, cl *assertionClaims) *entraError {
	if !strings.EqualFold(cl.Iss, a.id) || !strings.EqualFold(cl.Sub, a.id) {
		return refusedClient(700021, "Client assertion application identifier doesn't match 'client_id' parameter. Review the documentation at https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials .")
	}
	if t.header.X5T == "" && t.header.X5TS256 == "" {
		return malformed("Invalid JWT token. No certificate thumbprint specified in token header.")
	}
	if err := a.checkSignature(t); err != nil {
		return err
	}
	if !slices.ContainsFunc(cl.Aud, c.s.isOwnAudience) {
		return refusedClient(700023, "Client assertion audience claim does not match Realm issuer. Review the documentation at https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials .")
	}
	if cl.Nbf == nil || cl.Jti == "" {
		return malformed("")
	}
	if err := c.s.checkTime(cl); err != nil {
		return err
	}
	return c.s.useOnce(a.id, cl)
}

// checkSignature finds the key by its thumbprint. If both thumbprints are given, both must be the key's.
func (a *app) checkSignature(t *jws) *entraError {
	one, ok1 := decodeThumbprint(t.header.X5T)
	two, ok2 := decodeThumbprint(t.header.X5TS256)
	shown := one
	if t.header.X5TS256 != "" {
		shown = two
	}
	help := fmt.Sprintf("Thumbprint of key used by client: '%X', %%sPlease visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '%s'.", shown, a.id)
	invalid := func(reason, found string) *entraError {
		return refusedClient(700027, "Client assertion contains an invalid signature. [Reason - %s, %s]", reason, fmt.Sprintf(help, found))
	}
	if !ok1 || !ok2 {
		return invalid("The key was not found.", "")
	}
	for _, k := range a.keys {
		if len(one) > 0 && !slices.Equal(one, k.sha1) || len(two) > 0 && !slices.Equal(two, k.sha256) {
			continue
		}
		found := ""
		if k.cert != nil {
			found = fmt.Sprintf("Found key 'Start=%s, End=%s', ", k.cert.NotBefore.UTC().Format("01/02/2006 15:04:05"), k.cert.NotAfter.UTC().Format("01/02/2006 15:04:05"))
			if time.Now().After(k.cert.NotAfter) {
				return invalid("The key used is expired.", found)
			}
		}
		if t.verify(k.key, "PS256", "RS256") != nil {
			return invalid("The provided signature value did not match the expected signature value.", found)
		}
		return nil
	}
	return invalid("The key was not found.", "")
}

// decodeThumbprint takes both base64 alphabets, padded or not: documentation says base64url, MSAL for Go sends the
// standard alphabet with padding, and Entra takes both.
func decodeThumbprint(text string) ([]byte, bool) {
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	b, err := base64.RawURLEncoding.DecodeString(text)
	return b, err == nil
}

// isOwnAudience: the token endpoints of the tenant, at any host of the cloud, and its issuer names.
func (s *Server) isOwnAudience(aud string) bool {
	if aud == s.issuer() {
		return true
	}
	for _, host := range s.entraHosts {
		base := "https://" + host + "/" + s.opts.Tenant
		switch strings.ToLower(aud) {
		case base + "/oauth2/v2.0/token", base + "/oauth2/token", base + "/v2.0", base:
			return true
		}
	}
	return false
}

// checkTime names both clocks, as Entra does, so that an operator can see the skew.
func (s *Server) checkTime(cl *assertionClaims) *entraError {
	now, skew := time.Now(), s.opts.ClockSkew
	exp, nbf := time.Unix(*cl.Exp, 0), time.Unix(0, 0)
	if cl.Nbf != nil {
		nbf = time.Unix(*cl.Nbf, 0)
	}
	if now.Before(exp.Add(skew)) && !now.Before(nbf.Add(-skew)) {
		return nil
	}
	const layout = "2006-01-02T15:04:05.0000000Z"
	return refusedClient(700024, "Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, expiry time of assertion %s. Review the documentation at https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials .",
		now.UTC().Format(layout), nbf.UTC().Format(layout), exp.UTC().Format(layout))
}

// useOnce refuses an assertion that was used before. Expired ones are forgotten.
func (s *Server) useOnce(appID string, cl *assertionClaims) *entraError {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, until := range s.jtis {
		if now.After(until) {
			delete(s.jtis, id)
		}
	}
	id := strings.ToLower(appID) + "\x00" + cl.Jti
	if _, ok := s.jtis[id]; ok {
		return malformed("The client assertion has been used before.")
	}
	s.jtis[id] = time.Unix(*cl.Exp, 0).Add(s.opts.ClockSkew)
	return nil
}

// checkFederated is for tokens of a trusted issuer. They may be used often: the file that holds one rotates by the hour.
func (c *call) checkFederated(a *app, t *jws, cl *assertionClaims) *entraError {
	for _, f := range a.federation {
		if f.issuer != cl.Iss || f.subject != cl.Sub || !slices.Contains(cl.Aud, f.audience) {
			continue
		}
		if t.verify(f.key, "RS256", "ES256") != nil {
			return refusedClient(50013, "Assertion failed signature validation.")
		}
		return c.s.checkTime(cl)
	}
	return &entraError{http.StatusBadRequest, "invalid_request", 70021, fmt.Sprintf(
		"No matching federated identity record found for presented assertion. Assertion Issuer: '%s'. Assertion Subject: '%s'. Assertion Audience: '%s'. https://docs.microsoft.com/en-us/azure/active-directory/develop/workload-identity-federation",
		cl.Iss, cl.Sub, strings.Join(cl.Aud, ","))}
}
