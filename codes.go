// The symbols are Microsoft's, verbatim, so that a symbol in a log leads straight
// to its constant; Go's initialism rule (Http) is off for this file alone.

package ekm

import "strconv"

// A Code is one of the documented numbers of Microsoft's SQL Server Connector
// for Azure Key Vault. It is an error by itself, so it serves as a target:
//
//	errors.Is(err, ekm.ErrorAKVDoesNotExist)
//
// A symbol does not identify a code, the number does: twenty symbols have two
// numbers, see [Code.Legacy].
type Code int

// All 145 documented codes.
const (
	// The results that every EKM provider shares. A provider returns 0 for success, 2
	// and 4 where the protocol wants them, and for a failure the number of its cause,
	// see [ProviderCode]. Every other code folds onto one of these, see [Code.Provider].
	SCPErrSuccess            Code = 0
	SCPErrFailure            Code = 1
	SCPErrInsufficientBuffer Code = 2
	SCPErrNotSupported       Code = 3
	SCPErrNotFound           Code = 4
	SCPErrAuthFailure        Code = 5
	SCPErrInvalidArgument    Code = 6
	SCPErrProviderError      Code = 7

	// HTTP statuses that the connector's event log prints with the operation that
	// met them. They are not raised; [Error] carries both operation and status.
	AcquireToken Code = 401
	GetKeyByName Code = 404

	// The provider's own codes: credential string, thumbprints and key map.
	SCPErrKeyNameDoesNotFitThumbprint Code = 2049
	SCPErrPasswordTooShort            Code = 2050
	SCPErrOutOfMemory                 Code = 2051
	SCPErrConvertKeyNameToThumbprint  Code = 2052
	SCPErrConvertThumbprintToKeyName  Code = 2053
	SCPErrThumbprintExistedInRegistry Code = 2057
	SCPErrFailureInRegistry           Code = 2058

	// Valid in both generations of the connector.
	ErrorSuccess Code = 3000
	ErrorUnknown Code = 3001

	// The older connector generation's numbers of the HTTP symbols. They are never
	// raised; [Code.Legacy] leads from a current code to its older number.
	LegacyErrorHttpCreateHttpClientOutOfMemory         Code = 3002
	LegacyErrorHttpOpenSession                         Code = 3003
	LegacyErrorHttpConnectSession                      Code = 3004
	LegacyErrorHttpAttemptConnect                      Code = 3005
	LegacyErrorHttpOpenRequest                         Code = 3006
	LegacyErrorHttpAddRequestHeader                    Code = 3007
	LegacyErrorHttpSendRequest                         Code = 3008
	LegacyErrorHttpGetResponseCode                     Code = 3009
	LegacyErrorHttpResponseCodeUnauthorized            Code = 3010
	LegacyErrorHttpResponseCodeThrottled               Code = 3011
	LegacyErrorHttpResponseCodeClientError             Code = 3012
	LegacyErrorHttpResponseCodeServerError             Code = 3013
	LegacyErrorHttpQueryHeader                         Code = 3014
	LegacyErrorHttpQueryHeaderOutOfMemoryCopyHeader    Code = 3015
	LegacyErrorHttpQueryHeaderOutOfMemoryReallocBuffer Code = 3016
	LegacyErrorHttpQueryHeaderNotFound                 Code = 3017
	LegacyErrorHttpQueryHeaderUpdateBufferLength       Code = 3018
	LegacyErrorHttpReadData                            Code = 3019
	LegacyErrorHttpResourceNotFound                    Code = 3076
	LegacyErrorHttpOperationForbidden                  Code = 3077

	// One HTTP exchange, with whichever party.
	ErrorHttpCreateHttpClientOutOfMemory            Code = 3100
	ErrorHttpOpenSession                            Code = 3101
	ErrorHttpConnectSession                         Code = 3102
	ErrorHttpAttemptConnect                         Code = 3103
	ErrorHttpOpenRequest                            Code = 3104
	ErrorHttpAddRequestHeader                       Code = 3105
	ErrorHttpSendRequest                            Code = 3106
	ErrorHttpGetResponseCode                        Code = 3107
	ErrorHttpResponseCodeUnauthorized               Code = 3108
	ErrorHttpResponseCodeThrottled                  Code = 3109
	ErrorHttpResponseCodeClientError                Code = 3110
	ErrorHttpResponseCodeServerError                Code = 3111
	ErrorHttpResourceNotFound                       Code = 3112
	ErrorHttpOperationForbidden                     Code = 3113
	ErrorHttpQueryHeader                            Code = 3114
	ErrorHttpQueryHeaderOutOfMemoryCopyHeader       Code = 3115
	ErrorHttpQueryHeaderOutOfMemoryReallocBuffer    Code = 3116
	ErrorHttpQueryHeaderNotFound                    Code = 3117
	ErrorHttpQueryHeaderUpdateBufferLength          Code = 3118
	ErrorHttpReadData                               Code = 3119
	ErrorHttpGetResponseOutOfMemoryCreateTempBuffer Code = 3120
	ErrorHttpGetResponseOutOfMemoryGetResultString  Code = 3121
	ErrorHttpGetResponseOutOfMemoryAppendResponse   Code = 3122

	// The vault's 401 challenge: where to prove identity, and for which resource.
	ErrorGetAADValuesOutOfMemoryConcatPath Code = 3200
	ErrorGetAADDomainUrlStartPosition      Code = 3201
	ErrorGetAADDomainUrlStopPosition       Code = 3202
	ErrorGetAADDomainUrlMalformatted       Code = 3203
	ErrorGetAADDomainUrlOutOfMemoryAlloc   Code = 3204
	ErrorGetAADTenantIdOutOfMemoryAlloc    Code = 3205
	ErrorGetAKVResourceUrlStartPosition    Code = 3206
	ErrorGetAKVResourceUrlStopPosition     Code = 3207
	ErrorGetAKVResourceUrlOutOfMemoryAlloc Code = 3208

	// The token request.
	ErrorGetTokenOutOfMemoryConcatPath            Code = 3300
	ErrorGetTokenOutOfMemoryConcatBody            Code = 3301
	ErrorGetTokenOutOfMemoryConvertResponseString Code = 3302
	ErrorGetTokenBadCredentials                   Code = 3303
	ErrorGetTokenFailedToGetToken                 Code = 3304
	ErrorGetTokenRejected                         Code = 3305
	ErrorGetTokenNotFound                         Code = 3306
	ErrorGetTokenJsonParser                       Code = 3307
	ErrorGetTokenExtractToken                     Code = 3308

	// Getting a key; also lists, rotation and restore, which answer with keys.
	ErrorGetKeyByNameOutOfMemoryConvertResponseString Code = 3400
	ErrorGetKeyByNameOutOfMemoryConcatPath            Code = 3401
	ErrorGetKeyByNameOutOfMemoryConcatHeader          Code = 3402
	ErrorGetKeyByNameNoResponse                       Code = 3403
	ErrorGetKeyByNameJsonParser                       Code = 3404
	ErrorGetKeyByNameExtractKeyNode                   Code = 3405
	ErrorGetKeyByNameExtractKeyId                     Code = 3406
	ErrorGetKeyByNameExtractKeyType                   Code = 3407
	ErrorGetKeyByNameExtractKeyN                      Code = 3408
	ErrorGetKeyByNameBase64DecodeN                    Code = 3409
	ErrorGetKeyByNameExtractKeyE                      Code = 3410
	ErrorGetKeyByNameBase64DecodeE                    Code = 3411
	ErrorGetKeyByNameExtractKeyUri                    Code = 3412

	// Backing up a key.
	ErrorBackupKeyOutOfMemoryConvertResponseString Code = 3500
	ErrorBackupKeyOutOfMemoryConcatPath            Code = 3501
	ErrorBackupKeyOutOfMemoryConcatHeader          Code = 3502
	ErrorBackupKeyNoResponse                       Code = 3503
	ErrorBackupKeyJsonParser                       Code = 3504
	ErrorBackupKeyExtractValue                     Code = 3505
	ErrorBackupKeyBase64DecodeValue                Code = 3506

	// Wrapping a key.
	ErrorWrapKeyOutOfMemoryConvertResponseString Code = 3600
	ErrorWrapKeyOutOfMemoryConcatPath            Code = 3601
	ErrorWrapKeyOutOfMemoryConcatHeader          Code = 3602
	ErrorWrapKeyOutOfMemoryConcatBody            Code = 3603
	ErrorWrapKeyOutOfMemoryConvertEncodedBody    Code = 3604
	ErrorWrapKeyBase64EncodeKey                  Code = 3605
	ErrorWrapKeyBase64DecodeValue                Code = 3606
	ErrorWrapKeyJsonParser                       Code = 3607
	ErrorWrapKeyExtractValue                     Code = 3608
	ErrorWrapKeyNoResponse                       Code = 3609

	// Unwrapping a key.
	ErrorUnwrapKeyOutOfMemoryConvertResponseString Code = 3700
	ErrorUnwrapKeyOutOfMemoryConcatPath            Code = 3701
	ErrorUnwrapKeyOutOfMemoryConcatHeader          Code = 3702
	ErrorUnwrapKeyOutOfMemoryConcatBody            Code = 3703
	ErrorUnwrapKeyOutOfMemoryConvertEncodedBody    Code = 3704
	ErrorUnwrapKeyBase64EncodeKey                  Code = 3705
	ErrorUnwrapKeyBase64DecodeValue                Code = 3706
	ErrorUnwrapKeyJsonParser                       Code = 3707
	ErrorUnwrapKeyExtractValue                     Code = 3708
	ErrorUnwrapKeyNoResponse                       Code = 3709

	// The proof of identity: client secret, PFX, PEM, legacy key, assertion.
	ErrorSecretAuthParamsGetRequestBody              Code = 3800
	ErrorJWTTokenCreateHeader                        Code = 3801
	ErrorJWTTokenCreatePayloadGUID                   Code = 3802
	ErrorJWTTokenCreatePayload                       Code = 3803
	ErrorJWTTokenCreateSignature                     Code = 3804
	ErrorJWTTokenSignatureHashAlg                    Code = 3805
	ErrorJWTTokenSignatureHash                       Code = 3806
	ErrorJWTTokenSignatureSignHash                   Code = 3807
	ErrorJWTTokenCreateToken                         Code = 3808
	ErrorPfxCertAuthParamsImportPfx                  Code = 3809
	ErrorPfxCertAuthParamsGetThumbprint              Code = 3810
	ErrorPfxCertAuthParamsGetPrivateKey              Code = 3811
	ErrorPfxCertAuthParamsSignAlg                    Code = 3812
	ErrorPfxCertAuthParamsImportForSign              Code = 3813
	ErrorPfxCertAuthParamsCreateRequestBody          Code = 3814
	ErrorPEMCertAuthParamsGetThumbprint              Code = 3815
	ErrorPEMCertAuthParamsGetPrivateKey              Code = 3816
	ErrorPEMCertAuthParamsSignAlg                    Code = 3817
	ErrorPEMCertAuthParamsImportForSign              Code = 3818
	ErrorPEMCertAuthParamsCreateRequestBody          Code = 3819
	ErrorLegacyPrivateKeyAuthParamsSignAlg           Code = 3820
	ErrorLegacyPrivateKeyAuthParamsImportForSign     Code = 3821
	ErrorLegacyPrivateKeyAuthParamsCreateRequestBody Code = 3822

	// The name service.
	ErrorAKVDoesNotExist Code = 3900

	// The retry policy.
	ErrorCreateKeyVaultRetryManagerOutOfMemory Code = 4000
)

