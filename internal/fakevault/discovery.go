package fakevault

import (
	"net/http"
	"slices"
	"strings"
)

// What MSAL asks before it asks for a token: the instance metadata of the cloud, and the tenant's OpenID configuration
// (OpenID Connect Discovery 1.0, section 4). Only the members that clients read are played.

type openidConfiguration struct {
	TokenEndpoint                     string   `json:"token_endpoint"`
	TokenEndpointAuthMethodsSupported []string `json:"token_endpoint_auth_methods_supported"`
	JWKSURI                           string   `json:"jwks_uri"`
	Issuer                            string   `json:"issuer"`
	AuthorizationEndpoint             string   `json:"authorization_endpoint"`
}

type instanceMetadata struct {
	TenantDiscoveryEndpoint string          `json:"tenant_discovery_endpoint"`
	APIVersion              string          `json:"api-version"`
	Metadata                []instanceCloud `json:"metadata"`
}

type instanceCloud struct {
	PreferredNetwork string   `json:"preferred_network"`
	PreferredCache   string   `json:"preferred_cache"`
	Aliases          []string `json:"aliases"`
}

// discovery answers the two documents; nil if the request is for neither.
func (c *call) discovery() *reply {
	path := strings.ToLower(c.r.URL.Path)
	if c.r.Method != http.MethodGet {
		return nil
	}
	if path == "/common/discovery/instance" {
		return jsonReply(http.StatusOK, c.s.instanceMetadata())
	}
	tenant, ok := strings.CutSuffix(strings.TrimPrefix(path, "/"), "/v2.0/.well-known/openid-configuration")
	if !ok || strings.Contains(tenant, "/") {
		return nil
	}
	if !strings.EqualFold(tenant, c.s.opts.Tenant) {
		return c.entraFailure(unknownTenant(tenant))
	}
	base := "https://" + c.r.Host + "/" + c.s.opts.Tenant
	return jsonReply(http.StatusOK, openidConfiguration{
		TokenEndpoint:                     base + "/oauth2/v2.0/token",
		TokenEndpointAuthMethodsSupported: []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		JWKSURI:                           base + "/discovery/v2.0/keys",
		Issuer:                            base + "/v2.0",
		AuthorizationEndpoint:             base + "/oauth2/v2.0/authorize",
	})
}

func (s *Server) instanceMetadata() instanceMetadata {
	m := instanceMetadata{
		TenantDiscoveryEndpoint: s.AuthorityURL() + "/v2.0/.well-known/openid-configuration",
		APIVersion:              "1.1",
	}
	for _, hosts := range append(authorityAliases(), s.entraHosts) {
		known := slices.ContainsFunc(m.Metadata, func(c instanceCloud) bool { return slices.Contains(c.Aliases, hosts[0]) })
		if !known {
			m.Metadata = append(m.Metadata, instanceCloud{hosts[0], hosts[min(1, len(hosts)-1)], hosts})
		}
	}
	return m
}

func unknownTenant(tenant string) *entraError {
	return &entraError{http.StatusBadRequest, "invalid_request", 90002, "Tenant '" + tenant + "' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."}
}
