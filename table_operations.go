package ekm

// Remedies that the four operations share.
const (
	fixPath   = "Use a shorter key name (a vault allows 127 characters), or raise Limits.Path."
	fixHeader = "Raise Limits.Authorization: the token is long, mostly because the identity is in very many groups or roles."
	fixEmpty  = "Repeat the operation; if it fails again, look for a proxy that drops bodies, else give the request id to Microsoft's support."
	fixJSON   = "Check that the vault answers and not a proxy or portal, and let the vault's host pass the proxy untouched."
	fixReply  = "Check that the address is that of a real vault; if it is, give the request id to Microsoft's support."
)

// getKeyEntries are the replies that hold keys: get, lists, rotation, restore.
func getKeyEntries() []entry {
	return []entry{
		{
			ErrorGetKeyByNameOutOfMemoryConvertResponseString, "ErrorGetKeyByNameOutOfMemoryConvertResponseString", SCPErrFailure, whyBudget,
			"The vault's reply with a key or a list of keys is longer than Limits.Key (256 KiB).",
			"Check that the vault answers and not a proxy's page; raise Limits.Key if the key has very many tags.",
		},
		{
			ErrorGetKeyByNameOutOfMemoryConcatPath, "ErrorGetKeyByNameOutOfMemoryConcatPath", SCPErrFailure, whyBudget,
			"Local: the path of a request about keys (get, list, rotate, restore) would be longer than Limits.Path (2 KiB), or a link to the next page than Limits.URL (4 KiB); nothing was sent.",
			fixPath,
		},
		{
			ErrorGetKeyByNameOutOfMemoryConcatHeader, "ErrorGetKeyByNameOutOfMemoryConcatHeader", SCPErrFailure, whyBudget,
			"Local: the Authorization header of a request about keys (get, list, rotate, restore) would be longer than Limits.Authorization (32 KiB); nothing was sent.",
			fixHeader,
		},
		{
			ErrorGetKeyByNameNoResponse, "ErrorGetKeyByNameNoResponse", SCPErrFailure, whyReply,
			"The vault answered HTTP 200 with an empty body where a key should be.",
			fixEmpty,
		},
		{
			ErrorGetKeyByNameJsonParser, "ErrorGetKeyByNameJsonParser", SCPErrFailure, whyReply,
			"The vault's reply to the request for a key is not JSON; often it is a page of a proxy or portal.",
			fixJSON,
		},
		{
			ErrorGetKeyByNameExtractKeyNode, "ErrorGetKeyByNameExtractKeyNode", SCPErrFailure, whyReply,
			"The vault's reply is JSON but holds no key object.",
			fixReply,
		},
		{
			ErrorGetKeyByNameExtractKeyId, "ErrorGetKeyByNameExtractKeyId", SCPErrFailure, whyReply,
			"The key in the vault's reply has no id (kid).",
			fixReply,
		},
		{
			ErrorGetKeyByNameExtractKeyType, "ErrorGetKeyByNameExtractKeyType", SCPErrFailure, whyReply,
			"The key in the vault's reply has no type (kty).",
			fixReply,
		},
		{
			ErrorGetKeyByNameExtractKeyN, "ErrorGetKeyByNameExtractKeyN", SCPErrFailure, whyReply,
			"The key in the vault's reply lacks its public number: n of an RSA key, or x, y or crv of an EC key.",
			fixReply,
		},
		{
			ErrorGetKeyByNameBase64DecodeN, "ErrorGetKeyByNameBase64DecodeN", SCPErrFailure, whyReply,
			"The public number (n) of the key in the vault's reply is not base64url, or no number of its declared kind.",
			fixReply,
		},
		{
			ErrorGetKeyByNameExtractKeyE, "ErrorGetKeyByNameExtractKeyE", SCPErrFailure, whyReply,
			"The RSA key in the vault's reply has no public exponent (e).",
			fixReply,
		},
		{
			ErrorGetKeyByNameBase64DecodeE, "ErrorGetKeyByNameBase64DecodeE", SCPErrFailure, whyReply,
			"The public exponent (e) of the RSA key in the vault's reply is not base64url, or not an odd number from 3 to 2^31-1.",
			fixReply,
		},
		{
			ErrorGetKeyByNameExtractKeyUri, "ErrorGetKeyByNameExtractKeyUri", SCPErrFailure, whyReply,
			"The id (kid) of the key in the vault's reply is not an https address of the form vault/keys/name/version, or is that of another key or version than was asked for.",
			fixReply,
		},
	}
}