// A Generation says which list a code's number belongs to.
type Generation string

// The lists that the 145 numbers come from.
const (
	GenerationInterface Generation = "interface" // 0-7: the results that every EKM provider shares
	GenerationEventLog  Generation = "event log" // 401, 404: HTTP statuses, printed with the operation
	GenerationProvider  Generation = "provider"  // 2049-2058: credential string, thumbprints, key map
	GenerationBoth      Generation = "both"      // 3000, 3001: valid in old and current connectors
	GenerationOlder     Generation = "older"     // 3002-3077: connector 1.0.4.0 and older
	GenerationCurrent   Generation = "current"   // 3100-4000: connector 1.0.5.0 and later, and this library
)

// Error is the same text as [Code.String].
func (c Code) Error() string { return c.String() }

// String is number and symbol, "3106 ErrorHttpSendRequest", or, for a number
// outside the documented 145, "3050 (undocumented)".
func (c Code) String() string {
	number := strconv.Itoa(int(c))
	if e, ok := lookup(c); ok {
		return number + " " + e.symbol
	}
	return number + " (undocumented)"
}

// Symbol is the documented symbol, letter for letter ("scp_err_NotFound",
// "acquireToken"), or empty for an undocumented number.
func (c Code) Symbol() string {
	e, _ := lookup(c)
	return e.symbol
}

