package akv

import (
	"net/http"

	"github.com/akv-ekm/ekm"
)

// An operation is what the service is asked for, under the name that errors,
// logs and the connector's event entries have for it.
type operation struct {
	name   string
	method string
	family family
	// creates says that it makes keys or versions. It is not repeated where it may
	// have been done: rotating twice makes two versions. And vaults limit it to a
	// few in ten seconds, apart from everything else; a 429 to it says nothing of
	// the rest, which must not queue behind it.
	creates bool
}

func opGetKey() operation      { return operation{"getKey", http.MethodGet, keyFamily, false} }
func opListKeys() operation    { return operation{"listKeys", http.MethodGet, keyFamily, false} }
func opKeyVersions() operation { return operation{"listKeyVersions", http.MethodGet, keyFamily, false} }
func opRotateKey() operation   { return operation{"rotateKey", http.MethodPost, keyFamily, true} }
func opRestoreKey() operation  { return operation{"restoreKey", http.MethodPost, keyFamily, true} }
func opBackupKey() operation   { return operation{"backupKey", http.MethodPost, backupFamily, false} }
func opWrapKey() operation     { return operation{"wrapKey", http.MethodPost, wrapFamily, false} }
func opUnwrapKey() operation   { return operation{"unwrapKey", http.MethodPost, unwrapFamily, false} }

// A family is a hundred of the documented codes: 34xx for what answers with
// keys, 35xx for backup, 36xx for wrap, 37xx for unwrap.
type family int

const (
	keyFamily family = iota
	backupFamily
	wrapFamily
	unwrapFamily
)

// codes are the family's codes by the step that fails. Each step is one place in
// this package, the same for all families; each code stands in one line here.
type codes struct {
	path    ekm.Code // the path is over its limit
	header  ekm.Code // the Authorization header is over its limit
	value   ekm.Code // the base64 text is over its limit
	encode  ekm.Code // there is nothing to encode
	request ekm.Code // the request body is over its limit
	reply   ekm.Code // the reply is over its limit
	empty   ekm.Code // the reply is empty
	json    ekm.Code // the reply is not the JSON expected; 3404 is package jwk's
	member  ekm.Code // the reply lacks a member
	decode  ekm.Code // the reply's value is not base64
}

func (f family) codes() codes {
	switch f {
	case backupFamily:
		return codes{
			path:   ekm.ErrorBackupKeyOutOfMemoryConcatPath,
			header: ekm.ErrorBackupKeyOutOfMemoryConcatHeader,
			reply:  ekm.ErrorBackupKeyOutOfMemoryConvertResponseString,
			empty:  ekm.ErrorBackupKeyNoResponse,
			json:   ekm.ErrorBackupKeyJsonParser,
			member: ekm.ErrorBackupKeyExtractValue,
			decode: ekm.ErrorBackupKeyBase64DecodeValue,
		}
	case wrapFamily:
		return codes{
			path:    ekm.ErrorWrapKeyOutOfMemoryConcatPath,
			header:  ekm.ErrorWrapKeyOutOfMemoryConcatHeader,
			value:   ekm.ErrorWrapKeyOutOfMemoryConvertEncodedBody,
			encode:  ekm.ErrorWrapKeyBase64EncodeKey,
			request: ekm.ErrorWrapKeyOutOfMemoryConcatBody,
			reply:   ekm.ErrorWrapKeyOutOfMemoryConvertResponseString,
			empty:   ekm.ErrorWrapKeyNoResponse,
			json:    ekm.ErrorWrapKeyJsonParser,
			member:  ekm.ErrorWrapKeyExtractValue,
			decode:  ekm.ErrorWrapKeyBase64DecodeValue,
		}
	case unwrapFamily:
		return codes{
			path:    ekm.ErrorUnwrapKeyOutOfMemoryConcatPath,
			header:  ekm.ErrorUnwrapKeyOutOfMemoryConcatHeader,
			value:   ekm.ErrorUnwrapKeyOutOfMemoryConvertEncodedBody,
			encode:  ekm.ErrorUnwrapKeyBase64EncodeKey,
			request: ekm.ErrorUnwrapKeyOutOfMemoryConcatBody,
			reply:   ekm.ErrorUnwrapKeyOutOfMemoryConvertResponseString,
			empty:   ekm.ErrorUnwrapKeyNoResponse,
			json:    ekm.ErrorUnwrapKeyJsonParser,
			member:  ekm.ErrorUnwrapKeyExtractValue,
			decode:  ekm.ErrorUnwrapKeyBase64DecodeValue,
		}
	default:
		return codes{
			path:   ekm.ErrorGetKeyByNameOutOfMemoryConcatPath,
			header: ekm.ErrorGetKeyByNameOutOfMemoryConcatHeader,
			reply:  ekm.ErrorGetKeyByNameOutOfMemoryConvertResponseString,
			empty:  ekm.ErrorGetKeyByNameNoResponse,
		}
	}
}

// replyLimit returns the family's own limit for replies and the field of Limits that
// sets it.
func (f family) replyLimit(l Limits) (limit int, field string) {
	switch f {
	case backupFamily:
		return l.Backup, "Backup"
	case wrapFamily, unwrapFamily:
		return l.Result, "Result"
	default:
		return l.Key, "Key"
	}
}
