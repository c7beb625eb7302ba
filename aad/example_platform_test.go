package aad_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// The identity of the virtual machine that the program runs on.
func ExampleNewManagedIdentity() {
	fake := fakevault.New(fakevault.Options{}) // in place of the network
	defer fake.Close()
	fake.AddKey("tde", workloadKey())

	cred, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.IMDS})
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: fake.Transport()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	_, err = client.GetKey(context.Background(), "tde", "")
	fmt.Println(err, fake.Count(fakevault.OpIMDS))

	_, err = aad.NewManagedIdentity(&aad.ManagedIdentityOptions{ClientID: "one", ObjectID: "another"})
	fmt.Println(err)
	// Output:
	// <nil> 1
	// 6 scp_err_InvalidArgument: more than one of ClientID, ObjectID and ResourceID is given
}

// In a pod of AKS the options are empty: the webhook sets the environment.
func ExampleNewWorkloadIdentity() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "azure-identity-token")
	if err := os.WriteFile(file, []byte(federatedToken(workloadSubject)), 0o600); err != nil {
		log.Fatal(err)
	}
	fake := fakevault.New(fakevault.Options{}) // in place of the network
	defer fake.Close()
	fake.AddFederated(workloadClient, workloadIssuer, workloadSubject, "", &workloadKey().PublicKey)
	fake.AddKey("tde", workloadKey())

	cred, err := aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: workloadClient, TokenFile: file})
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient("fakevault", cred, &akv.Options{Transport: fake.Transport()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	_, err = client.GetKey(context.Background(), "tde", "")
	fmt.Println(err, fake.Count(fakevault.OpToken))
	// Output:
	// <nil> 1
}
