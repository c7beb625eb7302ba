package recipes_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
)

// Keys on elliptic curves sign; they do not wrap, in no vault and in no HSM. GetKey
// tells the type beforehand. Where a program wraps all the same, the vault refuses.
func Example_ellipticKeysDoNotWrap() {
	cred, err := aad.NewClientSecret("00000000-0000-0000-0000-000000000001", "from a safe place")
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient("contoso", cred, &akv.Options{Transport: newVault()}) // in place of the network
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx := context.Background()
	key, err := client.GetKey(ctx, "signing", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key.Type, key.Curve, key.Ops)

	_, err = client.WrapKey(ctx, "signing", "", akv.RSAOAEP256, []byte("a data encryption key"))
	var e *ekm.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code, e.Status, e.InnerCode)
		fmt.Println(strings.Contains(e.Advice(), "use an RSA key"))
	}
	// Output:
	// EC P-256 [sign verify]
	// 3113 ErrorHttpOperationForbidden 403 KeyOperationForbidden
	// true
}
