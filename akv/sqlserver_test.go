package akv_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

func sqlSecret(fake *fakevault.Server) string {
	return strings.ReplaceAll(fake.ClientID(), "-", "") + fake.ClientSecret()
}

func TestSQLCredentials(t *testing.T) {
	for _, name := range []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "MSI_ENDPOINT", "IDENTITY_SERVER_THUMBPRINT"} {
		t.Setenv(name, "")
	}
	for _, c := range []struct {
		host, name, identity string
		secret               bool
		want                 ekm.Code
	}{
		{"contoso.vault.azure.net", "any", "contoso", true, ekm.ErrorSuccess},
		{"contoso.vault.usgovcloudapi.net", "any", "contoso.vault.usgovcloudapi.net", true, ekm.ErrorSuccess},
		{"contoso.managedhsm.azure.net", "any", "contoso.managedhsm.azure.net", true, ekm.ErrorSuccess},
		{"contoso.vault.azure.net", "any", "https://contoso.vault.azure.net/", true, ekm.ErrorSuccess}, // as the portal shows it
		{"contoso.vault.azure.net", "contoso.vault.azure.net", "Managed Identity", false, ekm.ErrorSuccess},
		{"contoso.vault.azure.net", "contoso.vault.azure.net", "managed identity", false, ekm.ErrorSuccess},
		{"contoso.vault.azure.net", "contoso.vault.azure.net", "Managed Identity", true, ekm.SCPErrInvalidArgument},
		{"contoso.vault.azure.net", "any", "contoso", false, ekm.SCPErrPasswordTooShort},
		{"contoso.vault.azure.net", "any", "", true, ekm.SCPErrInvalidArgument},
	} {
		fake := keyed(t, fakevault.Options{VaultHost: c.host})
		secret := ""
		if c.secret {
			secret = sqlSecret(fake)
		}
		client, err := akv.NewSQLClient(c.name, c.identity, secret, &akv.Options{Transport: fake.Transport()})
		require.Equal(t, c.want, ekm.CodeOf(err), "%v: %v", c, err)
		if err == nil {
			_, err = client.GetKey(t.Context(), "tde", "")
			assert.NoError(t, err, c)
			client.Close()
		}
	}
}

func ExampleNewSQLClient() {
	fake := fakevault.New(fakevault.Options{}) // in place of the network
	defer fake.Close()
	fake.AddKey("tde", testKey())

	secret := strings.ReplaceAll(fake.ClientID(), "-", "") + fake.ClientSecret()
	client, err := akv.NewSQLClient("tde_credential", "fakevault", secret, &akv.Options{Transport: fake.Transport()})
	if err != nil {
		log.Fatal(err)
	}
	key, err := client.GetKey(context.Background(), "tde", "")
	fmt.Println(key.Name, err)
	// Output: tde <nil>
}
