package fakevault

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Entra's token endpoint: /{tenant}/oauth2/v2.0/token (scope, numbers) and /{tenant}/oauth2/token (resource, all
// values strings). Only the client credentials grant is played.

const (
	grantClientCredentials = "client_credentials"
	assertionTypeJWT       = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// tokenReplyV2 is in the member order of the recorded replies.
type tokenReplyV2 struct {
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	ExtExpiresIn int64  `json:"ext_expires_in"`
	RefreshIn    int64  `json:"refresh_in,omitempty"`
	AccessToken  string `json:"access_token"`
}

type tokenReplyV1 struct {
	TokenType    string `json:"token_type"`
	ExpiresIn    string `json:"expires_in"`
	ExtExpiresIn string `json:"ext_expires_in"`
	RefreshIn    string `json:"refresh_in,omitempty"`
	ExpiresOn    string `json:"expires_on"`
	NotBefore    string `json:"not_before"`
	Resource     string `json:"resource"`
	AccessToken  string `json:"access_token"`
}

// entraError is one of the AADSTS errors. Its text says what is wrong, never the secret or the assertion.
type entraError struct {
	status int
	code   string // the OAuth error
	number int
	text   string
}

type entraErrorBody struct {
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
	ErrorCodes       []int  `json:"error_codes"`
	Timestamp        string `json:"timestamp"`
	TraceID          string `json:"trace_id"`
	CorrelationID    string `json:"correlation_id"`
	ErrorURI         string `json:"error_uri"`
}

// entra answers at an authority host.
func (c *call) entra() *reply {
	tenant, v2, ok := tokenPath(c.r.URL.Path)
	if !ok {
		rep := c.discovery()
		if rep == nil {
			rep = textReply(http.StatusNotFound, "")
		}
		c.entraHeader(rep)
		return rep
	}
	rep, err := c.token(tenant, v2)
	if err != nil {
		rep = c.entraFailure(err)
	}
	c.entraHeader(rep)
	return rep
}

// tokenPath takes /{tenant}/oauth2/token and /{tenant}/oauth2/v2.0/token apart.
func tokenPath(path string) (tenant string, v2, ok bool) {
	tenant, rest, found := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !found {
		return "", false, false
	}
	switch strings.ToLower(rest) {
	case "oauth2/token":
		return tenant, false, true
	case "oauth2/v2.0/token":
		return tenant, true, true
	}
	return "", false, false
}

// token is one token request.
func (c *call) token(tenant string, v2 bool) (*reply, *entraError) {
	form, err := c.tokenForm()
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(tenant, c.s.opts.Tenant) {
		return nil, unknownTenant(tenant)
	}
	switch form.Get("grant_type") {
	case "":
		return nil, missingParameter("grant_type")
	case grantClientCredentials:
	default:
		return nil, &entraError{400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '" + form.Get("grant_type") + "'."}
	}
	g, err := c.proveIdentity(form)
	if err != nil {
		return nil, err
	}
	if g.resource, err = c.askedResource(form, v2); err != nil {
		return nil, err
	}
	g.asked = form.Get("claims")
	token, cl := c.s.mint(g)
	return c.s.tokenReply(token, cl, v2), nil
}

// tokenForm reads the form post. Real Entra answers other methods with AADSTS900561.
func (c *call) tokenForm() (url.Values, *entraError) {
	if c.r.Method != http.MethodPost {
		return nil, &entraError{400, "invalid_request", 900561, "The endpoint only accepts POST requests. Received a " + c.r.Method + " request."}
	}
	mediaType, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	form, err := url.ParseQuery(string(c.body))
	if mediaType != "application/x-www-form-urlencoded" || err != nil {
		return nil, missingParameter("grant_type") // what is not a form has no parameters
	}
	return form, nil
}

func missingParameter(name string) *entraError {
	return &entraError{400, "invalid_request", 900144, "The request body must contain the following parameter: '" + name + "'."}
}

// proveIdentity checks client id and secret or assertion.
func (c *call) proveIdentity(form url.Values) (grant, *entraError) {
	clientID, clientSecret := form.Get("client_id"), form.Get("client_secret")
	if user, password, ok := c.r.BasicAuth(); ok { // client_secret_basic, RFC 6749 section 2.3.1
		clientID, _ = url.QueryUnescape(user)
		clientSecret, _ = url.QueryUnescape(password)
	}
	if clientID == "" {
		return grant{}, missingParameter("client_id")
	}
	a, ok := c.s.app(clientID)
	if !ok {
		return grant{}, &entraError{400, "unauthorized_client", 700016, "Application with identifier '" + clientID + "' was not found in the directory '" + c.s.opts.Tenant + "'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."}
	}
	if a.disabled {
		return grant{}, &entraError{400, "unauthorized_client", 7000112, "Application '" + a.id + "'(" + a.id + ") is disabled."}
	}
	switch {
	case form.Get("client_assertion") != "":
		if err := c.checkAssertion(&a, form); err != nil {
			return grant{}, err
		}
		return grant{appID: a.id, appidacr: "2"}, nil
	case clientSecret != "":
		return grant{appID: a.id, appidacr: "1"}, a.checkSecret(clientSecret)
	}
	return grant{}, &entraError{401, "invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."}
}

// askedResource turns scope (v2) or resource (v1) into the audience. "https://x/.default" is the resource "https://x",
// "https://x//.default" is "https://x/"; a v1 resource is taken as it is, so that a slash too many gets the caller a
// token that the vault refuses (reported to go-autorest).
func (c *call) askedResource(form url.Values, v2 bool) (string, *entraError) {
	resource := form.Get("resource")
	if v2 {
		if form.Has("resource") {
			return "", &entraError{400, "invalid_request", 901002, "The 'resource' request parameter is not supported."}
		}
		var err *entraError
		if resource, err = resourceOfScope(form.Get("scope")); err != nil {
			return "", err
		}
	} else if resource == "" {
		return "", missingParameter("resource")
	}
	if !c.s.knowsResource(resource) {
		return "", unknownResource(resource, c.s.opts.Tenant)
	}
	return resource, nil
}

func unknownResource(resource, tenant string) *entraError {
	return &entraError{400, "invalid_resource", 500011, "The resource principal named " + resource + " was not found in the tenant named " + tenant + ". This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant."}
}

func resourceOfScope(scope string) (string, *entraError) {
	if scope == "" {
		return "", missingParameter("scope")
	}
	resource := ""
	for _, one := range strings.Fields(scope) {
		switch one {
		case "openid", "profile", "offline_access": // MSAL adds these
			continue
		}
		r, ok := strings.CutSuffix(one, "/.default")
		if !ok {
			return "", &entraError{400, "invalid_scope", 1002012, "The provided value for scope " + one + " is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."}
		}
		resource = r
	}
	if resource == "" {
		return "", missingParameter("scope")
	}
	return resource, nil
}

// knowsResource: the vault's, and a few neighbours, so that a client can ask for the wrong one.
func (s *Server) knowsResource(resource string) bool {
	switch strings.TrimSuffix(resource, "/") {
	case s.opts.Resource, vaultAppID, "https://vault.azure.net", "https://managedhsm.azure.net", "https://management.azure.com",
		"https://graph.microsoft.com":
		return true
	}
	return false
}

func (s *Server) tokenReply(token string, cl claims, v2 bool) *reply {
	seconds, refresh := int64(s.opts.TokenLifetime/time.Second), int64(s.opts.RefreshIn/time.Second)
	if v2 {
		return jsonReply(http.StatusOK, tokenReplyV2{"Bearer", seconds, seconds, refresh, token})
	}
	text := func(n int64) string { return strconv.FormatInt(n, 10) }
	v1 := tokenReplyV1{
		TokenType: "Bearer", ExpiresIn: text(seconds), ExtExpiresIn: text(seconds),
		ExpiresOn: text(cl.Exp), NotBefore: text(cl.Nbf), Resource: cl.Aud, AccessToken: token,
	}
	if refresh > 0 {
		v1.RefreshIn = text(refresh)
	}
	return jsonReply(http.StatusOK, v1)
}

// entraFailure writes the error as Entra does. The separator of the description changed in 2024.
func (c *call) entraFailure(e *entraError) *reply {
	sep := " "
	if c.s.opts.OldErrorText {
		sep = "\r\n"
	}
	at := time.Now().UTC().Format("2006-01-02 15:04:05Z")
	correlation := c.r.Header.Get("client-request-id")
	if uuid.Validate(correlation) != nil {
		correlation = c.s.nextID()
	}
	return jsonReply(e.status, entraErrorBody{
		Error: e.code,
		ErrorDescription: fmt.Sprintf("AADSTS%d: %s", e.number, e.text) + sep + "Trace ID: " + c.requestID + sep +
			"Correlation ID: " + correlation + sep + "Timestamp: " + at,
		ErrorCodes:    []int{e.number},
		Timestamp:     at,
		TraceID:       c.requestID,
		CorrelationID: correlation,
		ErrorURI:      fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", e.number),
	})
}

// entraHeader sets what Entra sends with every answer; names and values are those of the recordings.
func (c *call) entraHeader(rep *reply) {
	h := rep.header
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h["P3P"] = []string{`CP="DSP CUR OTPi IND OTRi ONL FIN"`}
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	h.Set("X-Content-Type-Options", "nosniff")
	h["x-ms-request-id"] = []string{c.requestID}
	h["x-ms-ests-server"] = []string{"2.1.21495.4 - FAKE ProdSlices"}
	h["x-ms-clitelem"] = []string{"1,0,0,,"}
	h["Set-Cookie"] = []string{
		"fpc=fake; expires=Fri, 31-Dec-2038 00:00:00 GMT; path=/; secure; HttpOnly; SameSite=None",
		"x-ms-gateway-slice=estsfd; path=/; secure; samesite=none; httponly",
		"stsservicecookie=estsfd; path=/; secure; samesite=none; httponly",
	}
	stamp(h)
}
