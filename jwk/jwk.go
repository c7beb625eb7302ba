// Package jwk reads what Key Vault answers about keys: the key bundle, a JSON
// Web Key (RFC 7517, RFC 7518) with attributes, and the pages of key lists.
//
// The sender is not trusted: numbers are checked to be what they claim, RSA
// sizes are those that Key Vault makes, and points lie on their curve. Key ids hold
// the characters and the lengths that [SplitID] allows and no others.
package jwk

import (
	"crypto"
	"encoding/json"
	"fmt"
	"time"

	"github.com/akv-ekm/ekm"
)

// An Item is what a key list tells of a key; a [Key] has it too.
type Item struct {
	ID      string // the key's URL, as sent; in a list of keys without the version
	Vault   string // ID's host, in lower case, with port if it is not 443
	Name    string // ID's key name
	Version string // ID's version; empty in a list of keys
	Attributes
	Tags    map[string]string
	Managed bool // made by the vault for one of its certificates
}

// Attributes are the management attributes of a key version. A time that was
// not sent is zero.
type Attributes struct {
	Enabled            bool
	NotBefore, Expires time.Time // outside them wrapping is refused, unwrapping is not
	Created, Updated   time.Time
	RecoveryLevel      string // such as "Recoverable+Purgeable"
	RecoverableDays    int    // days in which a deleted key can be recovered
	Exportable         bool
	HSMPlatform        string
}

// A Key is one version of a key: its public half and its attributes.
type Key struct {
	Item
	Type   string           // kty as sent: "RSA", "RSA-HSM", "EC" or "EC-HSM"
	Curve  string           // crv of an EC key: "P-256", "P-384", "P-521" or "P-256K"
	Bits   int              // size of the modulus or of the curve's field
	Ops    []string         // the permitted operations: "wrapKey", "unwrapKey", ...
	Public crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey, or *Secp256k1 for P-256K
}

// Parse reads a key bundle, the answer to get, create, rotate and restore,
// whatever key it is about; [Asked.Parse] reads the answer to a request.
//
// Errors are of type [*ekm.Error]: 3404 if bundle is no JSON of that shape; 3405
// without a key; 3406 without a kid; 3407 without a kty, or an EC key without a
// crv; 3408 and 3410 without n and e (EC: x and y); 3409 and 3411 if these are no
// base64url or no such numbers; 3412 if kid is no URL of a key version; 3
// (SCPErrNotSupported) for other key types and curves, and for RSA keys of other
// sizes than 2048, 3072 and 4096 bits.
func Parse(bundle []byte) (Key, error) { return Asked{}.Parse(bundle) }

// Parse is the function [Parse] for the answer to a request about a: 3412 is also
// for a kid that names another vault, key or version.
func (a Asked) Parse(bundle []byte) (Key, error) {
	var w wireBundle
	if err := decode(bundle, &w); err != nil {
		return Key{}, err
	}
	var wk wireKey
	if !isObject(w.Key) || json.Unmarshal(w.Key, &wk) != nil {
		return Key{}, fail(ekm.ErrorGetKeyByNameExtractKeyNode, "the reply has no key object that can be read")
	}
	item, err := w.wireItem.item(wk.KID, a, true)
	if err != nil {
		return Key{}, err
	}
	k := Key{Item: item, Type: text(wk.KTY), Curve: text(wk.CRV), Ops: wk.Ops}
	if err := k.setPublic(wk); err != nil {
		return Key{}, err
	}
	return k, nil
}

// A Page is one page of a key list.
type Page struct {
	Items []Item
	Next  string // URL of the next page; empty on the last one
}

// ParsePage reads one page of a list of keys or of a key's versions. A page may
// be empty and still not be the last. Errors are those of [Parse]: 3404, 3406, 3412.
func ParsePage(page []byte) (Page, error) { return Asked{}.ParsePage(page) }

// ParsePage is the function [ParsePage] for the answer to a request about a: the
// vault's keys, or the versions of the key that a names. 3412 is also for an item
// of another vault or key, and for a version of a key whose kid has none.
func (a Asked) ParsePage(page []byte) (Page, error) {
	var w wirePage
	if err := decode(page, &w); err != nil {
		return Page{}, err
	}
	p := Page{Next: w.NextLink}
	for _, wi := range *w.Value {
		item, err := wi.item(wi.KID, a, a.Name != "")
		if err != nil {
			return Page{}, err
		}
		p.Items = append(p.Items, item)
	}
	return p, nil
}

func fail(code ekm.Code, format string, args ...any) error {
	return &ekm.Error{Code: code, Party: ekm.Vault, Phase: ekm.PhaseDecode, Err: fmt.Errorf(format, args...)}
}