// Explain says in one or two sentences what happened and where: at the vault, at
// the login endpoint or on this machine. It is never empty, never more than one
// line, and meant for people: its wording may change.
func (c Code) Explain() string {
	if e, ok := lookup(c); ok {
		return e.explain
	}
	if c.inGap() {
		return "Connector 1.0.4.0 and older returned numbers from 3020 to 3075 without documenting them: " +
			"for challenge, token and key replies that have codes from 3120 to 3709 today."
	}
	if c == keyExistsAlready {
		return "This number is not one of the 145 documented codes. Connectors 1.0.0.x returned it for a key that exists already: CREATE ASYMMETRIC KEY with CREATION_DISPOSITION = CREATE_NEW for a name that the vault has."
	}
	return "This number is not one of the 145 documented codes."
}

// Remedy says what to do next. It is never empty, never more than one line, and
// meant for people: its wording may change. [Error.Advice] is more exact where
// the service named the cause.
func (c Code) Remedy() string {
	if e, ok := lookup(c); ok {
		return e.remedy
	}
	if c.inGap() {
		return "Upgrade the connector to 1.0.5.0 or later and repeat the operation: it returns a documented number."
	}
	if c == keyExistsAlready {
		return "Use another key name, or CREATION_DISPOSITION = OPEN_EXISTING for the key that is there; upgrade the connector, as 1.0.0.x is out of support."
	}
	return "Check the number for a typing error, and look for the error's text in the log that it came from."
}

