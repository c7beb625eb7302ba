package keyfile

import (
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/akv-ekm/ekm"
	"golang.org/x/crypto/pkcs12"
)

// PFX reads a PFX (PKCS#12) file, or base64 text of one as a vault hands it out.
// thumbprint may be empty; if not, the certificate has to have it.
func PFX(data []byte, password, thumbprint string) (*Identity, error) {
	file, err := openPFX(data, password)
	if err != nil {
		return nil, fail(ekm.ErrorPfxCertAuthParamsImportPfx, err)
	}
	key, err := file.privateKey()
	if err != nil {
		return nil, fail(ekm.ErrorPfxCertAuthParamsGetPrivateKey, err)
	}
	numbers, err := key.rsa()
	if err != nil {
		return nil, fail(ekm.ErrorPfxCertAuthParamsSignAlg, err)
	}
	signer, err := importPKCS1(numbers)
	if err != nil {
		return nil, fail(ekm.ErrorPfxCertAuthParamsImportForSign, err)
	}
	id, err := identify(signer, &signer.PublicKey, file.certs, thumbprint)
	if err != nil {
		return nil, fail(ekm.ErrorPfxCertAuthParamsGetThumbprint, err)
	}
	return id, nil
}

// An openedPFX is what a PFX holds, decrypted.
type openedPFX struct {
	keys  int      // how many private keys
	der   []byte   // PKCS#8 of the key, if there is one
	certs [][]byte // DER
}

func (o openedPFX) privateKey() (privateKeyInfo, error) {
	switch {
	case o.keys == 0 && len(o.certs) > 0:
		return privateKeyInfo{}, errors.New("the file holds certificates but no private key: export it again with the private key")
	case o.keys == 0:
		return privateKeyInfo{}, errors.New("the file holds no private key: export it again with the private key")
	case o.keys > 1:
		return privateKeyInfo{}, fmt.Errorf("the file holds %s private keys: export only the one that is meant", commas(o.keys))
	}
	return parsePrivateKey(o.der)
}

// openPFX finds the PFX in data and opens it. All rounds that stand in readable
// parts are added up before the first derivation.
func openPFX(data []byte, text string) (openedPFX, error) {
	data, err := findPFX(data)
	if err != nil {
		return openedPFX{}, err
	}
	file, err := parsePFX(data)
	if err != nil {
		return openedPFX{}, err
	}
	var b budget
	if err := file.charge(&b); err != nil {
		return openedPFX{}, err
	}
	if o, err := openSmall(data, text); err == nil {
		return o, nil
	} else if errors.Is(err, pkcs12.ErrIncorrectPassword) {
		return openedPFX{}, passwordError(text)
	}
	return file.open(text, &b)
}

// findPFX is the binary PFX in data: data itself, or decoded from text.
func findPFX(data []byte) ([]byte, error) {
	if len(data) > MaxSize {
		return nil, tooLong(data)
	}
	if isPFX(data) {
		return data, nil
	}
	k := sniff(data)
	switch k {
	case plainText:
		if text, ok := decodeText(data); ok {
			if inner, ok := decodeBase64(text); ok {
				if isPFX(inner) {
					return inner, nil
				}
				return nil, fmt.Errorf("base64 text: %s", sniff(inner).what())
			}
		}
	case pemText: // certutil -encode puts any file into CERTIFICATE armour
		if text, ok := decodeText(data); ok {
			if block, _ := pem.Decode(text); block != nil && isPFX(block.Bytes) {
				return block.Bytes, nil
			}
		}
	}
	return nil, errors.New(k.what())
}

func tooLong(data []byte) error {
	return fmt.Errorf("the file has %s bytes, limit is %s", commas(len(data)), commas(MaxSize))
}

// charge takes the rounds of everything that can be seen without the password.
func (p *pfx) charge(b *budget) error {
	var all []int
	if p.mac != nil {
		all = append(all, p.mac.rounds)
	}
	for _, l := range p.locked {
		all = append(all, l.rounds)
	}
	for _, k := range p.keys {
		if k.locked != nil {
			all = append(all, k.locked.rounds)
		}
	}
	return b.takeAll(all)
}

// maxSmall is the longest file that x/crypto gets. It parses the private key
// before anyone can look at its size, and a modulus of half a MiB takes minutes
// to check. With one certificate and one key, 16 KiB is plenty.
const maxSmall = 16 << 10

// openSmall reads what golang.org/x/crypto/pkcs12 reads: one key and one
// certificate, 3DES or RC2-40, SHA-1. It is frozen, limits rounds by itself,
// and refuses everything newer, which [pfx.open] then takes.
func openSmall(data []byte, password string) (openedPFX, error) {
	if len(data) > maxSmall {
		return openedPFX{}, errors.ErrUnsupported
	}
	key, cert, err := pkcs12.Decode(data, password)
	if err != nil {
		return openedPFX{}, err
	}
	der, err := marshalKey(key)
	if err != nil {
		return openedPFX{}, err
	}
	return openedPFX{keys: 1, der: der, certs: [][]byte{cert.Raw}}, nil
}

// open checks the MAC and decrypts. Bags that come to light inside encrypted
// content may name rounds of their own, which are charged before they are run:
// this is why the whole file is read here, and not handed to a library that
// would run them at once.
func (p *pfx) open(text string, b *budget) (openedPFX, error) {
	pw := newPassword(text)
	if p.mac != nil {
		var err error
		if pw, err = p.mac.check(p.message, pw); err != nil {
			return openedPFX{}, orPassword(err, text)
		}
	}
	for _, l := range p.locked {
		if err := p.unlock(l, pw, b); err != nil {
			return openedPFX{}, orPassword(err, text)
		}
	}
	o := openedPFX{keys: len(p.keys), certs: p.certs}
	if len(p.keys) != 1 {
		return o, nil
	}
	k := p.keys[0]
	o.der = k.der
	if k.locked != nil {
		var err error
		if o.der, err = k.locked.open(pw, k.locked.data); err != nil {
			return openedPFX{}, fmt.Errorf("private key: %w", orPassword(err, text))
		}
	} else if p.mac == nil && len(p.locked) == 0 && text != "" {
		// As go-pkcs12 does: whoever gives a password believes that it guards the file.
		return openedPFX{}, errors.New("the file is not protected by any password, but one was given: give none if that is what is meant")
	}
	return o, nil
}

// unlock decrypts one content item and reads its bags, charging the rounds of
// encrypted keys among them.
func (p *pfx) unlock(l locked, pw password, b *budget) error {
	plain, err := l.open(pw, l.data)
	if err != nil {
		return err
	}
	seen := len(p.keys)
	if err := p.readBags(plain, 0); err != nil {
		return err
	}
	var all []int
	for _, k := range p.keys[seen:] {
		if k.locked != nil {
			all = append(all, k.locked.rounds)
		}
	}
	return b.takeAll(all)
}

// orPassword says the more exact thing if no password was given.
func orPassword(err error, text string) error {
	if errors.Is(err, errPassword) {
		return passwordError(text)
	}
	return err
}

func passwordError(text string) error {
	if text == "" {
		return errors.New("the file has a password and none was given, or the file is damaged")
	}
	return errPassword
}
