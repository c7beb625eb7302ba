package ekm

// challengeEntries are the vault's 401 challenge: where to prove identity, and
// for which resource.
func challengeEntries() []entry {
	return []entry{
		{
			ErrorGetAADValuesOutOfMemoryConcatPath, "ErrorGetAADValuesOutOfMemoryConcatPath", SCPErrFailure, whyBudget,
			"Local: the address of the first request to the vault, the one without a token, is longer than Limits.URL (4 KiB).",
			"Check vault address and key name for pasted text; raise Limits.URL only if both are right.",
		},
		{
			ErrorGetAADDomainUrlStartPosition, "ErrorGetAADDomainUrlStartPosition", SCPErrAuthFailure, "nobody said where to prove identity",
			"The vault's challenge does not say where to log in: it has neither authorization nor authorization_uri.",
			"Check that the address is that of a real vault, and that no proxy rewrites the WWW-Authenticate header.",
		},
		{
			ErrorGetAADDomainUrlStopPosition, "ErrorGetAADDomainUrlStopPosition", SCPErrAuthFailure, "the place to prove identity is unreadable",
			"The login address in the vault's challenge begins with a quote that is never closed.",
			"Check that no proxy cuts the WWW-Authenticate header short, then repeat the operation.",
		},
		{
			ErrorGetAADDomainUrlMalformatted, "ErrorGetAADDomainUrlMalformatted", SCPErrAuthFailure, "identity is proven to a trusted login host only",
			"The login address in the vault's challenge is not an https URL with one tenant on a trusted login host; no credential was sent there.",
			"Make sure that the vault is yours and the address right; add the login host of a private cloud to the trusted ones only after you have verified it.",
		},
		{
			ErrorGetAADDomainUrlOutOfMemoryAlloc, "ErrorGetAADDomainUrlOutOfMemoryAlloc", SCPErrFailure, whyBudget,
			"The login address in the vault's challenge is longer than 2 KiB.",
			"Make sure that the address is that of a real vault: real login addresses are far shorter. The limit is Trust.MaxAuthority.",
		},
		{
			ErrorGetAADTenantIdOutOfMemoryAlloc, "ErrorGetAADTenantIdOutOfMemoryAlloc", SCPErrFailure, whyBudget,
			"The tenant in the vault's challenge is longer than 256 bytes.",
			"Make sure that the address is that of a real vault: a real tenant is a GUID or a domain. The limit is Trust.MaxTenant.",
		},
		{
			ErrorGetAKVResourceUrlStartPosition, "ErrorGetAKVResourceUrlStartPosition", SCPErrAuthFailure, "nobody said what the token is to be for",
			"The vault's challenge does not say what the token is to be for: it has neither resource nor scope.",
			"Check that the address is that of a real vault, and that no proxy rewrites the WWW-Authenticate header.",
		},
		{
			ErrorGetAKVResourceUrlStopPosition, "ErrorGetAKVResourceUrlStopPosition", SCPErrAuthFailure, "a token is asked for the vault's own domain only",
			"The resource in the vault's challenge has no closing quote, is no https URL, or is not the vault's own domain; no token was asked for, as another service might accept it.",
			"Make sure that the vault is yours and the address right; a vault that asks for a token of another service is not to be trusted.",
		},
		{
			ErrorGetAKVResourceUrlOutOfMemoryAlloc, "ErrorGetAKVResourceUrlOutOfMemoryAlloc", SCPErrFailure, whyBudget,
			"The resource in the vault's challenge is longer than 2 KiB.",
			"Make sure that the address is that of a real vault: real resources are far shorter. The limit is Trust.MaxResource.",
		},
	}
}

// tokenEntries are the token request, and the vault's refusal of a token.
func tokenEntries() []entry {
	return []entry{
		{
			ErrorGetTokenOutOfMemoryConcatPath, "ErrorGetTokenOutOfMemoryConcatPath", SCPErrFailure, whyBudget,
			"Local: the token endpoint's address is longer than Limits.URL (4 KiB).",
			"Check tenant and login host for pasted text; raise Limits.URL only if both are right.",
		},
		{
			ErrorGetTokenOutOfMemoryConcatBody, "ErrorGetTokenOutOfMemoryConcatBody", SCPErrFailure, whyBudget,
			"Local: the body of the token request would be longer than Limits.Request (1 MiB).",
			"Check the credential, or the file that it comes from, for text that does not belong there; raise Limits.Request only if it is right.",
		},
		{
			ErrorGetTokenOutOfMemoryConvertResponseString, "ErrorGetTokenOutOfMemoryConvertResponseString", SCPErrFailure, whyBudget,
			"The token endpoint's reply is longer than Limits.Token (64 KiB).",
			"Check that the login endpoint answers and not a proxy's page; raise Limits.Token only for a proper token.",
		},
		{
			ErrorGetTokenBadCredentials, "ErrorGetTokenBadCredentials", SCPErrAuthFailure, whyIdentity,
			"The login endpoint refuses the credential: wrong or expired client secret, unknown certificate, or an assertion outside its time.",
			"Check the expiry date of secret or certificate in the app registration and this machine's clock; set a new secret with ALTER CREDENTIAL on every server and every node of an availability group (Microsoft's connector then needs a restart of SQL Server on each).",
		},
		{
			ErrorGetTokenFailedToGetToken, "ErrorGetTokenFailedToGetToken", SCPErrAuthFailure, whyIdentity,
			"There is a token reply, or a source of tokens on this machine, but no token of use: already expired, not of type Bearer, an error in its place, or a token file that cannot be read.",
			"Read the cause. Expired: set this machine's clock. A file or a token source: see that it is there and that the service account may read it. Else look for a proxy that answers in place of the login endpoint.",
		},
		{
			ErrorGetTokenRejected, "ErrorGetTokenRejected", SCPErrAuthFailure, "the vault does not accept the proof of identity",
			"The vault answers HTTP 401 to a fresh token, and again to another new one: wrong audience or tenant, or a fault inside the vault.",
			"Check that the identity is in the vault's tenant and cloud, and this machine's clock; if the message holds AKV10046, wait and repeat, it passes.",
		},
		{
			ErrorGetTokenNotFound, "ErrorGetTokenNotFound", SCPErrAuthFailure, whyIdentity,
			"The login endpoint's reply is JSON but has no access_token.",
			"Look for a proxy or portal that answers in place of the login endpoint, and check that the login host is right.",
		},
		{
			ErrorGetTokenJsonParser, "ErrorGetTokenJsonParser", SCPErrAuthFailure, whyIdentity,
			"The login endpoint's reply is not JSON; often it is a page of a proxy or portal.",
			"Open the login host from this machine under the service account, and let it pass the proxy untouched.",
		},
		{
			ErrorGetTokenExtractToken, "ErrorGetTokenExtractToken", SCPErrAuthFailure, whyIdentity,
			"The login endpoint's reply has an access_token that is empty, no string or full of illegal characters, or its expiry makes no sense.",
			"Look for a proxy that rewrites replies of the login endpoint; if there is none, give the trace id to Microsoft's support.",
		},
	}
}
