package jwk

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/akv-ekm/ekm"
)

// The shapes on the wire: Key Vault REST reference, KeyBundle, KeyItem,
// KeyListResult. Members that have a failure code of their own stay raw, so that
// "absent" and "of the wrong type" are told apart from "no JSON".

type wireBundle struct {
	Key json.RawMessage `json:"key"`
	wireItem
}

type wireItem struct {
	KID        json.RawMessage   `json:"kid"`
	Attributes wireAttributes    `json:"attributes"`
	Tags       map[string]string `json:"tags"`
	Managed    bool              `json:"managed"`
}

type wireAttributes struct {
	Enabled         bool     `json:"enabled"`
	NotBefore       unixTime `json:"nbf"`
	Expires         unixTime `json:"exp"`
	Created         unixTime `json:"created"`
	Updated         unixTime `json:"updated"`
	RecoveryLevel   string   `json:"recoveryLevel"`
	RecoverableDays int      `json:"recoverableDays"`
	Exportable      bool     `json:"exportable"`
	HSMPlatform     string   `json:"hsmPlatform"`
}

type wireKey struct {
	KID json.RawMessage `json:"kid"`
	KTY json.RawMessage `json:"kty"`
	CRV json.RawMessage `json:"crv"`
	Ops []string        `json:"key_ops"`
	N   json.RawMessage `json:"n"`
	E   json.RawMessage `json:"e"`
	X   json.RawMessage `json:"x"`
	Y   json.RawMessage `json:"y"`
}

type wirePage struct {
	Value    *[]wireItem `json:"value"`
	NextLink string      `json:"nextLink"`
}

// A unixTime is a time in seconds since 1970, as the attributes have it.
type unixTime struct{ time.Time }

func (t *unixTime) UnmarshalJSON(data []byte) error {
	var seconds *float64
	if err := json.Unmarshal(data, &seconds); err != nil || seconds == nil {
		return err
	}
	// Years beyond 9999 are no times that the rest of Go can print or marshal.
	const last = 253402300799
	if *seconds < 0 || *seconds > last {
		return errors.New("time out of range")
	}
	t.Time = time.Unix(int64(*seconds), 0).UTC()
	return nil
}

// decode reads JSON of a known shape; a page must have its value member.
func decode(data []byte, shape any) error {
	err := json.Unmarshal(data, shape)
	if page, ok := shape.(*wirePage); ok && err == nil && page.Value == nil {
		err = errors.New("no list in it")
	}
	if err != nil {
		return fail(ekm.ErrorGetKeyByNameJsonParser, "the reply is not the JSON that was expected: %w", err)
	}
	return nil
}

// item converts, with the kid that is inside or beside the key. versioned says
// that the kid must have a version.
func (w wireItem) item(kid json.RawMessage, asked Asked, versioned bool) (Item, error) {
	id := text(kid)
	if id == "" {
		return Item{}, fail(ekm.ErrorGetKeyByNameExtractKeyId, "the key has no kid")
	}
	vault, name, version, ok := SplitID(id)
	why := asked.differs(vault, name, version)
	if !ok || versioned && version == "" {
		why = "is not the URL of a key"
	}
	if why != "" {
		return Item{}, fail(ekm.ErrorGetKeyByNameExtractKeyUri, "the kid %.200q %s", id, why)
	}
	a := w.Attributes
	return Item{
		ID: id, Vault: vault, Name: name, Version: version,
		Attributes: Attributes{
			Enabled:   a.Enabled,
			NotBefore: a.NotBefore.Time, Expires: a.Expires.Time,
			Created: a.Created.Time, Updated: a.Updated.Time,
			RecoveryLevel: a.RecoveryLevel, RecoverableDays: a.RecoverableDays,
			Exportable: a.Exportable, HSMPlatform: a.HSMPlatform,
		},
		Tags: w.Tags, Managed: w.Managed,
	}, nil
}

// text is a member that must be a string; "" if it is absent or something else.
func text(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func isObject(raw json.RawMessage) bool {
	return len(bytes.TrimSpace(raw)) > 0 && bytes.TrimSpace(raw)[0] == '{'
}
