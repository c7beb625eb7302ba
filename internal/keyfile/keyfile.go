// Package keyfile reads the certificate and key files that operators of Azure
// service principals have: PFX (PKCS#12), PEM, and the older Windows forms
// MSBLOB and PVK beside bare PKCS#1 and PKCS#8.
//
// A file is not trusted. It is at most [MaxSize] long, key-derivation rounds
// are counted and limited before any is run, a key is checked to be an RSA key
// of sane size whose numbers agree, and the certificate is the one that belongs
// to the key, wherever it stands in the file.
//
// Each failure is an [*ekm.Error] with one of the codes 3809 to 3821, and each
// code is raised at one place in this package; its cause says which step failed
// and what to do. The one exception is [ErrThumbprint]. No error holds a
// password, a key byte or any other content of the file but names of
// algorithms, sizes and certificate subjects.
package keyfile

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"strconv"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/hidden"
)

// MaxSize is the longest file that is looked at, in bytes. Real ones are 1 to
// 20 KiB.
const MaxSize = 1 << 20

// An Identity is a private key with the certificate that belongs to it.
type Identity struct {
	Signer hidden.Value[crypto.Signer] // the private key
	Public *rsa.PublicKey              // its public half

	Leaf  *x509.Certificate   // the key's certificate; nil if the file holds a key alone
	Chain []*x509.Certificate // Leaf, its issuer, and so on as far as the file goes; nil without Leaf

	// Thumbprints of the certificate: both if there is a Leaf, else the one
	// that the caller gave and nil for the other.
	SHA1, SHA256 []byte
}

// fail makes the error of one failure point. Everything here fails on the
// caller's own file or options, before any exchange: there is no phase.
func fail(code ekm.Code, err error) error {
	return &ekm.Error{Code: code, Party: ekm.Local, Err: err, Time: time.Now()}
}

// commas writes n in groups of three digits: 12,000,000.
func commas(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