// backupKeyEntries are backup; restore answers with a key and has the codes of get.
func backupKeyEntries() []entry {
	return []entry{
		{
			ErrorBackupKeyOutOfMemoryConvertResponseString, "ErrorBackupKeyOutOfMemoryConvertResponseString", SCPErrFailure, whyBudget,
			"The vault's reply with the backup is longer than Limits.Backup (24 MiB).",
			"Raise Limits.Backup: a backup holds every version of the key, so it grows with each rotation.",
		},
		{
			ErrorBackupKeyOutOfMemoryConcatPath, "ErrorBackupKeyOutOfMemoryConcatPath", SCPErrFailure, whyBudget,
			"Local: the path of the backup request would be longer than Limits.Path (2 KiB); nothing was sent.",
			fixPath,
		},
		{
			ErrorBackupKeyOutOfMemoryConcatHeader, "ErrorBackupKeyOutOfMemoryConcatHeader", SCPErrFailure, whyBudget,
			"Local: the Authorization header of the backup request would be longer than Limits.Authorization (32 KiB); nothing was sent.",
			fixHeader,
		},
		{
			ErrorBackupKeyNoResponse, "ErrorBackupKeyNoResponse", SCPErrFailure, whyReply,
			"The vault answered HTTP 200 with an empty body where the backup should be.",
			fixEmpty,
		},
		{
			ErrorBackupKeyJsonParser, "ErrorBackupKeyJsonParser", SCPErrFailure, whyReply,
			"The vault's reply to the backup request is not JSON; often it is a page of a proxy or portal.",
			fixJSON,
		},
		{
			ErrorBackupKeyExtractValue, "ErrorBackupKeyExtractValue", SCPErrFailure, whyReply,
			"The vault's reply to the backup request is JSON but holds no value.",
			fixReply,
		},
		{
			ErrorBackupKeyBase64DecodeValue, "ErrorBackupKeyBase64DecodeValue", SCPErrFailure, whyReply,
			"The backup in the vault's reply is not base64url; it was not handed out, as it could not be restored.",
			fixReply,
		},
	}
}

// wrapKeyEntries are wrapping a key.
func wrapKeyEntries() []entry {
	return []entry{
		{
			ErrorWrapKeyOutOfMemoryConvertResponseString, "ErrorWrapKeyOutOfMemoryConvertResponseString", SCPErrFailure, whyBudget,
			"The vault's reply to the wrap request is longer than Limits.Result (64 KiB).",
			"Check that the vault answers and not a proxy's page; raise Limits.Result only for a proper reply.",
		},
		{
			ErrorWrapKeyOutOfMemoryConcatPath, "ErrorWrapKeyOutOfMemoryConcatPath", SCPErrFailure, whyBudget,
			"Local: the path of the wrap request would be longer than Limits.Path (2 KiB); nothing was sent.",
			fixPath,
		},
		{
			ErrorWrapKeyOutOfMemoryConcatHeader, "ErrorWrapKeyOutOfMemoryConcatHeader", SCPErrFailure, whyBudget,
			"Local: the Authorization header of the wrap request would be longer than Limits.Authorization (32 KiB); nothing was sent.",
			fixHeader,
		},
		{
			ErrorWrapKeyOutOfMemoryConcatBody, "ErrorWrapKeyOutOfMemoryConcatBody", SCPErrFailure, whyBudget,
			"Local: the body of the wrap request would be longer than Limits.Request (1 MiB); nothing was sent.",
			"Check that a key is being wrapped (16 to 64 bytes as a rule) and not the data itself; then raise Limits.Request.",
		},
		{
			ErrorWrapKeyOutOfMemoryConvertEncodedBody, "ErrorWrapKeyOutOfMemoryConvertEncodedBody", SCPErrFailure, whyBudget,
			"Local: the key to wrap, in base64, would be longer than Limits.Value (8 KiB); nothing was sent.",
			"Check that a key is being wrapped (16 to 64 bytes as a rule) and not the data itself; then raise Limits.Value.",
		},
		{
			ErrorWrapKeyBase64EncodeKey, "ErrorWrapKeyBase64EncodeKey", SCPErrInvalidArgument, whyInput,
			"Local: the key to wrap is empty; nothing was sent.",
			"Pass the bytes of the key to wrap; check why the caller has none.",
		},
		{
			ErrorWrapKeyBase64DecodeValue, "ErrorWrapKeyBase64DecodeValue", SCPErrFailure, whyReply,
			"The wrapped key in the vault's reply is not base64url; it was not handed out, as it could not be unwrapped.",
			fixReply,
		},
		{
			ErrorWrapKeyJsonParser, "ErrorWrapKeyJsonParser", SCPErrFailure, whyReply,
			"The vault's reply to the wrap request is not JSON; often it is a page of a proxy or portal.",
			fixJSON,
		},
		{
			ErrorWrapKeyExtractValue, "ErrorWrapKeyExtractValue", SCPErrFailure, whyReply,
			"The vault's reply to the wrap request is JSON but holds no value, or another key, or another version, than the one asked for has made it.",
			fixReply,
		},
		{
			ErrorWrapKeyNoResponse, "ErrorWrapKeyNoResponse", SCPErrFailure, whyReply,
			"The vault answered HTTP 200 with an empty body where the wrapped key should be.",
			fixEmpty,
		},
	}
}

