package fakevault

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// vaultAppID is the application id of Key Vault itself, accepted as an audience beside the resource.
const vaultAppID = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"

// claims are those of an access token. It has the v1 form whichever endpoint issued it
// (Microsoft Learn, "Azure Key Vault REST API error codes").
type claims struct {
	Aud      string `json:"aud"`
	Iss      string `json:"iss"`
	Iat      int64  `json:"iat"`
	Nbf      int64  `json:"nbf"`
	Exp      int64  `json:"exp"`
	Appid    string `json:"appid"`
	Appidacr string `json:"appidacr"`
	Idp      string `json:"idp"`
	Idtyp    string `json:"idtyp"`
	Oid      string `json:"oid"`
	Sub      string `json:"sub"`
	Tid      string `json:"tid"`
	Uti      string `json:"uti"`
	Ver      string `json:"ver"`
}

// issued is what the server knows of a token that it gave out.
type issued struct {
	number int
	claims claims
	asked  string // the claims parameter of the token request
}

// grant is who gets a token for what.
type grant struct {
	appID    string
	objectID string
	appidacr string // "1" proved by a secret, "2" by a certificate
	resource string
	asked    string
}

// mint issues a token.
func (s *Server) mint(g grant) (string, claims) {
	now := time.Now()
	if g.objectID == "" {
		g.objectID = seededID("oid", g.appID)
	}
	cl := claims{
		Aud:      g.resource,
		Iss:      s.issuer(),
		Iat:      now.Unix(),
		Nbf:      now.Unix(),
		Exp:      now.Add(s.opts.TokenLifetime).Unix(),
		Appid:    g.appID,
		Appidacr: g.appidacr,
		Idp:      s.issuer(),
		Idtyp:    "app",
		Oid:      g.objectID,
		Sub:      g.objectID,
		Tid:      s.opts.Tenant,
		Uti:      s.nextID(),
		Ver:      "1.0",
	}
	kid := keyID(&s.signingKey.PublicKey)
	token := signJWS(s.signingKey, jwsHeader{Typ: "JWT", Alg: "RS256", X5T: kid, Kid: kid}, cl)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued++
	s.tokens[token] = &issued{number: s.issued, claims: cl, asked: g.asked}
	return token, cl
}

func (s *Server) issuer() string { return "https://sts.windows.net/" + s.opts.Tenant + "/" }

// claimsDemand is what a claims challenge asked for: tokens without it are refused (continuous access evaluation).
type claimsDemand struct {
	nbf  string
	json string
}

// RevokeTokens makes the vault answer 401 to all tokens issued so far.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked, s.demand = s.issued, nil
}

// RevokeTokensWithClaims does the same by a claims challenge (continuous access evaluation), which it returns as JSON.
// From now on the vault takes only tokens that were requested with these claims.
func (s *Server) RevokeTokensWithClaims() string {
	nbf := strconv.FormatInt(time.Now().Unix(), 10)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = s.issued
	s.demand = &claimsDemand{
		nbf:  nbf,
		json: `{"access_token":{"nbf":{"essential":true,"value":"` + nbf + `"},"xms_caeerror":{"value":"10012"}}}`,
	}
	return s.demand.json
}

// meets tells whether the claims parameter of a token request has what the challenge asked for. Others may stand
// beside it, such as the client's own capabilities.
func (d *claimsDemand) meets(asked string) bool {
	var v struct {
		AccessToken struct {
			Nbf struct {
				Value string `json:"value"`
			} `json:"nbf"`
			CAE struct {
				Value string `json:"value"`
			} `json:"xms_caeerror"`
		} `json:"access_token"`
	}
	if json.Unmarshal([]byte(asked), &v) != nil {
		return false
	}
	return v.AccessToken.Nbf.Value == d.nbf && v.AccessToken.CAE.Value == "10012"
}

// authenticate checks the bearer token of a vault request. It returns nil, or the 401.
func (c *call) authenticate() *reply {
	scheme, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return c.unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
	}
	cl, text := c.s.checkToken(token)
	if text != "" {
		return c.unauthorized(text)
	}
	c.s.mu.Lock()
	known, revoked, demand := c.s.tokens[token], c.s.revoked, c.s.demand
	c.s.mu.Unlock()
	switch {
	case demand != nil && (known == nil || !demand.meets(known.asked)):
		return c.claimsChallenge(demand)
	case demand == nil && known != nil && known.number <= revoked:
		return c.unauthorized(textExpired)
	}
	c.caller = cl
	return nil
}

