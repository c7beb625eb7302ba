package keyfile

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The structure of a PFX (RFC 7292, sections 4 and 5): an authenticated safe of
// content items, plain or encrypted, each a list of bags; a bag holds a key, a
// certificate, or further bags. Reading it derives and decrypts nothing.

const (
	oidData          = "1.2.840.113549.1.7.1"
	oidSigned        = "1.2.840.113549.1.7.2"
	oidEnveloped     = "1.2.840.113549.1.7.3"
	oidEncryptedData = "1.2.840.113549.1.7.6"

	oidBag      = "1.2.840.113549.1.12.10.1." // RFC 7292, section 4.2
	oidX509Cert = "1.2.840.113549.1.9.22.1"

	// A password protected to accounts of a domain, in a secret bag:
	// szOID_PKCS_12_PROTECTED_PASSWORD_SECRET_BAG_TYPE_ID of wincrypt.h.
	oidDomainPassword = "1.3.6.1.4.1.311.17.4"
)

// A pfx is a file's outer structure with what is readable in it without the
// password; opening its locked items adds to keys and certs.
type pfx struct {
	message []byte // what the MAC is over
	mac     *mac   // nil: none
	locked  []locked
	bags
}

// A locked is an encrypted content item or private key.
type locked struct {
	scheme
	data []byte
}

// bags are the contents of content items.
type bags struct {
	keys  []key
	certs [][]byte // DER
}

// A key is a private key bag: PKCS#8, encrypted if it has a scheme.
type key struct {
	der    []byte // if not encrypted
	locked *locked
}

// isPFX says whether data begins as a PFX does, which is so for a truncated one
// as well: a SEQUENCE of any length, the version 3, and another SEQUENCE.
func isPFX(data []byte) bool {
	if len(data) < 2 || data[0] != 0x30 {
		return false
	}
	head := 2
	if data[1] > 0x80 {
		head += int(data[1] & 0x7f)
	}
	return len(data) > head+4 && string(data[head:head+4]) == "\x02\x01\x03\x30"
}

// parsePFX reads the outer structure.
func parsePFX(data []byte) (*pfx, error) {
	in := cryptobyte.String(normalise(data))
	var seq, item cryptobyte.String
	var version int
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return nil, truncated(data)
	}
	if !in.Empty() {
		return nil, fmt.Errorf("%s bytes follow the end of the PFX: the file is damaged", commas(len(in)))
	}
	if !seq.ReadASN1Integer(&version) || version != 3 || !seq.ReadASN1(&item, cbasn1.SEQUENCE) {
		return nil, errDamaged("PFX")
	}
	content, err := plainItem(item)
	if err != nil {
		return nil, err
	}
	p := &pfx{message: content}
	if !seq.Empty() {
		if p.mac, err = readMAC(seq); err != nil {
			return nil, err
		}
	}
	return p, p.readSafe(content)
}

func errDamaged(part string) error {
	return fmt.Errorf("the %s structure cannot be read: the file is damaged", part)
}

// truncated tells a file that ends early from one that is damaged otherwise.
func truncated(data []byte) error {
	if n, ok := claimed(data); ok && n > len(data) {
		return fmt.Errorf("the file has %s bytes of %s: it is truncated", commas(len(data)), commas(n))
	}
	return errDamaged("PFX")
}

// claimed is how long data says its first element is, header included.
func claimed(data []byte) (int, bool) {
	if len(data) < 2 || data[1] < 0x80 {
		return 0, false
	}
	count := int(data[1] & 0x7f)
	if count == 0 || count > 3 || len(data) < 2+count {
		return 0, false
	}
	n := 0
	for _, b := range data[2 : 2+count] {
		n = n<<8 | int(b)
	}
	return n + 2 + count, true
}

// plainItem is the content of a ContentInfo of type data.
func plainItem(item cryptobyte.String) ([]byte, error) {
	oid, body, err := splitItem(item)
	if err != nil {
		return nil, err
	}
	switch oid {
	case oidData:
	case oidSigned:
		return nil, errors.New("the file is protected by a signature instead of a password: export it again with a password")
	default:
		return nil, errDamaged("PFX")
	}
	var content cryptobyte.String
	if !body.ReadASN1(&content, cbasn1.OCTET_STRING) || !body.Empty() {
		return nil, errDamaged("PFX content")
	}
	return content, nil
}

// splitItem reads a ContentInfo's content: its type and the value in [0].
func splitItem(item cryptobyte.String) (string, cryptobyte.String, error) {
	var oid asn1.ObjectIdentifier
	var body cryptobyte.String
	if !item.ReadASN1ObjectIdentifier(&oid) || !item.ReadASN1(&body, tag0) || !item.Empty() {
		return "", nil, errDamaged("PFX content")
	}
	return oid.String(), body, nil
}

// The tag [0], EXPLICIT or constructed, and [0] IMPLICIT primitive.
const (
	tag0     = cbasn1.Tag(0xa0)
	tag0Bare = cbasn1.Tag(0x80)
)

