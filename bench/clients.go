package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
)

// A wrapper wraps a key; a cold one signs in first.
type wrapper func(ctx context.Context, key []byte) ([]byte, error)

// A contender makes cold wrappers.
type contender struct {
	name string
	cold func(http.RoundTripper) (wrapper, error)
}

// baseline is the contender to which the others are compared; it cannot sign in.
func baseline() contender { return contender{"plain", plain} }

// signingIn are the contenders that sign in.
func signingIn() []contender {
	return []contender{
		{"akv", ours},
		{"azkeys", func(rt http.RoundTripper) (wrapper, error) { return official(rt, true) }},
	}
}

// plain is the least that a program would write: one client, one try, one time
// limit, JSON by encoding/json. Its token is known beforehand.
func plain(rt http.RoundTripper) (wrapper, error) {
	client := &http.Client{Transport: rt, Timeout: time.Minute}
	token := "Bearer " + string(bytes.Repeat([]byte("tokentoken"), 150))
	type request struct {
		Alg   string `json:"alg"`
		Value string `json:"value"`
	}
	type reply struct {
		KID   string `json:"kid"`
		Value string `json:"value"`
	}
	return func(ctx context.Context, key []byte) ([]byte, error) {
		body, err := json.Marshal(request{"RSA-OAEP-256", base64.RawURLEncoding.EncodeToString(key)})
		if err != nil {
			return nil, err
		}
		url := "https://" + host + "/keys/tde//wrapkey?api-version=7.4"
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", token)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("status %d", resp.StatusCode)
		}
		var r reply
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, err
		}
		return base64.RawURLEncoding.DecodeString(r.Value)
	}, nil
}

// ours is package akv.
func ours(rt http.RoundTripper) (wrapper, error) {
	cred, err := aad.NewClientSecret(app, secret)
	if err != nil {
		return nil, err
	}
	client, err := akv.NewClient(host, cred, &akv.Options{Transport: rt})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, key []byte) ([]byte, error) {
		r, err := client.WrapKey(ctx, "tde", "", akv.RSAOAEP256, key)
		return r.Value, err
	}, nil
}

// official is Microsoft's azkeys with azidentity, with its defaults.
func official(rt http.RoundTripper, instanceDiscovery bool) (wrapper, error) {
	options := azcore.ClientOptions{Transport: &http.Client{Transport: rt}}
	cred, err := azidentity.NewClientSecretCredential(tenant, app, secret, &azidentity.ClientSecretCredentialOptions{
		ClientOptions: options, DisableInstanceDiscovery: !instanceDiscovery,
	})
	if err != nil {
		return nil, err
	}
	client, err := azkeys.NewClient("https://"+host, cred, &azkeys.ClientOptions{ClientOptions: options})
	if err != nil {
		return nil, err
	}
	alg := azkeys.EncryptionAlgorithmRSAOAEP256
	return func(ctx context.Context, key []byte) ([]byte, error) {
		r, err := client.WrapKey(ctx, "tde", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: key}, nil)
		return r.Result, err
	}, nil
}