// Legacy is the number that connector 1.0.4.0 and older use for the same symbol:
// 3008 for 3106. Twenty codes, all from 3100 to 3119, have one; for every other
// code Legacy returns 0 and false.
func (c Code) Legacy() (Code, bool) {
	for _, t := range twins {
		if t.current == c {
			return t.older, true
		}
	}
	return 0, false
}

// Generation is the list that the number belongs to, or empty for an
// undocumented number.
func (c Code) Generation() Generation {
	if _, ok := lookup(c); !ok {
		return ""
	}
	switch {
	case c <= SCPErrProviderError:
		return GenerationInterface
	case c <= GetKeyByName:
		return GenerationEventLog
	case c <= SCPErrFailureInRegistry:
		return GenerationProvider
	case c <= ErrorUnknown:
		return GenerationBoth
	case c <= LegacyErrorHttpOperationForbidden:
		return GenerationOlder
	default:
		return GenerationCurrent
	}
}

// Provider folds the code onto 0 to 7, the results that every EKM provider shares.
// It is for callers that know no other numbers. What a provider returns to the
// database engine is [ProviderCode], which keeps the number of the cause. An
// undocumented number is a failure (1).
func (c Code) Provider() Code {
	if e, ok := lookup(c); ok {
		return e.provider
	}
	return SCPErrFailure
}

// ProviderReason says in a short phrase why [Code.Provider] is what it is.
func (c Code) ProviderReason() string {
	if e, ok := lookup(c); ok {
		return e.reason
	}
	return "the number is not documented"
}

// Codes is all 145 documented codes, ascending. The slice is the caller's own.
func Codes() []Code {
	all := entries()
	codes := make([]Code, len(all))
	for i := range all {
		codes[i] = all[i].code
	}
	return codes
}

// inGap reports whether c lies in the hole between the older connector's
// documented numbers.
func (c Code) inGap() bool {
	return LegacyErrorHttpReadData < c && c < LegacyErrorHttpResourceNotFound
}
