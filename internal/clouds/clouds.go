// Package clouds has the table of Microsoft's login hosts, which are trusted with a
// secret, and of the domains of vaults in all clouds.
package clouds

import (
	"net/url"
	"strings"
)

// Public is the domain of the public cloud's vaults, which completes a bare name.
const Public = "vault.azure.net"

// A Kind says what a name in the table is.
type Kind int

const (
	Login   Kind = iota // a login host of Microsoft Entra ID
	Vault               // the domain of vaults or of managed HSMs
	Private             // what a private endpoint's DNS has in place of the domain Of
)

// A Row is one name.
type Row struct {
	Cloud  string
	Kind   Kind
	Name   string
	Of     string // the row of kind Vault that this one stands for; of kind Private alone
	Source string
}

// The sources.
const (
	discovery = "the aliases in a reply of /common/discovery/instance"
	identity  = "AzureAuthorityHosts in the reference of Azure.Identity, since January 2026"
	vaults    = "the page About keys, secrets and certificates"
	sqlClient = "the trusted endpoints of Microsoft.Data.SqlClient's Azure Key Vault provider"
	endpoints = "the page Azure Private Endpoint private DNS zone values"
)

// Table is the one list of names. The air-gapped clouds of the United States
// (microsoft.scloud, eaglex.ic.gov) are not in it: who is there allows their login
// host by name.
func Table() []Row {
	return []Row{
		{"public", Login, "login.microsoftonline.com", "", discovery},
		{"public", Login, "login.windows.net", "", discovery},
		{"public", Login, "login.microsoft.com", "", discovery},
		{"public", Login, "sts.windows.net", "", discovery},
		{"public", Login, "login-us.microsoftonline.com", "", discovery},
		{"public", Vault, Public, "", vaults},
		{"public", Vault, "managedhsm.azure.net", "", vaults},
		{"public", Private, "vaultcore.azure.net", Public, endpoints},

		{"China (21Vianet)", Login, "login.partner.microsoftonline.cn", "", discovery},
		{"China (21Vianet)", Login, "login.chinacloudapi.cn", "", discovery},
		{"China (21Vianet)", Vault, "vault.azure.cn", "", vaults},
		{"China (21Vianet)", Vault, "managedhsm.azure.cn", "", sqlClient},
		{"China (21Vianet)", Private, "vaultcore.azure.cn", "vault.azure.cn", endpoints},

		{"US Government", Login, "login.microsoftonline.us", "", discovery},
		{"US Government", Login, "login.usgovcloudapi.net", "", discovery},
		{"US Government", Vault, "vault.usgovcloudapi.net", "", vaults},
		{"US Government", Vault, "managedhsm.usgovcloudapi.net", "", sqlClient},
		{"US Government", Private, "vaultcore.usgovcloudapi.net", "vault.usgovcloudapi.net", endpoints},

		// Closed in 2021. Microsoft still owns the names.
		{"Germany (closed)", Login, "login.microsoftonline.de", "", discovery},
		{"Germany (closed)", Vault, "vault.microsoftazure.de", "", vaults},
		{"Germany (closed)", Vault, "managedhsm.microsoftazure.de", "", sqlClient},

		{"France (Bleu)", Login, "login.sovcloud-identity.fr", "", identity},
		{"France (Bleu)", Vault, "vault.sovcloud-api.fr", "", sqlClient},
		{"France (Bleu)", Vault, "managedhsm.sovcloud-api.fr", "", sqlClient},
		{"Germany (Delos)", Login, "login.sovcloud-identity.de", "", identity},
		{"Germany (Delos)", Vault, "vault.sovcloud-api.de", "", sqlClient},
		{"Germany (Delos)", Vault, "managedhsm.sovcloud-api.de", "", sqlClient},
		// No source names the domain of its vaults. A vault there is given by its host,
		// whose own domain is believed; only the hint for its private endpoint is missing.
		{"Government of Singapore", Login, "login.sovcloud-identity.sg", "", identity},
	}
}

// IsLogin reports whether host, in lower case and without the default port, is a
// login host of Microsoft Entra ID.
func IsLogin(host string) bool {
	for _, r := range Table() {
		if r.Kind == Login && r.Name == host {
			return true
		}
	}
	return false
}

// IsDomain reports whether host is a domain of vaults itself, public or private, and so
// not the host of a vault.
func IsDomain(host string) bool {
	u := url.URL{Host: strings.ToLower(host)}
	name := strings.TrimSuffix(u.Hostname(), ".")
	for _, r := range Table() {
		if r.Kind != Login && name == r.Name || r.Kind == Private && name == "privatelink."+r.Name {
			return true
		}
	}
	return false
}

// PublicName returns the public name of a vault from the DNS name behind its private
// endpoint: "contoso.vault.azure.net" for "contoso.vaultcore.azure.net" and for
// "contoso.privatelink.vaultcore.azure.net". It converts a domain alone in the same way,
// and reports false for any other host. Certificates, challenges and key ids have the
// public name, which resolves to the private endpoint wherever its DNS zone is linked.
func PublicName(host string) (string, bool) {
	u := url.URL{Host: strings.ToLower(host)}
	name := strings.TrimSuffix(u.Hostname(), ".")
	for _, r := range Table() {
		before, ok := strings.CutSuffix("."+name, "."+r.Name)
		if !ok || r.Kind == Login {
			continue
		}
		vault, linked := strings.CutSuffix(before, ".privatelink")
		switch {
		case r.Kind == Private:
			return strings.TrimPrefix(vault+"."+r.Of, "."), true
		case linked && vault != "": // a vault may be called privatelink
			return strings.TrimPrefix(vault+"."+r.Name, "."), true
		}
		return "", false
	}
	return "", false
}
