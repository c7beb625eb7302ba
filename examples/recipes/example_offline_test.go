package recipes_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/retry"
)

// A program takes its akv.Options from outside, and its tests give it a round tripper
// of their own. The hosts keep their names, so that nothing else need be set.
func Example_offline() {
	program := func(opts *akv.Options) error {
		cred, err := aad.NewClientSecret("00000000-0000-0000-0000-000000000001", "from a safe place")
		if err != nil {
			return err
		}
		client, err := akv.NewClient("contoso", cred, opts)
		if err != nil {
			return err
		}
		defer client.Close()
		_, err = client.WrapKey(context.Background(), "tde", "", akv.RSAOAEP256, []byte("a data encryption key"))
		return err
	}
	fmt.Println("well:", program(&akv.Options{Transport: newVault()}))

	// A failure is one answer of the test's own.
	err := program(&akv.Options{Transport: throttling{newVault()}, Retry: retry.Policy{Attempts: 1}})
	fmt.Println("throttled:", errors.Is(err, ekm.ErrorHttpResponseCodeThrottled))
	// Output:
	// well: <nil>
	// throttled: true
}

// throttling is a vault that refuses to wrap just now.
type throttling struct{ vault *vault }

func (t throttling) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/wrapkey") && r.Header.Get("Authorization") != "" {
		w := httptest.NewRecorder()
		answer(w, http.StatusTooManyRequests, `{"error":{"code":"Throttled","message":"Try again."}}`)
		return w.Result(), nil
	}
	return t.vault.RoundTrip(r)
}

// Over a real connection it is a test server's transport, whose certificate that
// trusts. The server plays the authority too, which no client believes without being
// told: Trust names its host, and the resource, as the host is no vault's.
func Example_testServer() {
	contoso := newVault()
	server := httptest.NewTLSServer(contoso)
	defer server.Close()
	contoso.login = server.URL

	cred, err := aad.NewClientSecret("00000000-0000-0000-0000-000000000001", "from a safe place")
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient(server.URL, cred, &akv.Options{
		Transport: server.Client().Transport,
		Trust: challenge.Policy{
			Authorities: []string{server.Listener.Addr().String()},
			Resources:   []string{"https://vault.azure.net"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	key, err := client.GetKey(context.Background(), "tde", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key.Name, key.Version, key.Bits)
	// Output: tde 1 2048
}
