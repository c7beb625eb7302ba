package recipes_test

import (
	"context"
	"fmt"
	"log"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/jwk"
)

// A wrapped key is stored with the KeyID that wrapped it, since only that version
// unwraps it. The id is the URL of the version; jwk.SplitID takes it apart.
func Example_keyID() {
	contoso := newVault() // in place of the network
	cred, err := aad.NewClientSecret("00000000-0000-0000-0000-000000000001", "from a safe place")
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient("contoso", cred, &akv.Options{Transport: contoso})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx := context.Background()
	stored, err := client.WrapKey(ctx, "tde", "", akv.RSAOAEP256, []byte("a data encryption key"))
	if err != nil {
		log.Fatal(err)
	}
	contoso.rotate() // the newest version is another one from now on

	host, name, version, ok := jwk.SplitID(stored.KeyID)
	if !ok {
		log.Fatalf("%q is no key id", stored.KeyID)
	}
	plain, err := client.UnwrapKey(ctx, name, version, akv.RSAOAEP256, stored.Value)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, by version %s of %s in %s\n", plain.Value, version, name, host)

	_, err = client.UnwrapKey(ctx, name, "", akv.RSAOAEP256, stored.Value)
	fmt.Println("by the newest version:", err != nil)
	// Output:
	// a data encryption key, by version 1 of tde in contoso.vault.azure.net
	// by the newest version: true
}
