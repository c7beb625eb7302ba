package ekm_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/akv-ekm/ekm"
)

// What does 3106 mean?
func ExampleCode_Explain() {
	code := ekm.Code(3106)
	fmt.Println(code)
	fmt.Println(code.Explain())
	fmt.Println(code.Remedy())
	// Output:
	// 3106 ErrorHttpSendRequest
	// The request did not reach the vault or the login endpoint: connection refused, reset or timed out, TLS or its certificate failed, or the proxy refused. The error names phase and host.
	// Read phase and host in the error or the provider's log. dial: open port 443 in the firewall. proxy: check its address and login. tls: trust the root certificate of an inspecting proxy. write: repeat.
}

// The same failure as connector 1.0.4.0 and older number it.
func ExampleCode_Legacy() {
	older, ok := ekm.ErrorHttpSendRequest.Legacy()
	fmt.Println(older, ok)
	_, ok = ekm.ErrorAKVDoesNotExist.Legacy()
	fmt.Println(ok)
	// Output:
	// 3008 ErrorHttpSendRequest true
	// false
}

// What an EKM provider returns to the database engine. The engine shows the number:
// "Provider error code: 3113".
func ExampleProviderCode() {
	wrapKey := func(context.Context) error {
		return &ekm.Error{Code: ekm.ErrorHttpOperationForbidden, Op: "wrapKey", Party: ekm.Vault, Status: 403}
	}
	encrypt := func(ctx context.Context) int32 { // SqlCryptEncrypt
		err := wrapKey(ctx)
		return int32(ekm.ProviderCode(err))
	}
	fmt.Println(encrypt(context.Background()))
	fmt.Println(int32(ekm.ProviderCode(nil)))
	// Output:
	// 3113
	// 0
}

// The results 0 to 7 are for callers that know no other numbers.
func ExampleCode_Provider() {
	code := ekm.ErrorHttpOperationForbidden
	fmt.Println(code.Provider())
	fmt.Println(code.ProviderReason())
	// Output:
	// 5 scp_err_AuthFailure
	// the vault denies the caller access
}

func ExampleCodeOf() {
	err := fmt.Errorf("opening the database: %w", &ekm.Error{Code: ekm.ErrorAKVDoesNotExist})
	fmt.Println(ekm.CodeOf(err))
	fmt.Println(ekm.CodeOf(nil))
	fmt.Println(ekm.CodeOf(errors.New("something else")))
	// Output:
	// 3900 ErrorAKVDoesNotExist
	// 3000 ErrorSuccess
	// 3001 ErrorUnknown
}

// The codes of unwrapping that are limits.
func ExampleCodes() {
	for _, code := range ekm.Codes() {
		if code >= 3700 && code < 3705 {
			fmt.Println(code)
		}
	}
	fmt.Println(len(ekm.Codes()), "codes")
	// Output:
	// 3700 ErrorUnwrapKeyOutOfMemoryConvertResponseString
	// 3701 ErrorUnwrapKeyOutOfMemoryConcatPath
	// 3702 ErrorUnwrapKeyOutOfMemoryConcatHeader
	// 3703 ErrorUnwrapKeyOutOfMemoryConcatBody
	// 3704 ErrorUnwrapKeyOutOfMemoryConvertEncodedBody
	// 145 codes
}

// An error as the vault client returns it, for a log line and for a person.
func ExampleError() {
	var err error = &ekm.Error{
		Code:        ekm.ErrorHttpOperationForbidden,
		Op:          "unwrapKey",
		Party:       ekm.Vault,
		Host:        "contoso.vault.azure.net",
		Status:      403,
		ServiceCode: "Forbidden",
		InnerCode:   "ForbiddenByFirewall",
		RequestID:   "6f6c4645-0202-4486-b625-fa957dfc4700",
	}
	fmt.Println(err)

	if e, ok := errors.AsType[*ekm.Error](err); ok && errors.Is(err, ekm.ErrorHttpOperationForbidden) {
		fmt.Println(e.Advice())
	}
	// Output:
	// unwrapKey: 3113 ErrorHttpOperationForbidden: vault contoso.vault.azure.net: HTTP 403 Forbidden/ForbiddenByFirewall (request id 6f6c4645-0202-4486-b625-fa957dfc4700)
	// Add the client address in the message to the vault's firewall (Networking, Firewalls and virtual networks, or az keyvault network-rule add --name VAULT --ip-address ADDRESS), or let this machine's subnet or private endpoint in.
}
