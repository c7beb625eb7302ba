package fakevault

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The managed identity endpoints: IMDS of a virtual machine, App Service and Functions, Azure Arc. Their phases of
// trouble (404, 410, 429, 5xx) are for the script.

// Identity is a managed identity of the machine.
type Identity struct {
	ClientID   string
	ObjectID   string
	ResourceID string // empty: system-assigned
}

// IMDSURL is the address of IMDS, the well-known one.
func (s *Server) IMDSURL() string { return "http://" + imdsHost + "/metadata/identity/oauth2/token" }

// AppServiceURL is an IDENTITY_ENDPOINT. Any port will do in process; over a Listener put in its PlainAddr.
func (s *Server) AppServiceURL() string { return "http://localhost:41000/msi/token" }

// ArcURL is the agent's address on an Arc server. Any port will do in process; over a Listener put in its PlainAddr.
func (s *Server) ArcURL() string { return "http://127.0.0.1:40342/metadata/identity/oauth2/token" }

// IdentityHeader is the App Service secret.
func (s *Server) IdentityHeader() string { return s.opts.IdentityHeader }

// identityReply is in the order of the recorded replies of IMDS; every value is a string.
type identityReply struct {
	AccessToken  string `json:"access_token"`
	ClientID     string `json:"client_id"`
	ExpiresIn    string `json:"expires_in"`
	ExpiresOn    string `json:"expires_on"`
	ExtExpiresIn string `json:"ext_expires_in"`
	NotBefore    string `json:"not_before"`
	Resource     string `json:"resource"`
	TokenType    string `json:"token_type"`
}

// appServiceReply has no expires_in.
type appServiceReply struct {
	AccessToken string `json:"access_token"`
	ExpiresOn   string `json:"expires_on"`
	Resource    string `json:"resource"`
	TokenType   string `json:"token_type"`
	ClientID    string `json:"client_id"`
}

type identityError struct {
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
}

type appServiceError struct {
	StatusCode int    `json:"statusCode"`
	Message    string `json:"message"`
}

func identityFailure(status int, code, text string) *reply {
	return jsonReply(status, identityError{code, text})
}

// imds answers at 169.254.169.254.
func (c *call) imds() *reply {
	rep := c.identity("2018-02-01")
	rep.header.Set("Server", "IMDS/150.870.65.1854")
	stamp(rep.header)
	return rep
}

var dateVersion = regexp.MustCompile(`^20\d\d-\d\d-\d\d(-preview)?$`)

// identity is common to IMDS and Arc. oldest is the first api-version that the endpoint knows.
func (c *call) identity(oldest string) *reply {
	query := c.r.URL.Query()
	switch version := query.Get("api-version"); {
	case !strings.EqualFold(c.r.URL.Path, "/metadata/identity/oauth2/token"):
		return textReply(http.StatusNotFound, "")
	case c.r.Method != http.MethodGet:
		return textReply(http.StatusMethodNotAllowed, "")
	case !strings.EqualFold(c.r.Header.Get("Metadata"), "true"):
		return identityFailure(http.StatusBadRequest, "bad_request_102", "Required metadata header not specified")
	case !dateVersion.MatchString(version) || version < oldest:
		return identityFailure(http.StatusBadRequest, "invalid_request", "api-version is missing or not supported")
	}
	id, ok := c.s.selectIdentity(query, "client_id", "object_id", "msi_res_id", "mi_res_id")
	if !ok {
		return identityFailure(http.StatusBadRequest, "invalid_request", "Identity not found")
	}
	token, cl, err := c.identityToken(id, query.Get("resource"))
	if err != nil {
		return identityFailure(http.StatusBadRequest, err.code, fmt.Sprintf("AADSTS%d: %s", err.number, err.text))
	}
	seconds := strconv.Itoa(int(c.s.opts.TokenLifetime / time.Second))
	return jsonReply(http.StatusOK, identityReply{
		AccessToken: token, ClientID: id.ClientID, ExpiresIn: seconds, ExpiresOn: fmt.Sprint(cl.Exp), ExtExpiresIn: seconds,
		NotBefore: fmt.Sprint(cl.Nbf), Resource: cl.Aud, TokenType: "Bearer",
	})
}