// readSafe reads the AuthenticatedSafe: a SEQUENCE of content items.
func (p *pfx) readSafe(content []byte) error {
	in := cryptobyte.String(normalise(content))
	var items cryptobyte.String
	if !in.ReadASN1(&items, cbasn1.SEQUENCE) || !in.Empty() {
		return errDamaged("PFX content")
	}
	for !items.Empty() {
		var item cryptobyte.String
		if !items.ReadASN1(&item, cbasn1.SEQUENCE) {
			return errDamaged("PFX content")
		}
		if err := p.readItem(item); err != nil {
			return err
		}
	}
	return nil
}

func (p *pfx) readItem(item cryptobyte.String) error {
	oid, body, err := splitItem(item)
	if err != nil {
		return err
	}
	switch oid {
	case oidData:
		content, err := plainItem(item)
		if err != nil {
			return err
		}
		return p.readBags(normalise(content), 0)
	case oidEncryptedData:
		l, err := readEncrypted(body)
		if err != nil {
			return err
		}
		p.locked = append(p.locked, l)
		return nil
	case oidEnveloped:
		return errors.New("the file is encrypted to a certificate instead of a password: export it again with a password")
	}
	return fmt.Errorf("content of type %s is not known: the file is damaged", shorten(oid))
}

// readEncrypted reads EncryptedData: SEQUENCE { version, SEQUENCE { type,
// algorithm, [0] IMPLICIT OCTET STRING } }. BER may give the last in pieces.
func readEncrypted(body cryptobyte.String) (locked, error) {
	var seq, info, alg, data cryptobyte.String
	var version int
	var oid asn1.ObjectIdentifier
	if !body.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1Integer(&version) ||
		!seq.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&oid) ||
		!info.ReadASN1(&alg, cbasn1.SEQUENCE) {
		return locked{}, errDamaged("encrypted content")
	}
	switch {
	case info.PeekASN1Tag(tag0Bare):
		if !info.ReadASN1(&data, tag0Bare) {
			return locked{}, errDamaged("encrypted content")
		}
	default:
		var pieces, piece cryptobyte.String
		if !info.ReadASN1(&pieces, tag0) {
			return locked{}, errDamaged("encrypted content")
		}
		for !pieces.Empty() {
			if !pieces.ReadASN1(&piece, cbasn1.OCTET_STRING) {
				return locked{}, errDamaged("encrypted content")
			}
			data = append(data, piece...)
		}
	}
	s, err := readScheme(alg)
	return locked{scheme: s, data: data}, err
}

// maxNesting is how deep bags may hold bags.
const maxNesting = 4

// readBags reads SafeContents: SEQUENCE OF SEQUENCE { id, [0] value, attributes }.
// Attributes (names, key ids, provider names) decide nothing here.
func (b *bags) readBags(der []byte, depth int) error {
	in := cryptobyte.String(der)
	var list cryptobyte.String
	if depth > maxNesting || !in.ReadASN1(&list, cbasn1.SEQUENCE) || !in.Empty() {
		return errDamaged("bag")
	}
	for !list.Empty() {
		var bag, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !list.ReadASN1(&bag, cbasn1.SEQUENCE) || !bag.ReadASN1ObjectIdentifier(&oid) ||
			!bag.ReadASN1(&value, tag0) {
			return errDamaged("bag")
		}
		if err := b.readBag(oid.String(), value, depth); err != nil {
			return err
		}
	}
	return nil
}

func (b *bags) readBag(oid string, value cryptobyte.String, depth int) error {
	switch oid {
	case oidBag + "1": // keyBag
		b.keys = append(b.keys, key{der: value})
	case oidBag + "2": // pkcs8ShroudedKeyBag
		alg, data, err := splitEncryptedKey(value)
		if err != nil {
			return err
		}
		s, err := readScheme(alg)
		if err != nil {
			return err
		}
		b.keys = append(b.keys, key{locked: &locked{scheme: s, data: data}})
	case oidBag + "3": // certBag
		return b.readCert(value)
	case oidBag + "5": // secretBag
		return readSecret(value)
	case oidBag + "6": // safeContentsBag
		return b.readBags(value, depth+1)
	}
	return nil // CRLs, and what is still to be invented
}

// readCert reads CertBag: SEQUENCE { type, [0] OCTET STRING }.
func (b *bags) readCert(value cryptobyte.String) error {
	var seq, body, der cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !value.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&oid) || !seq.ReadASN1(&body, tag0) {
		return errDamaged("certificate bag")
	}
	if oid.String() != oidX509Cert {
		return nil
	}
	if !body.ReadASN1(&der, cbasn1.OCTET_STRING) {
		return errDamaged("certificate bag")
	}
	b.certs = append(b.certs, der)
	return nil
}

// readSecret looks for the mark of Export-PfxCertificate -ProtectTo: its random
// password can be had back from the domain only.
func readSecret(value cryptobyte.String) error {
	var seq cryptobyte.String
	var oid asn1.ObjectIdentifier
	if value.ReadASN1(&seq, cbasn1.SEQUENCE) && seq.ReadASN1ObjectIdentifier(&oid) && oid.String() == oidDomainPassword {
		return errors.New("the file is protected to a Windows domain account (-ProtectTo): export it again with a password")
	}
	return nil
}
