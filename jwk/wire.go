package jwk

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/strictjson"
)

// The shapes on the wire: Key Vault REST reference, KeyBundle, KeyItem,
// KeyListResult. Members that have a failure code of their own stay raw, so that
// "absent" and "of the wrong type" are told apart from "no JSON".

type wireBundle struct {
	Key json.RawMessage
	wireItem
}

func (w *wireBundle) read(data []byte) error {
	return strictjson.Object(data, func(name []byte) any {
		if string(name) == "key" {
			return &w.Key
		}
		return w.member(name)
	})
}

type wireItem struct {
	KID        json.RawMessage
	Attributes wireAttributes
	Tags       wireTags
	Managed    bool
}

func (w *wireItem) UnmarshalJSON(data []byte) error { return strictjson.Object(data, w.member) }

func (w *wireItem) member(name []byte) any {
	switch string(name) {
	case "kid":
		return &w.KID
	case "attributes":
		return &w.Attributes
	case "tags":
		return &w.Tags
	case "managed":
		return &w.Managed
	}
	return nil
}

type wireAttributes struct {
	Enabled         bool
	NotBefore       unixTime
	Expires         unixTime
	Created         unixTime
	Updated         unixTime
	RecoveryLevel   string
	RecoverableDays int
	Exportable      bool
	HSMPlatform     string
}

func (w *wireAttributes) UnmarshalJSON(data []byte) error {
	return strictjson.Object(data, func(name []byte) any {
		switch string(name) {
		case "enabled":
			return &w.Enabled
		case "nbf":
			return &w.NotBefore
		case "exp":
			return &w.Expires
		case "created":
			return &w.Created
		case "updated":
			return &w.Updated
		case "recoveryLevel":
			return &w.RecoveryLevel
		case "recoverableDays":
			return &w.RecoverableDays
		case "exportable":
			return &w.Exportable
		case "hsmPlatform":
			return &w.HSMPlatform
		}
		return nil
	})
}

type wireTags map[string]string

func (w *wireTags) UnmarshalJSON(data []byte) error {
	values := make(map[string]*string)
	err := strictjson.Object(data, func(name []byte) any {
		value := new(string)
		values[string(name)] = value
		return value
	})
	if err != nil || !isObject(data) {
		return err
	}
	*w = make(wireTags, len(values))
	for name, value := range values {
		(*w)[name] = *value
	}
	return nil
}

type wireKey struct {
	KID, KTY, CRV json.RawMessage
	N, E, X, Y    json.RawMessage
	Ops           []string
}

func (w *wireKey) read(data []byte) error {
	return strictjson.Object(data, func(name []byte) any {
		switch string(name) {
		case "kid":
			return &w.KID
		case "kty":
			return &w.KTY
		case "crv":
			return &w.CRV
		case "key_ops":
			return &w.Ops
		case "n":
			return &w.N
		case "e":
			return &w.E
		case "x":
			return &w.X
		case "y":
			return &w.Y
		}
		return nil
	})
}

type wirePage struct {
	Value    *[]wireItem
	NextLink string
}

func (w *wirePage) read(data []byte) error {
	err := strictjson.Object(data, func(name []byte) any {
		switch string(name) {
		case "value":
			return &w.Value
		case "nextLink":
			return &w.NextLink
		}
		return nil
	})
	if err == nil && w.Value == nil {
		return errors.New("no list in it")
	}
	return err
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

// A shape is an object of the wire that reads itself.
type shape interface{ read(data []byte) error }

func decode(data []byte, into shape) error {
	if err := into.read(data); err != nil {
		return fail(ekm.ErrorGetKeyByNameJsonParser, "the reply is not the JSON that was expected: %w", err)
	}
	return nil
}

// item converts, with the kid that is inside or beside the key. versioned says
// that the kid must have a version.
func (w wireItem) item(kid json.RawMessage, asked Asked, versioned bool) (Item, error) {
	id := strictjson.Text(kid)
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

func isObject(raw json.RawMessage) bool {
	return len(bytes.TrimSpace(raw)) > 0 && bytes.TrimSpace(raw)[0] == '{'
}
