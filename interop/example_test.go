package interop

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// Identity makes any credential of azidentity a TokenSource.
type Identity struct{ Credential azcore.TokenCredential }

func (i Identity) Token(ctx context.Context, c challenge.Challenge) (aad.Token, error) {
	t, err := i.Credential.GetToken(ctx, policy.TokenRequestOptions{
		Scopes: []string{c.Scope}, TenantID: c.Tenant, Claims: c.Claims, EnableCAE: true,
	})
	if err != nil {
		return aad.Token{}, err
	}
	token := aad.NewToken(t.Token, t.ExpiresOn)
	token.RefreshOn = t.RefreshOn
	return token, nil
}

// A credential of azidentity, here one with a client secret, as the identity of
// a client of ours. The fake stands for the vault and for Entra ID.
func Example() {
	s := fakevault.New(fakevault.Options{})
	defer s.Close()
	s.CreateKey("tde", 0)

	identity, err := azidentity.NewClientSecretCredential(s.Tenant(), s.ClientID(), s.ClientSecret(),
		&azidentity.ClientSecretCredentialOptions{
			ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: s.Transport()}},
		})
	if err != nil {
		log.Fatal(err)
	}
	cred, err := aad.NewTokenSource(Identity{identity})
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient(s.VaultURL(), cred, &akv.Options{Transport: s.Transport()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx := context.Background()
	wrapped, err := client.WrapKey(ctx, "tde", "", akv.RSAOAEP256, []byte("a key of 32 bytes, more or less."))
	if err != nil {
		log.Fatal(err)
	}
	plain, err := client.UnwrapKey(ctx, "tde", "", akv.RSAOAEP256, wrapped.Value)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(wrapped.Value), string(plain.Value))
	// Output: 256 a key of 32 bytes, more or less.
}
