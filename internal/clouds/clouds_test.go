package clouds_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv-ekm/ekm/internal/clouds"
)

func TestTable(t *testing.T) {
	kinds := make(map[string]clouds.Kind)
	for _, r := range clouds.Table() {
		assert.NotContains(t, kinds, r.Name, "a name has one row")
		kinds[r.Name] = r.Kind
		assert.NotEmpty(t, r.Cloud, r.Name)
		assert.NotEmpty(t, r.Source, r.Name)
		assert.Equal(t, strings.ToLower(strings.Trim(r.Name, ". /")), r.Name)
		assert.GreaterOrEqual(t, strings.Count(r.Name, "."), 2, "%s: no public suffix", r.Name)
	}
	for _, r := range clouds.Table() {
		if r.Kind == clouds.Private {
			assert.Equal(t, clouds.Vault, kinds[r.Of], r.Name)
			assert.True(t, slices.ContainsFunc(clouds.Table(), func(of clouds.Row) bool { return of.Name == r.Of && of.Cloud == r.Cloud }), r.Name)
		} else {
			assert.Empty(t, r.Of, r.Name)
		}
	}
}

func TestIsLogin(t *testing.T) {
	for _, host := range []string{
		"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net", "login-us.microsoftonline.com",
		"login.partner.microsoftonline.cn", "login.chinacloudapi.cn",
		"login.microsoftonline.us", "login.usgovcloudapi.net",
		"login.microsoftonline.de",
		"login.sovcloud-identity.fr", "login.sovcloud-identity.de", "login.sovcloud-identity.sg",
	} {
		assert.True(t, clouds.IsLogin(host), host)
		assert.False(t, clouds.IsLogin("x."+host), host)
		assert.False(t, clouds.IsLogin("x"+host), host)
		assert.False(t, clouds.IsLogin(host+".example"), host)
	}
	for _, host := range []string{"", "vault.azure.net", "vaultcore.azure.net", "contoso.vault.azure.net", "sovcloud-identity.fr"} {
		assert.False(t, clouds.IsLogin(host), "%s: vaults are not trusted with a secret", host)
	}
}

func TestIsDomain(t *testing.T) {
	for _, host := range []string{
		"vault.azure.net", "Vault.Azure.Net.", "vault.azure.net:443", "managedhsm.azure.net", "vault.sovcloud-api.fr",
		"vaultcore.azure.net", "privatelink.vaultcore.azure.net", "privatelink.vaultcore.usgovcloudapi.net",
	} {
		assert.True(t, clouds.IsDomain(host), host)
		assert.False(t, clouds.IsDomain("x"+host), host)
		assert.False(t, clouds.IsDomain("contoso."+host), host)
	}
	for _, host := range []string{"", "azure.net", "login.windows.net", "privatelink.vault.azure.net", "vault.contoso.example"} {
		assert.False(t, clouds.IsDomain(host), host)
	}
}

func TestPublicName(t *testing.T) {
	for host, public := range map[string]string{
		"contoso.vaultcore.azure.net":                          "contoso.vault.azure.net",
		"contoso.privatelink.vaultcore.azure.net":              "contoso.vault.azure.net",
		"Contoso.PrivateLink.VaultCore.Azure.Net.":             "contoso.vault.azure.net",
		"contoso.vaultcore.azure.net:443":                      "contoso.vault.azure.net",
		"contoso.vaultcore.azure.net:8443":                     "contoso.vault.azure.net",
		"contoso.privatelink.vault.azure.net":                  "contoso.vault.azure.net", // a zone that somebody guessed
		"contoso.vaultcore.azure.cn":                           "contoso.vault.azure.cn",
		"contoso.privatelink.vaultcore.azure.cn":               "contoso.vault.azure.cn",
		"contoso.vaultcore.usgovcloudapi.net":                  "contoso.vault.usgovcloudapi.net",
		"contoso.privatelink.vaultcore.usgovcloudapi.net":      "contoso.vault.usgovcloudapi.net",
		"contoso.privatelink.managedhsm.azure.net":             "contoso.managedhsm.azure.net",
		"contoso.privatelink.managedhsm.usgovcloudapi.net":     "contoso.managedhsm.usgovcloudapi.net",
		"contoso.privatelink.vault.sovcloud-api.fr":            "contoso.vault.sovcloud-api.fr",
		"vaultcore.azure.net":                                  "vault.azure.net",
		"privatelink.vaultcore.azure.net":                      "vault.azure.net",
		"contoso.vault.azure.net":                              "",
		"privatelink.example":                                  "",
		"contoso.managedhsm.azure.net":                         "",
		"contoso.xvaultcore.azure.net":                         "",
		"vaultcore.azure.net.example":                          "",
		"contoso.privatelink.vaultcore.azure.net.evil.example": "",
		"privatelink.login.microsoftonline.com":                "",
		"privatelink.vault.azure.net":                          "", // a vault of that name
		"xprivatelink.vault.azure.net":                         "", // a vault of that name
		"10.0.0.5":                                             "",
		"":                                                     "",
	} {
		got, ok := clouds.PublicName(host)
		if public == "" {
			assert.False(t, ok, host)
			continue
		}
		assert.True(t, ok, host)
		assert.Equal(t, public, got, host)
	}
}