// selectIdentity finds the identity that the selectors name; without one it is the first. The recorded client of IMDS
// says mi_res_id, the documentation msi_res_id: both are taken.
func (s *Server) selectIdentity(query url.Values, clientID, objectID string, resourceIDs ...string) (Identity, bool) {
	for _, id := range s.opts.Identities {
		match := true
		check := func(name, value string) {
			if want := query.Get(name); want != "" && !strings.EqualFold(want, value) {
				match = false
			}
		}
		check(clientID, id.ClientID)
		check(objectID, id.ObjectID)
		for _, name := range resourceIDs {
			check(name, id.ResourceID)
		}
		if match {
			return id, true
		}
	}
	return Identity{}, false
}

func (c *call) identityToken(id Identity, resource string) (string, claims, *entraError) {
	if resource == "" {
		return "", claims{}, missingParameter("resource")
	}
	if !c.s.knowsResource(resource) {
		return "", claims{}, unknownResource(resource, c.s.opts.Tenant)
	}
	token, cl := c.s.mint(grant{appID: id.ClientID, objectID: id.ObjectID, appidacr: "2", resource: resource})
	return token, cl, nil
}

// appService answers at IDENTITY_ENDPOINT (2019-08-01) and at the older MSI_ENDPOINT (2017-09-01), which has other names
// for header and selector and writes expires_on as a date.
func (c *call) appService() *reply {
	query := c.r.URL.Query()
	old := query.Get("api-version") == "2017-09-01"
	header, clientID := "X-IDENTITY-HEADER", "client_id"
	if old {
		header, clientID = "secret", "clientid"
	}
	failure := func(status int, text string) *reply { return jsonReply(status, appServiceError{status, text}) }
	switch {
	case c.r.Method != http.MethodGet:
		return failure(http.StatusMethodNotAllowed, "Method not allowed")
	case c.r.Header.Get(header) != c.s.opts.IdentityHeader:
		return failure(http.StatusUnauthorized, "The identity header is missing or wrong")
	case !old && query.Get("api-version") != "2019-08-01":
		return failure(http.StatusBadRequest, "The api-version is missing or not supported")
	}
	objectID := "object_id"
	if query.Has("principal_id") {
		objectID = "principal_id"
	}
	id, ok := c.s.selectIdentity(query, clientID, objectID, "mi_res_id")
	if !ok {
		return failure(http.StatusBadRequest, "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.")
	}
	token, cl, err := c.identityToken(id, query.Get("resource"))
	if err != nil {
		return failure(http.StatusBadRequest, fmt.Sprintf("AADSTS%d: %s", err.number, err.text))
	}
	expires := fmt.Sprint(cl.Exp)
	if old {
		expires = time.Unix(cl.Exp, 0).UTC().Format("01/02/2006 15:04:05")
	}
	rep := jsonReply(http.StatusOK, appServiceReply{token, expires, cl.Aud, "Bearer", id.ClientID})
	stamp(rep.header)
	return rep
}

// arc answers as the agent on an Azure Arc server does: it names a file, and wants that file's content as proof that the
// caller may read it. The realm is not quoted, which RFC 9110 would require for a path; this is real.
func (c *call) arc() *reply {
	if c.s.opts.ArcKeyDir == "" {
		return textReply(http.StatusNotFound, "")
	}
	auth := c.r.Header.Get("Authorization")
	if content, ok := strings.CutPrefix(auth, "Basic "); ok && c.s.useArcKey(content) {
		return c.identity("2019-11-01")
	}
	if !strings.EqualFold(c.r.Header.Get("Metadata"), "true") {
		return c.identity("2019-11-01") // refused before the challenge
	}
	path, err := c.s.newArcKey()
	if err != nil {
		return textReply(http.StatusInternalServerError, err.Error())
	}
	rep := textReply(http.StatusUnauthorized, "")
	rep.header["WWW-Authenticate"] = []string{"Basic realm=" + path}
	stamp(rep.header)
	return rep
}

// newArcKey writes a challenge file.
func (s *Server) newArcKey() (string, error) {
	path := filepath.Join(s.opts.ArcKeyDir, s.nextID()+".key")
	content := s.nextID() + s.nextID()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arcKeys[content] = path
	return path, nil
}

// useArcKey accepts a content once, and removes its file.
func (s *Server) useArcKey(content string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	path, ok := s.arcKeys[content]
	if ok {
		delete(s.arcKeys, content)
		_ = os.Remove(path)
	}
	return ok
}
