package akv_test

import (
	"bytes"
	"context"
	"errors"
	"expvar"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/proxy"
	"github.com/akv-ekm/ekm/retry"
)

// exampleVault is a fake vault with a key "tde", and a client of it. With a real
// vault the client is made of its name and a credential alone:
//
//	client, err := akv.NewClient("contoso", cred, nil)
func exampleVault() (*akv.Client, *fakevault.Server) {
	fake := fakevault.New(fakevault.Options{})
	fake.AddKey("tde", testKey())
	cred, err := aad.NewClientSecret(fake.ClientID(), fake.ClientSecret())
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: fake.Transport()})
	if err != nil {
		log.Fatal(err)
	}
	return client, fake
}

func ExampleNewClient() {
	fake := fakevault.New(fakevault.Options{}) // in place of the network
	defer fake.Close()
	fake.AddKey("tde", testKey())

	cred, err := aad.NewClientSecret(fake.ClientID(), fake.ClientSecret())
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: fake.Transport()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	wrapped, err := client.WrapKey(context.Background(), "tde", "", akv.RSAOAEP256, []byte("a data encryption key"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(wrapped.Value), "bytes")
	// Output: 256 bytes
}

func ExampleClient_GetKey() {
	client, fake := exampleVault()
	defer fake.Close()
	key, err := client.GetKey(context.Background(), "tde", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key.Name, key.Type, key.Bits, key.Enabled, key.Ops)
	// Output: tde RSA 2048 true [encrypt decrypt sign verify wrapKey unwrapKey]
}

// Keep the key id with the wrapped key: it names the version that can unwrap it.
func ExampleClient_WrapKey() {
	client, fake := exampleVault()
	defer fake.Close()
	wrapped, err := client.WrapKey(context.Background(), "tde", "", akv.RSAOAEP256, []byte("a data encryption key"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.HasPrefix(wrapped.KeyID, "https://fakevault.vault.azure.net/keys/tde/"), len(wrapped.Value))
	// Output: true 256
}

func ExampleClient_UnwrapKey() {
	client, fake := exampleVault()
	defer fake.Close()
	ctx := context.Background()
	key, err := client.GetKey(ctx, "tde", "")
	if err != nil {
		log.Fatal(err)
	}
	wrapped, err := client.WrapKey(ctx, "tde", key.Version, akv.RSAOAEP256, []byte("a data encryption key"))
	if err != nil {
		log.Fatal(err)
	}
	plain, err := client.UnwrapKey(ctx, "tde", key.Version, akv.RSAOAEP256, wrapped.Value)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", plain.Value)
	// Output: a data encryption key
}

// A failure is one number, and all that is known of it.
func ExampleClient_UnwrapKey_failure() {
	client, fake := exampleVault()
	defer fake.Close()
	fake.Deny(fakevault.OpUnwrap)
	_, err := client.UnwrapKey(context.Background(), "tde", "", akv.RSAOAEP256, make([]byte, 256))

	fmt.Println(errors.Is(err, ekm.ErrorHttpOperationForbidden), int(ekm.CodeOf(err)))
	var e *ekm.Error
	if errors.As(err, &e) {
		fmt.Println(e.Op, e.Party, e.Host, e.Status, e.ServiceCode, e.InnerCode)
	}
	// Output:
	// true 3113
	// unwrapKey vault fakevault.vault.azure.net 403 Forbidden ForbiddenByRbac
}

func ExampleClient_BackupKey() {
	client, fake := exampleVault()
	defer fake.Close()
	blob, err := client.BackupKey(context.Background(), "tde")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(bytes.Contains(blob, []byte("AzureKeyVaultKeyBackupV1")))
	// Output: true
}

// A key is restored under its old name, which must not be in use.
func ExampleClient_RestoreKey() {
	client, fake := exampleVault()
	defer fake.Close()
	ctx := context.Background()
	blob, err := client.BackupKey(ctx, "tde")
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.RestoreKey(ctx, blob)
	var e *ekm.Error
	if errors.As(err, &e) {
		fmt.Println(e.Status, e.ServiceCode)
	}
	// Output: 409 Conflict
}

func ExampleClient_Keys() {
	client, fake := exampleVault()
	defer fake.Close()
	for item, err := range client.Keys(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(item.Name, item.Enabled)
	}
	// Output: tde true
}

func ExampleClient_KeyVersions() {
	client, fake := exampleVault()
	defer fake.Close()
	n := 0
	for item, err := range client.KeyVersions(context.Background(), "tde") {
		if err != nil {
			log.Fatal(err)
		}
		n++
		fmt.Println(n, len(item.Version))
	}
	// Output: 1 32
}

func ExampleClient_RotateKey() {
	client, fake := exampleVault()
	defer fake.Close()
	ctx := context.Background()
	old, err := client.GetKey(ctx, "tde", "")
	if err != nil {
		log.Fatal(err)
	}
	rotated, err := client.RotateKey(ctx, "tde")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rotated.Name, rotated.Version != old.Version)
	// Output: tde true
}

// Clients of one vault share a gate, and so the rate that it learns; here they
// are two identities.
func ExampleOptions_gate() {
	fake := fakevault.New(fakevault.Options{})
	defer fake.Close()
	fake.AddKey("tde", testKey())
	gate := &retry.Gate{InFlight: 64}
	for range 2 {
		cred, err := aad.NewClientSecret(fake.ClientID(), fake.ClientSecret())
		if err != nil {
			log.Fatal(err)
		}
		client, err := akv.NewClient("fakevault", cred, &akv.Options{
			Transport: fake.Transport(),
			Gate:      gate,
			Retry:     retry.Policy{Budget: time.Minute}, // the longest that the vault may answer nobody
		})
		if err != nil {
			log.Fatal(err)
		}
		defer client.Close()
		if _, err := client.GetKey(context.Background(), "tde", ""); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(gate.Stats().Tries, "requests to the vault") // two challenges, two keys
	// Output: 4 requests to the vault
}

func ExampleOptions_proxy() {
	cred, err := aad.NewClientSecret("00000000-0000-0000-0000-000000000001", "from a safe place")
	if err != nil {
		log.Fatal(err)
	}
	selector := proxy.New(proxy.Settings{
		URL:     "http://user:password@proxy.contoso.example:8080",
		NoProxy: ".contoso.example",
	})
	client, err := akv.NewClient("contoso", cred, &akv.Options{
		Proxy:    selector, // for the vault and the login endpoint
		Timeouts: akv.Timeouts{Dial: 3 * time.Second},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Println(selector)
	// Output: explicit: through http://proxy.contoso.example:8080 (with credentials), except ".contoso.example"
}

// One record for each operation, and one for each token: here without what differs
// from run to run.
func ExampleOptions_logger() {
	fake := fakevault.New(fakevault.Options{})
	defer fake.Close()
	fake.AddKey("tde", testKey())
	fake.Deny(fakevault.OpUnwrap)
	cred, err := aad.NewClientSecret(fake.ClientID(), fake.ClientSecret())
	if err != nil {
		log.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			switch a.Key {
			case "time", "duration", "request", "correlation", "answered", "region", "message":
				return slog.Attr{}
			}
			return a
		},
	}))
	client, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: fake.Transport(), Logger: logger})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	if _, err := client.GetKey(ctx, "tde", ""); err != nil {
		log.Fatal(err)
	}
	_, _ = client.UnwrapKey(ctx, "tde", "", akv.RSAOAEP256, make([]byte, 256))
	// Output:
	// level=INFO msg="operation succeeded" operation=acquireToken code=3000 symbol=ErrorSuccess party=authority credential="client secret" host=login.microsoftonline.com status=200 attempts=1
	// level=INFO msg="operation succeeded" operation=getKey key=tde code=3000 symbol=ErrorSuccess party=vault host=fakevault.vault.azure.net status=200 attempts=3
	// level=ERROR msg="operation failed" operation=unwrapKey key=tde code=3113 symbol=ErrorHttpOperationForbidden party=vault host=fakevault.vault.azure.net status=403 service=Forbidden inner=ForbiddenByRbac attempts=1
}

