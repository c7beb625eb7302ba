package keyfile

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // see thumbprint.go
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/akv-ekm/ekm/internal/hidden"
)

// identify joins key with its certificate out of certs (DER), as the thumbprint
// option says. Without any certificate the thumbprint has to be given.
func identify(key crypto.Signer, public *rsa.PublicKey, certs [][]byte, option string) (*Identity, error) {
	want, err := parseThumbprint(option)
	if err != nil {
		return nil, err
	}
	if len(certs) == 0 {
		if want == nil {
			return nil, errors.New("there is no certificate in the file: add it, or give its thumbprint")
		}
		return bare(key, public, want), nil
	}
	all, bad := parseCerts(certs)
	leaf, err := findLeaf(public, all, want)
	if err != nil {
		if bad != nil {
			return nil, fmt.Errorf("%w; a certificate in the file cannot be read: %w", err, bad)
		}
		return nil, err
	}
	s1, s256 := sha1.Sum(leaf.Raw), sha256.Sum256(leaf.Raw) //nolint:gosec // see thumbprint.go
	return &Identity{
		Signer: hidden.New(key), Public: public,
		Leaf: leaf, Chain: chain(leaf, all),
		SHA1: s1[:], SHA256: s256[:],
	}, nil
}

// bare is a key without a certificate in hand, only its thumbprint.
func bare(key crypto.Signer, public *rsa.PublicKey, t thumbprint) *Identity {
	id := &Identity{Signer: hidden.New(key), Public: public}
	if len(t) == sha256.Size {
		id.SHA256 = t
	} else {
		id.SHA1 = t
	}
	return id
}

// parseCerts parses what can be parsed. An unreadable issuer must not make a
// good leaf useless, so the first failure is kept for when no leaf is found.
func parseCerts(ders [][]byte) (certs []*x509.Certificate, bad error) {
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			if bad == nil {
				bad = err
			}
			continue
		}
		certs = append(certs, c)
	}
	return certs, bad
}

// findLeaf is the certificate whose public key is pub; its place in the file
// says nothing, as tools write the issuer first as well as last. A renewal that
// kept the key leaves several: then the thumbprint decides, or else the one that
// is valid longest.
func findLeaf(pub *rsa.PublicKey, certs []*x509.Certificate, want thumbprint) (*x509.Certificate, error) {
	var leaf *x509.Certificate
	var strangers []*x509.Certificate
	for _, c := range certs {
		named := want != nil && want.of(c.Raw)
		if k, ok := c.PublicKey.(*rsa.PublicKey); !ok || !k.Equal(pub) {
			if named {
				return nil, fmt.Errorf("the thumbprint given is that of the certificate of %s, which does not belong to the private key", subject(c))
			}
			strangers = append(strangers, c)
			continue
		}
		if named {
			return c, nil
		}
		if leaf == nil || c.NotAfter.After(leaf.NotAfter) {
			leaf = c
		}
	}
	switch {
	case leaf != nil && want != nil:
		// The one given is not shown: a key of 32 bytes looks like one.
		return nil, fmt.Errorf("no certificate in the file has the thumbprint given; that of %s has %s",
			subject(leaf), fingerprint(leaf, want))
	case leaf == nil:
		return nil, fmt.Errorf("no certificate in the file belongs to the private key (found: %s): "+
			"export key and certificate together", list(strangers))
	}
	return leaf, nil
}

// fingerprint is the thumbprint of c by the same hash as like.
func fingerprint(c *x509.Certificate, like thumbprint) thumbprint {
	if len(like) == sha256.Size {
		sum := sha256.Sum256(c.Raw)
		return sum[:]
	}
	sum := sha1.Sum(c.Raw) //nolint:gosec // see thumbprint.go
	return sum[:]
}

// maxChain is the longest chain that is put together.
const maxChain = 10

// chain is leaf and its issuers in order, as far as certs go. It orders, and
// does not verify: names and key identifiers are compared, no signature, as
// that would run an untrusted file's choice of algorithms and key sizes.
func chain(leaf *x509.Certificate, certs []*x509.Certificate) []*x509.Certificate {
	out := []*x509.Certificate{leaf}
	used := map[*x509.Certificate]bool{leaf: true}
	for c := leaf; len(out) < maxChain && !bytes.Equal(c.RawIssuer, c.RawSubject); {
		next := issuer(c, certs, used)
		if next == nil {
			break
		}
		used[next] = true
		out = append(out, next)
		c = next
	}
	return out
}

func issuer(c *x509.Certificate, certs []*x509.Certificate, used map[*x509.Certificate]bool) *x509.Certificate {
	for _, p := range certs {
		if used[p] || !bytes.Equal(p.RawSubject, c.RawIssuer) {
			continue
		}
		if len(c.AuthorityKeyId) > 0 && len(p.SubjectKeyId) > 0 && !bytes.Equal(c.AuthorityKeyId, p.SubjectKeyId) {
			continue // an issuer of that name, but another key
		}
		return p
	}
	return nil
}

// subject names a certificate to a person, in bounded length: the file is not
// trusted to be brief, or to hold printable text only.
func subject(c *x509.Certificate) string {
	if len(c.RawSubject) > 1024 {
		return "an unusually long name"
	}
	return fmt.Sprintf("%.100q", c.Subject.String())
}

func list(certs []*x509.Certificate) string {
	if len(certs) == 0 {
		return "none that can be read"
	}
	var names []string
	for _, c := range certs[:min(3, len(certs))] {
		names = append(names, subject(c))
	}
	if more := len(certs) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
