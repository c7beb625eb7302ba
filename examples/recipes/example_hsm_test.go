package recipes_test

import (
	"context"
	"fmt"
	"log"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
)

// A Managed HSM is a vault with another host, given whole or by VaultSuffix. All
// operations are the same; the rights are its own, by local roles such as "Managed HSM
// Crypto User", and not those of Azure RBAC.
func Example_managedHSM() {
	cred, err := aad.NewClientSecret("00000000-0000-0000-0000-000000000001", "from a safe place")
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient("contoso.managedhsm.azure.net", cred, &akv.Options{
		Transport: newVault(), // in place of the network
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	wrapped, err := client.WrapKey(context.Background(), "tde", "", akv.RSAOAEP256, []byte("a data encryption key"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(wrapped.KeyID)
	// Output: https://contoso.managedhsm.azure.net/keys/tde/1
}
