package keyfile

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// PKCS#12 allows BER (RFC 7292, section 4.1: the content "may be BER"), and
// older Java and Netscape tools write it: lengths left open ("30 80 ... 00 00")
// and octet strings in pieces. The readers here want DER.

// maxDepth is how deep structures may nest; a PFX needs about ten levels.
const maxDepth = 32

var errBER = errors.New("damaged ASN.1")

// normalise is data as DER; data itself if it is DER already, or cannot be
// read, so that the error comes from the reader that knows what it wants.
func normalise(data []byte) []byte {
	if in := cryptobyte.String(data); in.SkipASN1(asn1.SEQUENCE) && in.Empty() && !hasBER(data, 0) {
		return data
	}
	out, rest, err := berElement(data, 0)
	if err != nil || len(rest) != 0 {
		return data
	}
	return out
}

// hasBER says whether an element inside the DER element data is not DER.
func hasBER(data []byte, depth int) bool {
	in := cryptobyte.String(data)
	for !in.Empty() {
		var body cryptobyte.String
		var tag asn1.Tag
		if !in.ReadAnyASN1(&body, &tag) {
			return true
		}
		if tag&0x20 != 0 && (tag == 0x24 || depth < maxDepth && hasBER(body, depth+1)) {
			return true
		}
	}
	return false
}

// berElement re-encodes the first element of in.
func berElement(in []byte, depth int) (out, rest []byte, err error) {
	if len(in) < 2 || depth > maxDepth || in[0]&0x1f == 0x1f { // no tag above 30 here
		return nil, nil, errBER
	}
	id := in[0]
	constructed := id&0x20 != 0
	if in[1] == 0x80 {
		if !constructed {
			return nil, nil, errBER
		}
		body, rest, err := berOpen(in[2:], id, depth)
		return encode(id, body), rest, err
	}
	body, rest, err := berBody(in)
	if err != nil || !constructed {
		return encode(id, body), rest, err
	}
	var joined []byte
	for len(body) > 0 {
		var child []byte
		if child, body, err = berElement(body, depth+1); err != nil {
			return nil, nil, err
		}
		if joined, err = berJoin(joined, child, id); err != nil {
			return nil, nil, err
		}
	}
	return encode(id, joined), rest, nil
}

// berOpen reads children up to the end-of-contents mark.
func berOpen(in []byte, id byte, depth int) (body, rest []byte, err error) {
	for {
		if len(in) >= 2 && in[0] == 0 && in[1] == 0 {
			return body, in[2:], nil
		}
		var child []byte
		if child, in, err = berElement(in, depth+1); err != nil {
			return nil, nil, err
		}
		if body, err = berJoin(body, child, id); err != nil {
			return nil, nil, err
		}
	}
}

// berJoin appends a child; of a constructed octet string only its content.
func berJoin(body, child []byte, id byte) ([]byte, error) {
	if id != 0x24 {
		return append(body, child...), nil
	}
	in := cryptobyte.String(child)
	var piece cryptobyte.String
	if !in.ReadASN1(&piece, asn1.OCTET_STRING) {
		return nil, errBER
	}
	return append(body, piece...), nil
}

// berBody splits the content of a definite-length element from what follows it.
func berBody(in []byte) (body, rest []byte, err error) {
	n, skip := int(in[1]), 2
	if n > 0x80 {
		count := n & 0x7f
		if count > 4 || len(in) < 2+count {
			return nil, nil, errBER
		}
		n, skip = 0, 2+count
		for _, b := range in[2:skip] {
			n = n<<8 | int(b)
		}
	}
	if n < 0 || n > len(in)-skip {
		return nil, nil, errBER
	}
	return in[skip : skip+n], in[skip+n:], nil
}

// encode is one DER element.
func encode(id byte, body []byte) []byte {
	if id == 0x24 {
		id = 0x04
	}
	var head []byte
	switch n := len(body); {
	case n < 0x80:
		head = []byte{id, byte(n)}
	case n < 1<<8:
		head = []byte{id, 0x81, byte(n)}
	case n < 1<<16:
		head = []byte{id, 0x82, byte(n >> 8), byte(n)}
	default: // MaxSize is below 1<<24
		head = []byte{id, 0x83, byte(n >> 16), byte(n >> 8), byte(n)}
	}
	return append(head, body...)
}
