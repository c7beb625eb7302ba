package ekm

// keyExistsAlready is a number of connectors 1.0.0.x, the generation before the one
// that is documented.
const keyExistsAlready Code = 2055

// providerEntries are the results for the engine, the event log's statuses, the
// provider's own codes, and success and unknown.
func providerEntries() []entry {
	return []entry{
		{
			SCPErrSuccess, "scp_err_Success", SCPErrSuccess, whyItself,
			"The provider reports success to the database engine. With Msg 33029 it means something else: the provider loaded, and the engine refused what it says of itself (name, version, API version, key flags).",
			"Do nothing. With Msg 33029, compare the structure that SqlCryptGetProviderInfo fills in with the EKM interface 1.1; with any other message, look at the engine's own text beside the number.",
		},
		{
			SCPErrFailure, "scp_err_Failure", SCPErrFailure, whyItself,
			"The provider failed: network, server, a limit, or a reply that made no sense. From this library itself: the call ended while it waited for its turn or for a token that another call was fetching. With Msg 33029: the provider could not start.",
			"Restart SQL Server if the message is 33029, and check the DLL's signature and what it depends on. Else look in the provider's log for the code above 2048 that goes with it, which names the step. If there is none, the caller's time was up: allow more time, or start fewer calls at once.",
		},
		{
			SCPErrInsufficientBuffer, "scp_err_InsufficientBuffer", SCPErrInsufficientBuffer, whyItself,
			"The engine's buffer is too small for the answer. This belongs to the protocol: the engine asks for the size, then calls again.",
			"Do nothing: the engine repeats the call with a larger buffer. If the error stays, report it to the provider's author.",
		},
		{
			SCPErrNotSupported, "scp_err_NotSupported", SCPErrNotSupported, whyItself,
			"Key type, size or algorithm is not supported: an EC or symmetric key where RSA is needed, an RSA size other than 2048, 3072 or 4096 bits, or an unknown algorithm. With Msg 33029, a function of the provider's DLL that has to be there answers that it is not supported.",
			"Use an RSA or RSA-HSM key of 2048, 3072 or 4096 bits with RSA1_5, RSA-OAEP or RSA-OAEP-256; Microsoft's connector needs file version 15.0.2000.440 for RSA-HSM and 3072 bits. With Msg 33029, give the provider's author the event sec_ekm_provider_called, which names the function.",
		},
		{
			SCPErrNotFound, "scp_err_NotFound", SCPErrNotFound, whyItself,
			"The provider does not know the key or algorithm that the engine asked for.",
			"Compare the key name or thumbprint in the statement with the vault's keys and with the key map of this machine.",
		},
		{
			SCPErrAuthFailure, "scp_err_AuthFailure", SCPErrAuthFailure, whyItself,
			"The provider could not prove its identity to the login endpoint, or the vault denies it access.",
			"Look in the provider's log for the code above 2048; then check client id, secret or certificate, and the permissions on the vault.",
		},
		{
			SCPErrInvalidArgument, "scp_err_InvalidArgument", SCPErrInvalidArgument, whyItself,
			"An argument is unusable: no context, a key name or version that is not 1 to 127 letters, digits and hyphens, a backup that is empty or too long, a vault address that is none, or a mistake in SECRET that can be told.",
			"Correct the argument that the error names. The vault is given as a name, a host such as contoso.vault.azure.net, or its https URL; SECRET is the client id without hyphens directly followed by the secret value.",
		},
		{
			SCPErrProviderError, "scp_err_ProviderError", SCPErrProviderError, whyItself,
			"From the database engine: it caught an exception inside the provider's DLL. From this library: the vault's list of keys never ends, as its pages link to themselves or are all empty.",
			"Collect the engine's dump and the provider's log, and send both to the provider's vendor. For a list, check that the address is that of a real vault.",
		},

		{
			AcquireToken, "acquireToken", SCPErrAuthFailure, whyIdentity,
			"Event log entry: HTTP 401 in the operation acquireToken. T-SQL shows 3303 or 3108 for the same failure if the login endpoint gave it, 3305 if the vault did.",
			"Check whether the client secret has expired, and whether SECRET is the client id without hyphens directly followed by the secret value.",
		},
		{
			GetKeyByName, "getKeyByName", SCPErrNotFound, "the vault has no such key",
			"Event log entry: HTTP 404 in the operation getKeyByName, from the vault. T-SQL shows 3112 for the same failure.",
			"Compare PROVIDER_KEY_NAME with the vault's list of keys, and check that IDENTITY names the right vault.",
		},

		{
			SCPErrKeyNameDoesNotFitThumbprint, "scp_err_KeyNameDoesNotFitThumbprint", SCPErrInvalidArgument, whyInput,
			"Local: the key name has more than 26 characters, so it does not fit into the 20 bytes of a thumbprint made from the name.",
			"Use a key whose name has at most 26 letters, digits and hyphens.",
		},
		{
			SCPErrPasswordTooShort, "scp_err_PasswordTooShort", SCPErrAuthFailure, whyIdentity,
			"Local: the credential's SECRET has fewer than 33 characters: 32 hex digits of the client id, without hyphens, and at least one of the client secret. Connectors 1.0.0.x returned 2050 for any exception that they did not expect.",
			"Set SECRET with ALTER CREDENTIAL to the client id without hyphens directly followed by the secret value. With connector 1.0.0.x look in the Windows application log for the exception, and upgrade.",
		},
		{
			SCPErrOutOfMemory, "scp_err_OutOfMemory", SCPErrFailure, whyBudget,
			"Local: the credential's SECRET is longer than the 8 KiB that the provider accepts; it was not read.",
			"Set SECRET again: the client id without hyphens and the secret value, nothing else, no certificate and no file's content.",
		},
		{
			SCPErrConvertKeyNameToThumbprint, "scp_err_ConvertKeyNameToThumbprint", SCPErrInvalidArgument, whyInput,
			"Local: no thumbprint can be made from the key name: it is empty or has a character other than a-z, A-Z, 0-9 and hyphen.",
			"Use a key whose name has letters, digits and hyphens only.",
		},
		{
			SCPErrConvertThumbprintToKeyName, "scp_err_ConvertThumbprintToKeyName", SCPErrNotFound, "the thumbprint leads to no key",
			"Local: the thumbprint that the engine asked for leads to no key name: it does not decode, or this machine's key map does not hold it. Connectors 1.0.0.x returned 2053 for a web request that failed, mostly under Msg 33037.",
			"Copy the key map from the server that created the asymmetric key to this one, or run CREATE ASYMMETRIC KEY for the same vault key here. With connector 1.0.0.x give the application the key permissions get, list, wrapKey and unwrapKey, and upgrade.",
		},
		{
			SCPErrThumbprintExistedInRegistry, "scp_err_ThumbprintExistedInRegistry", SCPErrFailure, "two key addresses claim one thumbprint, neither is plainly wrong",
			"Local: the key map (the registry on Windows) already leads this thumbprint to another key address; the old entry was kept.",
			"Compare both addresses. Only if they are the same key, restored or moved to another vault, save the map, remove the old entry and repeat the statement.",
		},
		{
			SCPErrFailureInRegistry, "scp_err_FailureInRegistry", SCPErrFailure, "this machine's key map is out of reach",
			"Local: the key map (the registry on Windows, or a file) could not be read or written. Mostly the key SQL Server Cryptographic Provider in the registry is missing and the service account may not create it; the installer does not. The vault is not at fault.",
			`Create the key HKLM\SOFTWARE\Microsoft\SQL Server Cryptographic Provider with regedit, give the SQL Server service account (NT SERVICE\MSSQLSERVER) full control of it, and repeat the statement; on every node of a cluster or availability group. For a map in a file, give it the file and its folder.`,
		},

		{
			ErrorSuccess, "ErrorSuccess", SCPErrSuccess, "nothing failed",
			"The vault did what was asked; there is no error.",
			"Do nothing.",
		},
		{
			ErrorUnknown, "ErrorUnknown", SCPErrFailure, "the cause is not known",
			"The failure fits no other code: an HTTP status outside every known class, such as a redirect (never followed), or an error that is not this library's.",
			"Read the whole error: for an odd HTTP status look for a proxy or portal that answers in place of the host, else look at the cause it wraps.",
		},
	}
}

// lastEntries are the name service and the retry policy.
func lastEntries() []entry {
	return []entry{
		{
			ErrorAKVDoesNotExist, "ErrorAKVDoesNotExist", SCPErrFailure, "the name service failed, the key itself may well exist",
			"DNS says that the host does not exist, or has no address. For the vault's host: deleted, mistyped or in another cloud. For the login host: this machine's DNS is wrong or blocked.",
			"Look up the host in the error from this machine. If it is the vault, check its name and cloud suffix and the deleted vaults; with a private endpoint, check the private DNS zone.",
		},
		{
			ErrorCreateKeyVaultRetryManagerOutOfMemory, "ErrorCreateKeyVaultRetryManagerOutOfMemory", SCPErrFailure, whyBudget,
			"Local: as many calls as the gate lets wait (65,536) already wait for their turn or their next attempt; this one gave up instead of joining them.",
			"Start fewer operations at once while the vault is slow or limits the rate, or raise the gate's Waiting.",
		},
	}
}
