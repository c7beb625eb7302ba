package ekm

// httpEntries are the steps of one HTTP exchange, with whichever party.
func httpEntries() []entry {
	return []entry{
		{
			ErrorHttpCreateHttpClientOutOfMemory, "ErrorHttpCreateHttpClientOutOfMemory", SCPErrFailure, whyBudget,
			"Local: one client would have more requests in flight than Limits.InFlight allows (65,536); this one was not sent.",
			"Start fewer operations at once, or raise Limits.InFlight.",
		},
		{
			ErrorHttpOpenSession, "ErrorHttpOpenSession", SCPErrFailure, "this machine's proxy settings are at fault, not the engine's call",
			"The proxy settings of this machine cannot be read or are no usable URL; nothing was sent.",
			"Correct the proxy settings of the service account (HTTPS_PROXY, NO_PROXY, the proxy option, or netsh winhttp set proxy) and restart the process, as they are read once.",
		},
		{
			ErrorHttpConnectSession, "ErrorHttpConnectSession", SCPErrInvalidArgument, whyInput,
			"Local: the host in the vault's or the login endpoint's address is unusable: empty, a bad port or an illegal character. Nothing was sent.",
			"Correct the vault (IDENTITY in SQL Server): a name, or a host such as contoso.vault.azure.net, without path and blanks.",
		},
		{
			ErrorHttpAttemptConnect, "ErrorHttpAttemptConnect", SCPErrFailure, whyNetwork,
			"This machine has no network: no interface is up, or no route leads to the vault or the login endpoint.",
			"Check interfaces, default route and VPN of this machine, then try a TCP connection to port 443 of the host in the error.",
		},
		{
			ErrorHttpOpenRequest, "ErrorHttpOpenRequest", SCPErrInvalidArgument, whyInput,
			"Local: no request line can be made: the address does not parse, or the method is not a legal one. Nothing was sent.",
			"Check vault address and key name for blanks, control characters and stray percent signs.",
		},
		{
			ErrorHttpAddRequestHeader, "ErrorHttpAddRequestHeader", SCPErrInvalidArgument, whyInput,
			"Local: a request header would hold an illegal character, such as a line break in a pasted token or user agent. Nothing was sent.",
			"Remove line breaks and control characters from the token, user agent or other value that was passed in.",
		},
		{
			ErrorHttpSendRequest, "ErrorHttpSendRequest", SCPErrFailure, whyNetwork,
			"The request did not reach the vault or the login endpoint: connection refused, reset or timed out, TLS or its certificate failed, or the proxy refused. The error names phase and host.",
			"Read phase and host in the error or the provider's log. dial: open port 443 in the firewall. proxy: check its address and login. tls: trust the root certificate of an inspecting proxy. write: repeat.",
		},
		{
			ErrorHttpGetResponseCode, "ErrorHttpGetResponseCode", SCPErrFailure, whyNetwork,
			"The request went out to the vault or the login endpoint, but no usable status line came back: connection closed, reset or timed out, or a garbled line.",
			"Repeat the operation. If it fails again, look for idle timeouts of proxies and firewalls on the way, and at Azure's service health for the region.",
		},
		{
			ErrorHttpResponseCodeUnauthorized, "ErrorHttpResponseCodeUnauthorized", SCPErrAuthFailure, whyIdentity,
			"HTTP 401 from the login endpoint or the managed identity endpoint, without a reason that names the fault.",
			"Check client id and secret or certificate; for a managed identity, check that one is assigned to this machine.",
		},
		{
			ErrorHttpResponseCodeThrottled, "ErrorHttpResponseCodeThrottled", SCPErrFailure, "the service limits the rate, a later call will succeed",
			"HTTP 429: the vault or the login endpoint limits the rate of requests, and still did after the last retry.",
			"Wait as long as the error says, then lower the rate: unwrap once and keep the result, or spread the keys over several vaults.",
		},
		{
			ErrorHttpResponseCodeClientError, "ErrorHttpResponseCodeClientError", SCPErrInvalidArgument, "the request is wrong as it stands, mostly the key name or the client id",
			"HTTP 4xx: the vault or the login endpoint finds the request wrong. At the vault it is mostly the key name, at the login endpoint an unknown client id or tenant.",
			"Read the host in the error or the provider's log. Vault: use letters, digits and hyphens in the key name. Login endpoint: check the client id (no hyphens in SECRET) and that its app belongs to the vault's tenant.",
		},
		{
			ErrorHttpResponseCodeServerError, "ErrorHttpResponseCodeServerError", SCPErrFailure, "the service failed, a later call may succeed",
			"HTTP 5xx: a fault inside the vault or the login endpoint, still there after the last retry.",
			"Wait and repeat. If it stays, look at Azure's service health for the region and give the request id to Microsoft's support.",
		},
		{
			ErrorHttpResourceNotFound, "ErrorHttpResourceNotFound", SCPErrNotFound, "the vault has no such key",
			"HTTP 404: the vault has no key of this name or version, or the address of a login endpoint is wrong.",
			"Compare key name and version with the vault's list of keys, look among its deleted keys, and check that it is the right vault.",
		},
		{
			ErrorHttpOperationForbidden, "ErrorHttpOperationForbidden", SCPErrAuthFailure, "the vault denies the caller access",
			"HTTP 403: the vault refuses: no permission or role, firewall or private link, a disabled key, or a key that does not allow the operation.",
			"Read the inner code in the error or the provider's log. Grant get, wrapKey and unwrapKey or the role Key Vault Crypto Service Encryption User, let the client's address in, or enable the key.",
		},
		{
			ErrorHttpQueryHeader, "ErrorHttpQueryHeader", SCPErrFailure, whyReply,
			"The header of the reply from the vault or the login endpoint is malformed or cut off.",
			"Look for a proxy or inspection device on the way that changes replies, and let the host in the error pass it untouched.",
		},
		{
			ErrorHttpQueryHeaderOutOfMemoryCopyHeader, "ErrorHttpQueryHeaderOutOfMemoryCopyHeader", SCPErrFailure, whyBudget,
			"One header value in the reply from the vault or the login endpoint is longer than Limits.HeaderValue (16 KiB).",
			"Find out which server or proxy sends the value; raise Limits.HeaderValue only if it is a proper one.",
		},
		{
			ErrorHttpQueryHeaderOutOfMemoryReallocBuffer, "ErrorHttpQueryHeaderOutOfMemoryReallocBuffer", SCPErrFailure, whyBudget,
			"All headers of the reply from the vault or the login endpoint together are longer than Limits.Header (64 KiB).",
			"Find out which server or proxy adds headers; raise Limits.Header only if they are proper ones.",
		},
		{
			ErrorHttpQueryHeaderNotFound, "ErrorHttpQueryHeaderNotFound", SCPErrAuthFailure, "nobody said where to prove identity",
			"The vault's answer to the first request, sent without a token, has no WWW-Authenticate header with a Bearer challenge: nothing says where to log in.",
			"Check that the address is that of a key vault or managed HSM, and that no proxy or portal answers in its place.",
		},
		{
			ErrorHttpQueryHeaderUpdateBufferLength, "ErrorHttpQueryHeaderUpdateBufferLength", SCPErrFailure, whyReply,
			"The reply from the vault or the login endpoint declares an unusable length: Content-Length is no number, negative or contradictory.",
			"Look for a proxy or inspection device on the way that rewrites replies, and let the host in the error pass it untouched.",
		},
		{
			ErrorHttpReadData, "ErrorHttpReadData", SCPErrFailure, whyNetwork,
			"The reply from the vault or the login endpoint broke off in its body: connection lost, reset or timed out, or chunks or compression garbled.",
			"Repeat the operation. If it fails again, look for a proxy, firewall or weak line between this machine and the host in the error.",
		},
		{
			ErrorHttpGetResponseOutOfMemoryCreateTempBuffer, "ErrorHttpGetResponseOutOfMemoryCreateTempBuffer", SCPErrFailure, whyBudget,
			"The reply from the vault or the login endpoint declares a body longer than Limits.Body (1 MiB); nothing of it was read.",
			"Check that the vault or the login endpoint answers and not a proxy's page; raise Limits.Body only for a proper reply.",
		},
		{
			ErrorHttpGetResponseOutOfMemoryGetResultString, "ErrorHttpGetResponseOutOfMemoryGetResultString", SCPErrFailure, whyBudget,
			"The reply bodies that one client holds at the same moment would exceed Limits.Held (256 MiB); reading stopped.",
			"Start fewer operations at once, or raise Limits.Held.",
		},
		{
			ErrorHttpGetResponseOutOfMemoryAppendResponse, "ErrorHttpGetResponseOutOfMemoryAppendResponse", SCPErrFailure, whyBudget,
			"The reply from the vault or the login endpoint, of no declared length, outgrew Limits.Body (1 MiB); reading stopped there.",
			"Check that the vault or the login endpoint answers and not a proxy's download; raise Limits.Body only for a proper reply.",
		},
	}
}
