package fakevault_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

// A vault without a network, and what it says to a caller without a token.
func Example() {
	vault := fakevault.New(fakevault.Options{})
	defer vault.Close()
	vault.CreateECKey("main", "P-256")

	client := &http.Client{Transport: vault.Transport()}
	res, err := client.Get(vault.VaultURL() + "/keys/main?api-version=7.4")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Println(res.Status)
	fmt.Println(res.Header.Get("WWW-Authenticate"))
	fmt.Println(string(body))
	// Output:
	// 401 Unauthorized
	// Bearer authorization="https://login.microsoftonline.com/5eedf00d-7e4a-4d00-8a11-fa4e00000001", resource="https://vault.azure.net"
	// {"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer or PoP token."}}
}

// The vault fails as it is told to, and only so often.
func ExampleServer_Script() {
	vault := fakevault.New(fakevault.Options{})
	defer vault.Close()
	vault.CreateECKey("main", "P-256")
	vault.Script(
		fakevault.Fault{Operation: fakevault.OpGet, Status: 503, Times: 2},
		fakevault.Fault{Operation: fakevault.OpGet, Kind: fakevault.Cut, Bytes: 12},
	)

	client := &http.Client{Transport: vault.Transport()}
	for range 4 {
		req, _ := http.NewRequest(http.MethodGet, vault.VaultURL()+"/keys/main?api-version=7.4", nil)
		req.Header.Set("Authorization", "Bearer "+vault.IssueToken(""))
		res, err := client.Do(req)
		if err != nil {
			fmt.Println(err)
			continue
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		fmt.Println(res.StatusCode, strings.HasPrefix(string(body), `{"key":{"kid`), err)
	}
	for _, e := range vault.Journal() {
		fmt.Println(e.Operation, e.Status, e.Faults)
	}
	// Output:
	// 503 false <nil>
	// 503 false <nil>
	// 200 true unexpected EOF
	// 200 true <nil>
	// get 503 [answer 503]
	// get 503 [answer 503]
	// get 200 [cut 0]
	// get 200 []
}
