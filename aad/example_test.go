package aad_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// A credential is made once; clients that share it share its tokens.
func ExampleNewClientSecret() {
	cred, err := aad.NewClientSecret("5eedf00d-c11e-4d00-8a11-fa4e00000002", "the secret's value")
	fmt.Println(cred != nil, err)

	_, err = aad.NewClientSecret("5eedf00d-c11e-4d00-8a11-fa4e00000002", "the secret's value\n")
	fmt.Println(err)
	// Output:
	// true <nil>
	// 3800 ErrorSecretAuthParamsGetRequestBody: the client secret has blanks or a line break around it: take them away
}

// vending is a token source of somebody else's, such as a credential of another library.
type vending struct{}

func (vending) Token(_ context.Context, c challenge.Challenge) (aad.Token, error) {
	return aad.NewToken("token-for-"+c.Tenant, time.Now().Add(time.Hour)), nil
}

func ExampleNewTokenSource() {
	_, err := aad.NewTokenSource(vending{})
	fmt.Println(err)
	// Output: <nil>
}

// Tokens serves programs that need a token and no vault. What is asked for is
// what a vault's challenge would say.
func ExampleTokens() {
	fake := fakevault.New(fakevault.Options{}) // in place of the network
	defer fake.Close()
	cred, err := aad.NewClientSecret(fake.ClientID(), fake.ClientSecret())
	if err != nil {
		log.Fatal(err)
	}
	tokens := aad.NewTokens(cred, &aad.Options{Transport: fake.Transport()})
	defer tokens.Close()
	token, err := tokens.Get(context.Background(), challenge.Challenge{
		Authority: fake.AuthorityURL(), Tenant: fake.Tenant(),
		Resource: "https://vault.azure.net", Scope: "https://vault.azure.net/.default",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Reveal() != "", time.Until(token.Expires).Round(time.Hour))
	fmt.Println(fakevault.DefaultTenant == fake.Tenant(), fake.Count(fakevault.OpToken))
	// Output:
	// true 1h0m0s
	// true 1
}
