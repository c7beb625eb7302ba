package keyfile

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A kind is what a file is, judged by its first bytes, whatever its name says.
type kind int

const (
	unknown      kind = iota
	empty             // nothing but blanks
	pemText           // text with an armour line
	plainText         // other text
	pfxFile           // PKCS#12
	certificate       // one X.509 certificate, DER
	certBundle        // PKCS#7 (.p7b)
	privateKey        // PKCS#1, PKCS#8 or SEC 1, DER
	encryptedKey      // PKCS#8 EncryptedPrivateKeyInfo, DER
	publicKey         // SubjectPublicKeyInfo or PKCS#1, DER
	otherDER          // a DER structure that is none of these
	capiBlob          // CAPI PRIVATEKEYBLOB or PUBLICKEYBLOB
	pvkFile           // PVK
	cngBlob           // CNG BCRYPT_RSAKEY_BLOB
	javaStore         // JKS or JCEKS
)

// what names a kind and says where it belongs.
func (k kind) what() string {
	switch k {
	case empty:
		return "the file is empty"
	case pemText:
		return "the file is PEM text: read it as PEM"
	case plainText:
		return "the file is text, but neither PEM nor base64 of a PFX"
	case pfxFile:
		return "the file is a PFX (PKCS#12): read it as PFX"
	case certificate:
		return "the file is a certificate without its private key (.cer): export both together as PFX"
	case certBundle:
		return "the file holds certificates without a private key (PKCS#7, .p7b): export both together as PFX"
	case privateKey:
		return "the file is a bare private key (DER): read it as a legacy key, with the certificate's thumbprint"
	case encryptedKey:
		return "the file is a bare encrypted private key (PKCS#8 DER): read it as a legacy key, with the certificate's thumbprint"
	case publicKey:
		return "the file holds only a public key"
	case capiBlob, pvkFile:
		return "the file is a Windows key blob (MSBLOB or PVK): read it as a legacy key, with the certificate's thumbprint"
	case cngBlob:
		return "the file is a CNG key blob (BCRYPT_RSAKEY_BLOB): export the key again as PKCS#8 or CAPIPRIVATEBLOB"
	case javaStore:
		return "the file is a Java keystore (JKS): convert it with keytool -importkeystore -deststoretype PKCS12"
	default:
		return "the file is neither a PFX, PEM text nor a private key that is known"
	}
}

// sniff tells the kind of data. It derives nothing and decrypts nothing.
func sniff(data []byte) kind {
	trimmed := bytes.Trim(data, " \t\r\n\x00\x1a")
	switch {
	case len(trimmed) == 0:
		return empty
	case bytes.HasPrefix(data, []byte(pvkMagic)):
		return pvkFile
	case isBlob(data):
		return capiBlob
	case bytes.HasPrefix(data, []byte("RSA1")), bytes.HasPrefix(data, []byte("RSA2")), bytes.HasPrefix(data, []byte("RSA3")):
		return cngBlob
	case bytes.HasPrefix(data, []byte("\xfe\xed\xfe\xed")), bytes.HasPrefix(data, []byte("\xce\xce\xce\xce")):
		return javaStore
	case data[0] == 0x30 && len(data) > 1 && (data[1] >= 0x80 || len(data) < 128):
		return sniffDER(data) // as text, "0" is followed by a character below 0x80
	}
	text, ok := decodeText(data)
	switch {
	case ok && bytes.Contains(text, []byte("-----BEGIN ")):
		return pemText
	case ok:
		return plainText
	}
	return unknown
}

var oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}

// sniffDER tells DER structures apart by their first elements.
func sniffDER(data []byte) kind {
	if isPFX(data) {
		return pfxFile
	}
	in := cryptobyte.String(data)
	var body cryptobyte.String
	if !in.ReadASN1(&body, cbasn1.SEQUENCE) {
		return otherDER
	}
	var oid asn1.ObjectIdentifier
	if first := body; first.ReadASN1ObjectIdentifier(&oid) && oid.Equal(oidSignedData) {
		return certBundle
	}
	if _, err := parsePrivateKey(data); err == nil {
		return privateKey
	}
	if _, _, err := splitEncryptedKey(data); err == nil {
		return encryptedKey
	}
	if _, err := x509.ParseCertificate(data); err == nil {
		return certificate
	}
	if _, err := x509.ParsePKIXPublicKey(data); err == nil {
		return publicKey
	}
	if _, err := x509.ParsePKCS1PublicKey(data); err == nil {
		return publicKey
	}
	return otherDER
}