// What wraps the transport is told what each request is for. Package otelhttp makes
// spans so: the module interop has an example.
func ExampleOperation() {
	fake := fakevault.New(fakevault.Options{})
	defer fake.Close()
	fake.AddKey("tde", testKey())
	cred, err := aad.NewClientSecret(fake.ClientID(), fake.ClientSecret())
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient("fakevault", cred, &akv.Options{
		Transport: fake.Transport(), // or none: our own is wrapped as well
		Wrap: func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(r)
				if err == nil {
					fmt.Println(akv.Operation(r.Context()), resp.StatusCode)
				}
				return resp, err
			})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := client.GetKey(context.Background(), "tde", ""); err != nil {
		log.Fatal(err)
	}
	// Output:
	// getKey 401
	// acquireToken 200
	// getKey 200
}

// Counters go where the program's other counters go, here to expvar, which serves
// them at /debug/vars.
func ExampleClient_Stats() {
	client, fake := exampleVault()
	defer fake.Close()
	defer client.Close()
	variable := expvar.Func(func() any { return client.Stats() }) // expvar.Publish("akv", variable)

	if _, err := client.GetKey(context.Background(), "tde", ""); err != nil {
		log.Fatal(err)
	}
	fmt.Println(variable.String()[:len(`{"Vault":{"Succeeded":1`)])
	s := client.Stats()
	fmt.Println("tokens:", s.Authority.Succeeded)
	fmt.Println("retries:", s.Vault.Retries, "throttled:", s.Vault.Throttled, "learned rate:", s.Vault.Gate.Rate)
	// Output:
	// {"Vault":{"Succeeded":1
	// tokens: 1
	// retries: 0 throttled: 0 learned rate: 0
}
