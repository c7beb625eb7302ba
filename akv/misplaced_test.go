package akv_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
)

// What is wrong with an argument is told without quoting it: it may hold a
// password, or be the secret, pasted where something else belongs.
func TestArgumentsAreNotQuoted(t *testing.T) {
	const (
		digits = "5eedf00dc11e4d008a11fa4e00000002"
		guid   = "5eedf00d-c11e-4d00-8a11-fa4e00000002"
		canary = "hunter22"
	)
	good, err := aad.NewClientSecret("id", "secret")
	require.NoError(t, err)
	client := func(vault string, o akv.Options) func() error {
		o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			t.Errorf("asked %s", r.URL.Host)
			return reply(r, 404, ""), nil
		})
		return func() error {
			c, err := akv.NewClient(vault, good, &o)
			if err == nil {
				_, err = c.GetKey(t.Context(), "tde", "") // would look the name up
			}
			return err
		}
	}
	key := func(name, version string) func() error {
		return func() error {
			c, err := akv.NewClient("contoso", good, &akv.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				t.Errorf("asked %s", r.URL)
				return reply(r, 404, ""), nil
			})})
			require.NoError(t, err)
			_, err = c.GetKey(t.Context(), name, version)
			return err
		}
	}
	sql := func(name, identity, secret string) func() error {
		return func() error {
			_, err := akv.NewSQLClient(name, identity, secret, nil)
			return err
		}
	}
	for name, c := range map[string]struct {
		do   func() error
		says string
	}{
		"user and password in the vault's address": {client("https://user:"+canary+"@contoso.vault.azure.net", akv.Options{}), "vault's address has a user or a password"},
		"the same without scheme":                  {client("user:"+canary+"@contoso.vault.azure.net", akv.Options{}), "vault's address has a user or a password"},
		"a password that breaks the URL":           {client("https://user:"+canary+"%zz@contoso.vault.azure.net", akv.Options{}), "vault's address"},
		"a password with a slash":                  {client("https://user:"+canary+"/x@contoso.vault.azure.net", akv.Options{}), "vault's address"},
		"another scheme":                           {client(canary+"://contoso.vault.azure.net", akv.Options{}), "https://"},
		"a path":                                   {client("https://contoso.vault.azure.net/"+canary, akv.Options{}), "goes on behind its host"},
		"a query":                                  {client("https://contoso.vault.azure.net?"+canary, akv.Options{}), "goes on behind its host"},
		"blanks":                                   {client("contoso "+canary, akv.Options{}), "has a blank in it"},
		"a byte order mark":                        {client("\ufeff"+canary, akv.Options{}), "vault's address has an invisible character"},
		"a zero-width space in a host":             {client(canary+"\u200b.vault.azure.net", akv.Options{}), "vault's address has an invisible character"},
		"a no-break space":                         {client(canary+"\u00a0", akv.Options{}), "vault's address has blanks"},
		"NUL":                                      {client(canary+"\x00", akv.Options{}), "vault's address has a control character"},
		"a bare secret":                            {client(canary+"~with-a-tilde_and_more", akv.Options{}), "neither a vault's name"},
		"a bare secret with a dot":                 {client(canary+"~with.a-dot", akv.Options{}), "no host name has"},
		"a label that is too long":                 {client(canary+strings.Repeat("x", 60)+".example", akv.Options{}), "no host name has"},
		"SECRET":                                   {client(digits+canary, akv.Options{}), "client id"},
		"SECRET that looks like a host":            {client(digits+canary+".x-y", akv.Options{}), "client id"},
		"SECRET in upper case that looks like host:port": {client(strings.ToUpper(digits)+canary+":8443", akv.Options{}), "client id"},
		"SECRET with hyphens that looks like a host":     {client(guid+canary+".x", akv.Options{}), "client id"},
		"SECRET as a URL":                 {client("https://"+digits+canary+".x", akv.Options{}), "client id"},
		"SECRET as IDENTITY":              {sql("credential", digits+canary+".x", digits+"secret"), "client id"},
		"SECRET as the credential's name": {sql(digits+canary+".x", "Managed Identity", ""), "client id"},
		"SECRET with a managed identity":  {sql("contoso", "Managed Identity", digits+canary), "no SECRET"},

		"VaultSuffix":                                  {client("contoso", akv.Options{VaultSuffix: canary + "~x.net"}), "VaultSuffix"},
		"VaultSuffix that is SECRET":                   {client("contoso", akv.Options{VaultSuffix: digits + canary + ".x"}), "VaultSuffix"},
		"VaultSuffix with a blank":                     {client("contoso", akv.Options{VaultSuffix: canary + ".net "}), "Options.VaultSuffix has blanks"},
		"IDHost with a blank":                          {client("contoso", akv.Options{IDHost: canary + " "}), "Options.IDHost has blanks"},
		"Authority with a blank":                       {client("contoso", akv.Options{Authority: "https://login.windows.net/" + canary + " "}), "Options.Authority has blanks"},
		"Authority with a mark":                        {client("contoso", akv.Options{Authority: "https://login.windows.net/" + canary + "\u200b"}), "Options.Authority has an invisible"},
		"Resource with a blank":                        {client("contoso", akv.Options{Authority: "https://login.windows.net/t", Resource: "https://vault.azure.net " + canary}), "Options.Resource has a blank"},
		"Trust with a blank":                           {client("contoso", akv.Options{Trust: challenge.Policy{Authorities: []string{"login.example", canary + " "}}}), "Options.Trust's authorities and resources has blanks"},
		"Trust with a mark":                            {client("contoso", akv.Options{Trust: challenge.Policy{Resources: []string{"https://" + canary + "\u200b"}}}), "Options.Trust's authorities and resources has an invisible"},
		"SECRET as a key's name":                       {key(digits+canary+"~more", ""), "the key's name has other characters than"},
		"SECRET of letters and digits alone":           {key(digits+canary, ""), "the key's name begins with a client id"},
		"the same with hyphens in the client id":       {key(guid+canary, ""), "the key's name begins with a client id"},
		"the same in upper case":                       {key(strings.ToUpper(digits)+canary, ""), "the key's name begins with a client id"},
		"a bare secret as a key's name":                {key("abc8Q~"+canary, ""), "the key's name has other characters than"},
		"a secret and a line break":                    {key("abc8Q~"+canary+"\n", ""), "the key's name has blanks"},
		"a secret and a zero-width space":              {key("\u200babc8Q~"+canary, ""), "the key's name has an invisible character"},
		"a secret's letters in two parts":              {key(canary+"\u00a0.x", ""), "the key's name has a no-break space"},
		"SECRET with a blank before it":                {key(" "+digits+canary+"~more", ""), "the key's name has blanks"},
		"SECRET of letters with a blank":               {key(" "+digits+canary, ""), "the key's name has blanks"},
		"SECRET as a key's version":                    {key("tde", digits+canary+"~more"), "the key's version has other characters than"},
		"SECRET of letters as a version":               {key("tde", digits+canary), "the key's version begins with a client id"},
		"a bare secret as a version":                   {key("tde", "abc8Q~"+canary), "the key's version has other characters than"},
		"SECRET as a version, and a line break":        {key("tde", digits+canary+"~more\n"), "the key's version has blanks"},
		"a bare secret as a version, and a blank":      {key("tde", "abc8Q~"+canary+" "), "the key's version has blanks"},
		"a key's id as its name":                       {key("https://contoso.vault.azure.net/keys/"+canary, ""), "the key's name has other characters than"},
		"a name of 128 letters":                        {key(canary+strings.Repeat("k", 120), ""), "more than 127"},
		"a version of 128 letters":                     {key("tde", canary+strings.Repeat("k", 120)), "more than 127"},
		"IDHost":                                       {client("contoso", akv.Options{IDHost: "https://user:" + canary + "@contoso.vault.azure.net"}), "Options.IDHost has a user or a password"},
		"IDHost that is SECRET":                        {client("contoso", akv.Options{IDHost: digits + canary + ".x"}), "Options.IDHost holds a client id"},
		"APIVersion":                                   {client("contoso", akv.Options{APIVersion: canary + "&x"}), "APIVersion"},
		"APIVersion of small letters and digits alone": {client("contoso", akv.Options{APIVersion: digits + canary}), "APIVersion"},
		"Authority with a password":                    {client("contoso", akv.Options{Authority: "https://user:" + canary + "@login.windows.net/t"}), "Options.Authority"},
		"Authority that is no URL":                     {client("contoso", akv.Options{Authority: "https://login.windows.net/%zz" + canary}), "Options.Authority"},
		"Authority that is a secret":                   {client("contoso", akv.Options{Authority: digits + canary}), "Options.Authority"},
		"Authority with a query":                       {client("contoso", akv.Options{Authority: "https://login.windows.net/t?" + canary}), "Options.Authority"},
		"Resource with a password":                     {client("contoso", akv.Options{Authority: "https://login.windows.net/t", Resource: "https://user:" + canary + "@vault.azure.net"}), "Options.Resource"},
		"Resource that is a secret":                    {client("contoso", akv.Options{Authority: "https://login.windows.net/t", Resource: digits + canary}), "Options.Resource"},
		"Resource without Authority":                   {client("contoso", akv.Options{Resource: canary}), "Options.Resource"},

		"Algorithm": {func() error {
			c, err := akv.NewClient("contoso", good, nil)
			require.NoError(t, err)
			_, err = c.WrapKey(t.Context(), "tde", "", akv.Algorithm(canary), []byte("key"))
			return err
		}, "algorithm"},
		"Source of managed identities": {func() error {
			_, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.Source(canary)})
			return err
		}, "Source"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.do()
			require.Error(t, err)
			assert.Contains(t, []ekm.Code{ekm.SCPErrInvalidArgument, ekm.SCPErrNotSupported}, ekm.CodeOf(err))
			assert.ErrorContains(t, err, c.says)
			for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
				told := strings.ToLower(fmt.Sprintf(verb, err))
				assert.NotContains(t, told, canary)
				assert.NotContains(t, told, digits[:8])
			}
		})
	}
}

// Hosts that look odd and are none of that.
func TestOddHostsAreAccepted(t *testing.T) {
	cred, err := aad.NewClientSecret("id", "secret")
	require.NoError(t, err)
	for _, vault := range []string{
		"10.0.0.5", "10.0.0.5:8443", "https://[2001:db8:1111:2222:3333:4444:5555:6666]:8443", "vault_1.internal", "contoso.vault.azure.net.",
		"deadbeef-dead-beef-dead-bee.vault.azure.net", "LOCALHOST:8443",
	} {
		_, err := akv.NewClient(vault, cred, nil)
		assert.NoError(t, err, vault)
	}
}