// unwrapKeyEntries are unwrapping a key.
func unwrapKeyEntries() []entry {
	return []entry{
		{
			ErrorUnwrapKeyOutOfMemoryConvertResponseString, "ErrorUnwrapKeyOutOfMemoryConvertResponseString", SCPErrFailure, whyBudget,
			"The vault's reply to the unwrap request is longer than Limits.Result (64 KiB).",
			"Check that the vault answers and not a proxy's page; raise Limits.Result only for a proper reply.",
		},
		{
			ErrorUnwrapKeyOutOfMemoryConcatPath, "ErrorUnwrapKeyOutOfMemoryConcatPath", SCPErrFailure, whyBudget,
			"Local: the path of the unwrap request would be longer than Limits.Path (2 KiB); nothing was sent.",
			fixPath,
		},
		{
			ErrorUnwrapKeyOutOfMemoryConcatHeader, "ErrorUnwrapKeyOutOfMemoryConcatHeader", SCPErrFailure, whyBudget,
			"Local: the Authorization header of the unwrap request would be longer than Limits.Authorization (32 KiB); nothing was sent.",
			fixHeader,
		},
		{
			ErrorUnwrapKeyOutOfMemoryConcatBody, "ErrorUnwrapKeyOutOfMemoryConcatBody", SCPErrFailure, whyBudget,
			"Local: the body of the unwrap request would be longer than Limits.Request (1 MiB); nothing was sent.",
			"Check that a wrapped key is passed in (256 to 512 bytes) and not the encrypted data; then raise Limits.Request.",
		},
		{
			ErrorUnwrapKeyOutOfMemoryConvertEncodedBody, "ErrorUnwrapKeyOutOfMemoryConvertEncodedBody", SCPErrFailure, whyBudget,
			"Local: the wrapped key, in base64, would be longer than Limits.Value (8 KiB); nothing was sent.",
			"Check that a wrapped key is passed in (256 to 512 bytes) and not the encrypted data; then raise Limits.Value.",
		},
		{
			ErrorUnwrapKeyBase64EncodeKey, "ErrorUnwrapKeyBase64EncodeKey", SCPErrInvalidArgument, whyInput,
			"Local: the wrapped key is empty; nothing was sent.",
			"Pass the bytes that wrapping returned; check where they are stored and why none came back.",
		},
		{
			ErrorUnwrapKeyBase64DecodeValue, "ErrorUnwrapKeyBase64DecodeValue", SCPErrFailure, whyReply,
			"The unwrapped key in the vault's reply is not base64url; it was not handed out.",
			fixReply,
		},
		{
			ErrorUnwrapKeyJsonParser, "ErrorUnwrapKeyJsonParser", SCPErrFailure, whyReply,
			"The vault's reply to the unwrap request is not JSON; often it is a page of a proxy or portal.",
			fixJSON,
		},
		{
			ErrorUnwrapKeyExtractValue, "ErrorUnwrapKeyExtractValue", SCPErrFailure, whyReply,
			"The vault's reply to the unwrap request is JSON but holds no value, or another key, or another version, than the one asked for has made it.",
			fixReply,
		},
		{
			ErrorUnwrapKeyNoResponse, "ErrorUnwrapKeyNoResponse", SCPErrFailure, whyReply,
			"The vault answered HTTP 200 with an empty body where the unwrapped key should be.",
			fixEmpty,
		},
	}
}