const textExpired = "[TokenExpired] Error validating token: 'S2S12086'."

// checkToken returns the claims, or the text of the 401. A token that this server issued and still has needs no new
// look at its signature.
func (s *Server) checkToken(token string) (*claims, string) {
	s.mu.Lock()
	known := s.tokens[token]
	s.mu.Unlock()
	var cl claims
	if known != nil {
		cl = known.claims
	} else {
		t, err := parseJWS(token)
		if err != nil || json.Unmarshal(t.payload, &cl) != nil {
			// No text was found for a token that is no JWT; this one is ours.
			return nil, "AKV10000: Request is missing a Bearer or PoP token."
		}
		if t.header.Kid != keyID(&s.signingKey.PublicKey) || t.verify(&s.signingKey.PublicKey, "RS256") != nil {
			return nil, "AKV10046: Unable to resolve the key used for signature validation. EncodedJwtHeader: '" + t.encodedHead + "'."
		}
	}
	now, skew := time.Now(), s.opts.ClockSkew
	switch {
	case cl.Aud != s.opts.Resource && (cl.Aud != vaultAppID || s.hsm):
		return nil, fmt.Sprintf("AKV10022: Invalid audience. Expected %s, found: %s.", s.opts.Resource, cl.Aud)
	case cl.Iss != s.issuer():
		return nil, fmt.Sprintf("AKV10032: Invalid issuer. Expected one of %s, found %s.", s.issuer(), cl.Iss)
	case now.After(time.Unix(cl.Exp, 0).Add(skew)):
		return nil, textExpired
	case now.Before(time.Unix(cl.Nbf, 0).Add(-skew)):
		return nil, "Token not yet valid" // seen at Managed HSM only (reported to azure-sdk-for-java)
	}
	return &cl, ""
}

// unauthorized is the 401 with the challenge. Managed HSM has no body when the token is missing.
func (c *call) unauthorized(message string) *reply {
	rep := c.errorReply(&fail{http.StatusUnauthorized, "Unauthorized", message, ""})
	if c.s.hsm {
		if strings.HasPrefix(message, "AKV10000") {
			rep.body = nil
		}
	}
	values := slices.Clone(c.s.opts.Challenge)
	if len(values) == 0 {
		values = []string{`Bearer authorization="{authority}", resource="{resource}"`}
	}
	for i := range values {
		values[i] = c.s.fillIn(values[i])
	}
	name := "WWW-Authenticate"
	if c.s.hsm {
		name = "www-authenticate" // its headers arrive in lower case
	}
	rep.header[name] = values
	return rep
}

// claimsChallenge is the 401 of continuous access evaluation. It has neither resource nor tenant
// (reported to azure-sdk-for-js).
func (c *call) claimsChallenge(d *claimsDemand) *reply {
	rep := c.unauthorized("Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp")
	setHeader(rep.header, "WWW-Authenticate", []string{fmt.Sprintf(
		`Bearer realm="", authorization_uri="https://%s/common/oauth2/authorize", error="insufficient_claims", claims="%s"`,
		c.s.opts.AuthorityHost, base64.StdEncoding.EncodeToString([]byte(d.json)))})
	return rep
}

// IssueToken makes a token without a token request, for the first application and for the given resource
// (the vault's if empty). Tests use it to put a good, or a wrong, token into a request of their own.
func (s *Server) IssueToken(resource string) string {
	if resource == "" {
		resource = s.opts.Resource
	}
	token, _ := s.mint(grant{appID: s.opts.ClientID, appidacr: "1", resource: resource})
	return token
}

// SignToken signs any claims with the server's own key: tokens of another tenant, not yet valid, without an audience.
func (s *Server) SignToken(claims map[string]any) string {
	kid := keyID(&s.signingKey.PublicKey)
	return signJWS(s.signingKey, jwsHeader{Typ: "JWT", Alg: "RS256", X5T: kid, Kid: kid}, claims)
}
