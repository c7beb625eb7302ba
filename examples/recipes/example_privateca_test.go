package recipes_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
)

// A proxy that inspects TLS signs with a CA of the company's. RootCAs adds it to the
// system's, and the transport's limits and its proxy stay as they are. On Linux the
// environment's SSL_CERT_FILE does it too, in place of the system's.
func Example_privateCA() {
	server := httptest.NewTLSServer(newVault()) // in place of the vault behind that proxy
	defer server.Close()
	company := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}) // os.ReadFile("company-ca.pem")

	roots, err := x509.SystemCertPool()
	if err != nil {
		log.Fatal(err)
	}
	if !roots.AppendCertsFromPEM(company) {
		log.Fatal("there is no certificate in the file")
	}
	cred, err := aad.NewClientSecret("00000000-0000-0000-0000-000000000001", "from a safe place")
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient(server.URL, cred, &akv.Options{
		RootCAs: roots,
		// Only because the example's vault is on this machine, and its authority too:
		Authority: server.URL + "/contoso.onmicrosoft.com", Resource: "https://vault.azure.net",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	key, err := client.GetKey(context.Background(), "tde", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key.Name, key.Type, key.Bits)
	// Output: tde RSA 2048
}
