package keyfile

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/akv-ekm/ekm"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// PEM reads PEM text: a private key with its certificate and issuers in any
// order, or a private key alone if thumbprint is given. A password is for an
// encrypted key and is not looked at for others.
func PEM(data []byte, password, thumbprint string) (*Identity, error) {
	file, err := openPEM(data, password)
	if err != nil {
		return nil, fail(ekm.ErrorPEMCertAuthParamsGetPrivateKey, err)
	}
	numbers, err := file.key.rsa()
	if err != nil {
		return nil, fail(ekm.ErrorPEMCertAuthParamsSignAlg, err)
	}
	signer, err := importPKCS1(numbers)
	if err != nil {
		return nil, fail(ekm.ErrorPEMCertAuthParamsImportForSign, err)
	}
	return withCertificate(signer, &signer.PublicKey, file.certs, thumbprint)
}

// Foreign makes the identity of a key that is out of reach, in hardware or in
// another vault, with its certificates. public is signer's public key.
func Foreign(signer crypto.Signer, public *rsa.PublicKey, chain []*x509.Certificate, thumbprint string) (*Identity, error) {
	var certs [][]byte
	for _, c := range chain {
		if c != nil {
			certs = append(certs, c.Raw)
		}
	}
	return withCertificate(signer, public, certs, thumbprint)
}

func withCertificate(signer crypto.Signer, public *rsa.PublicKey, certs [][]byte, thumbprint string) (*Identity, error) {
	id, err := identify(signer, public, certs, thumbprint)
	if err != nil {
		return nil, fail(ekm.ErrorPEMCertAuthParamsGetThumbprint, err)
	}
	return id, nil
}

// An openedPEM is what PEM text holds, decrypted.
type openedPEM struct {
	key   privateKeyInfo
	certs [][]byte // DER
}

// pemBlocks are the blocks of a text, sorted by use.
type pemBlocks struct {
	keys   []*pem.Block
	certs  [][]byte // DER
	public bool     // there is a public key
}

func openPEM(data []byte, password string) (openedPEM, error) {
	blocks, err := readPEM(data)
	if err != nil {
		return openedPEM{}, err
	}
	switch {
	case len(blocks.keys) > 1:
		return openedPEM{}, fmt.Errorf("the file holds %s private keys: leave only the one that is meant", commas(len(blocks.keys)))
	case len(blocks.keys) == 1:
		key, err := openPEMKey(blocks.keys[0], password)
		return openedPEM{key: key, certs: blocks.certs}, err
	case len(blocks.certs) > 0:
		return openedPEM{}, errors.New("the file holds certificates but no private key: add the private key's PEM text")
	case blocks.public:
		return openedPEM{}, errors.New("the file holds only a public key: take the private key's file")
	}
	return openedPEM{}, errors.New("the file holds no private key: add the private key's PEM text")
}

// readPEM sorts the blocks of data.
func readPEM(data []byte) (pemBlocks, error) {
	if len(data) > MaxSize {
		return pemBlocks{}, tooLong(data)
	}
	if k := sniff(data); k != pemText {
		if text, ok := decodeText(data); ok && k == plainText {
			if inner, ok := decodeBase64(text); ok && isPFX(inner) {
				return pemBlocks{}, errors.New("base64 text: " + pfxFile.what())
			}
			return pemBlocks{}, errors.New("the file is text, but has no PEM block (-----BEGIN ...)")
		}
		return pemBlocks{}, errors.New(k.what())
	}
	text, _ := decodeText(data)
	blocks, err := sortPEM(text)
	if err != nil {
		if mended, err := sortPEM(unfold(text)); err == nil {
			return mended, nil
		}
	}
	return blocks, err
}

// sortPEM decodes all blocks. A block that cannot be decoded is skipped by
// encoding/pem; here it makes the file damaged, as it may be the key or the leaf.
func sortPEM(text []byte) (pemBlocks, error) {
	var out pemBlocks
	rest := text
	for seen := 0; ; seen++ {
		b, after := pem.Decode(rest)
		if b == nil {
			if begun := bytes.Count(text, []byte("-----B")); begun > seen {
				return pemBlocks{}, fmt.Errorf("of %s PEM blocks, only %s can be read: the file is damaged or truncated",
					commas(begun), commas(seen))
			}
			return out, nil
		}
		if err := out.add(b); err != nil {
			return pemBlocks{}, err
		}
		rest = after
	}
}

func (p *pemBlocks) add(b *pem.Block) error {
	switch {
	case b.Type == "OPENSSH PRIVATE KEY":
		return errors.New("the private key is in OpenSSH's own format: convert it with ssh-keygen -p -m PKCS8")
	case strings.HasSuffix(b.Type, "PRIVATE KEY"):
		p.keys = append(p.keys, b)
	case strings.HasSuffix(b.Type, "PUBLIC KEY"):
		p.public = true
	case isPFX(b.Bytes): // certutil -encode puts any file into CERTIFICATE armour
		return errors.New("the file is a PFX (PKCS#12) in PEM armour: read it as PFX")
	case b.Type == "CERTIFICATE", b.Type == "X509 CERTIFICATE":
		p.certs = append(p.certs, b.Bytes)
	case b.Type == "TRUSTED CERTIFICATE": // OpenSSL's: trust settings follow the certificate
		p.certs = append(p.certs, firstElement(b.Bytes))
	}
	return nil // requests, parameters, CRLs
}

// firstElement is the first ASN.1 element of data, or all of it.
func firstElement(data []byte) []byte {
	in := cryptobyte.String(data)
	var first cryptobyte.String
	if in.ReadASN1Element(&first, asn1.SEQUENCE) {
		return first
	}
	return data
}

// openPEMKey decrypts a key block if it is encrypted, by either of two ways:
// a PKCS#8 structure, or OpenSSL's older one with a DEK-Info header (RFC 1421).
func openPEMKey(b *pem.Block, password string) (privateKeyInfo, error) {
	if b.Headers["DEK-Info"] == "" {
		return openKey(b.Bytes, password)
	}
	//lint:ignore SA1019 it has no MAC and derives by one MD5, but that is how the operator's file is written
	der, err := x509.DecryptPEMBlock(b, []byte(password)) //nolint:staticcheck // see above
	switch {
	case errors.Is(err, x509.IncorrectPasswordError), err == nil && !isSequence(der):
		return privateKeyInfo{}, passwordError(password)
	case err != nil:
		return privateKeyInfo{}, fmt.Errorf("private key with DEK-Info: %w", err)
	}
	return parsePrivateKey(der)
}
