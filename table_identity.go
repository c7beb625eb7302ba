package ekm

// identityEntries are the proof of identity, made on this machine before the
// login endpoint is asked: client secret, PFX, PEM, legacy key, assertion.
func identityEntries() []entry {
	return []entry{
		{
			ErrorSecretAuthParamsGetRequestBody, "ErrorSecretAuthParamsGetRequestBody", SCPErrAuthFailure, whyIdentity,
			"Local: client id or client secret is empty or unusable, so no token request can be made from them.",
			"Set both: the client id as a GUID, and the secret's value as shown once when it was created, not its id.",
		},
		{
			ErrorJWTTokenCreateHeader, "ErrorJWTTokenCreateHeader", SCPErrAuthFailure, whyIdentity,
			"Local: the header of the signed assertion cannot be made, as there is no certificate thumbprint for it.",
			"Supply the certificate along with the key, or its thumbprint in the options.",
		},
		{
			ErrorJWTTokenCreatePayloadGUID, "ErrorJWTTokenCreatePayloadGUID", SCPErrAuthFailure, whyIdentity,
			"Local: the operating system gave no random bytes for the assertion's id.",
			"Check the random number source of this machine or container, and look at the cause in the error.",
		},
		{
			ErrorJWTTokenCreatePayload, "ErrorJWTTokenCreatePayload", SCPErrAuthFailure, whyIdentity,
			"Local: the content of the assertion cannot be made: client id or audience is empty, or a claim cannot be encoded.",
			"Check that the client id is set and is plain text, and that tenant and login host are known.",
		},
		{
			ErrorJWTTokenCreateSignature, "ErrorJWTTokenCreateSignature", SCPErrAuthFailure, whyIdentity,
			"Local: the signer returned no signature for the assertion, or one of the wrong size for its key.",
			"Test the signer (key file, HSM or TPM) on its own, and check that its public key belongs to the certificate.",
		},
		{
			ErrorJWTTokenSignatureHashAlg, "ErrorJWTTokenSignatureHashAlg", SCPErrAuthFailure, whyIdentity,
			"Local: SHA-256 is not available in this program, or the assertion was to be signed with an unsupported algorithm.",
			"Use an algorithm that Entra ID accepts for assertions (PS256 or RS256) and a build that contains SHA-256.",
		},
		{
			ErrorJWTTokenSignatureHash, "ErrorJWTTokenSignatureHash", SCPErrAuthFailure, whyIdentity,
			"Local: hashing the assertion failed before it could be signed.",
			"Look at the cause in the error, and check whether a restricted crypto mode such as FIPS is on.",
		},
		{
			ErrorJWTTokenSignatureSignHash, "ErrorJWTTokenSignatureSignHash", SCPErrAuthFailure, whyIdentity,
			"Local: the signer refused to sign the assertion: key in memory, HSM or TPM.",
			"Look at the cause in the error; for an HSM or TPM, check that it is unlocked and that the service account may use the key.",
		},
		{
			ErrorJWTTokenCreateToken, "ErrorJWTTokenCreateToken", SCPErrAuthFailure, whyIdentity,
			"Local: header, content and signature could not be joined into an assertion, or it came out longer than allowed.",
			"Remove needless certificates from the chain that goes into the assertion, and check the client id for pasted text.",
		},

		{
			ErrorPfxCertAuthParamsImportPfx, "ErrorPfxCertAuthParamsImportPfx", SCPErrAuthFailure, whyIdentity,
			"Local: the PFX cannot be read: wrong password, damaged file, unsupported encryption, or more key derivation iterations than allowed.",
			"Check the password first; then export the PFX again with AES-256 and the exporting tool's default iterations.",
		},
		{
			ErrorPfxCertAuthParamsGetThumbprint, "ErrorPfxCertAuthParamsGetThumbprint", SCPErrAuthFailure, whyIdentity,
			"Local: the PFX holds no certificate that belongs to its private key, or the thumbprint option is malformed.",
			"Export the PFX again with certificate and private key together, or correct the thumbprint.",
		},
		{
			ErrorPfxCertAuthParamsGetPrivateKey, "ErrorPfxCertAuthParamsGetPrivateKey", SCPErrAuthFailure, whyIdentity,
			"Local: the PFX holds certificates but no private key.",
			"Export it again with the private key; on Windows the key must be marked as exportable.",
		},
		{
			ErrorPfxCertAuthParamsSignAlg, "ErrorPfxCertAuthParamsSignAlg", SCPErrAuthFailure, whyIdentity,
			"Local: the private key in the PFX is not RSA, or cannot sign with the chosen algorithm.",
			"Use a certificate with an RSA key for the app registration.",
		},
		{
			ErrorPfxCertAuthParamsImportForSign, "ErrorPfxCertAuthParamsImportForSign", SCPErrAuthFailure, whyIdentity,
			"Local: the RSA key in the PFX cannot sign: its numbers do not fit together, or its size is not supported.",
			"Export the PFX again from the original store; if the key is too small, create a certificate with 2048 bits or more.",
		},
		{
			ErrorPfxCertAuthParamsCreateRequestBody, "ErrorPfxCertAuthParamsCreateRequestBody", SCPErrAuthFailure, whyIdentity,
			"Local: no token request can be made from the PFX: the client id is empty, or its certificate has expired or is not valid yet.",
			"Check the client id, the certificate's dates and this machine's clock; renew the certificate and add the new one to the app registration.",
		},

		{
			ErrorPEMCertAuthParamsGetThumbprint, "ErrorPEMCertAuthParamsGetThumbprint", SCPErrAuthFailure, whyIdentity,
			"Local: no thumbprint for the PEM: the option is not 20 or 32 bytes in base64 or hex, there is neither certificate nor thumbprint, or the certificate belongs to another key.",
			"Put the certificate that belongs to the key into the PEM, or give its thumbprint in hex as the app registration shows it.",
		},
		{
			ErrorPEMCertAuthParamsGetPrivateKey, "ErrorPEMCertAuthParamsGetPrivateKey", SCPErrAuthFailure, whyIdentity,
			"Local: the PEM holds no private key that can be read: missing, damaged, or encrypted with another password.",
			"Check that the PEM has a PRIVATE KEY block, and that the password is right if the block is encrypted.",
		},
		{
			ErrorPEMCertAuthParamsSignAlg, "ErrorPEMCertAuthParamsSignAlg", SCPErrAuthFailure, whyIdentity,
			"Local: the private key in the PEM is not RSA.",
			"Use a certificate with an RSA key for the app registration.",
		},
		{
			ErrorPEMCertAuthParamsImportForSign, "ErrorPEMCertAuthParamsImportForSign", SCPErrAuthFailure, whyIdentity,
			"Local: the RSA key in the PEM cannot sign: its numbers do not fit together, or its size is not supported.",
			"Export the PEM again from the original store; if the key is too small, create a certificate with 2048 bits or more.",
		},
		{
			ErrorPEMCertAuthParamsCreateRequestBody, "ErrorPEMCertAuthParamsCreateRequestBody", SCPErrAuthFailure, whyIdentity,
			"Local: no token request can be made from the PEM: the client id is empty, or its certificate has expired or is not valid yet.",
			"Check the client id, the certificate's dates and this machine's clock; renew the certificate and add the new one to the app registration.",
		},

		{
			ErrorLegacyPrivateKeyAuthParamsSignAlg, "ErrorLegacyPrivateKeyAuthParamsSignAlg", SCPErrAuthFailure, whyIdentity,
			"Local: the legacy key is no RSA private key: only a public key, a DSS key, or not one of the known forms (MSBLOB, PVK, PKCS #1, PKCS #8).",
			"Export the RSA private key again in one of these forms, or use PFX or PEM instead.",
		},
		{
			ErrorLegacyPrivateKeyAuthParamsImportForSign, "ErrorLegacyPrivateKeyAuthParamsImportForSign", SCPErrAuthFailure, whyIdentity,
			"Local: the legacy key cannot be used: cut off, encrypted with another password, or its numbers do not fit together.",
			"Check the password and that the file was copied whole, in binary; then export it again.",
		},
		{
			ErrorLegacyPrivateKeyAuthParamsCreateRequestBody, "ErrorLegacyPrivateKeyAuthParamsCreateRequestBody", SCPErrAuthFailure, whyIdentity,
			"Local: no token request can be made from the legacy key: client id empty, or thumbprint missing or malformed.",
			"Give client id and certificate thumbprint (20 or 32 bytes, in hex or base64), as the key file holds neither.",
		},
	}
}
