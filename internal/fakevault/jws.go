package fakevault

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// The JSON Web Signatures (RFC 7515) that the fake makes and checks. They are written here, and not taken from the
// library that a client is likely to use, so that the two check each other.

type jwsHeader struct {
	Typ     string   `json:"typ,omitempty"`
	Alg     string   `json:"alg"`
	X5T     string   `json:"x5t,omitempty"`
	X5TS256 string   `json:"x5t#S256,omitempty"`
	Kid     string   `json:"kid,omitempty"`
	X5C     []string `json:"x5c,omitempty"`
}

// jws is a token that was taken apart, not one that was checked.
type jws struct {
	header       jwsHeader
	encodedHead  string
	payload      []byte
	signature    []byte
	signingInput string
}

func parseJWS(token string) (*jws, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("not three parts")
	}
	var raw [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.DecodeString(p)
		if err != nil {
			return nil, err
		}
		raw[i] = b
	}
	t := &jws{encodedHead: parts[0], payload: raw[1], signature: raw[2], signingInput: parts[0] + "." + parts[1]}
	if err := json.Unmarshal(raw[0], &t.header); err != nil {
		return nil, err
	}
	return t, nil
}

// signJWS signs with RS256.
func signJWS(key *rsa.PrivateKey, header jwsHeader, payload any) string {
	input := b64(marshal(header)) + "." + b64(marshal(payload))
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return input + "." + b64(sig)
}

// verify checks the signature with the one algorithm that the header names, if it is one of those allowed.
func (t *jws) verify(pub crypto.PublicKey, allowed ...string) error {
	ok := false
	for _, a := range allowed {
		ok = ok || a == t.header.Alg
	}
	if !ok {
		return fmt.Errorf("algorithm %q not allowed", t.header.Alg)
	}
	sum := sha256.Sum256([]byte(t.signingInput))
	switch key := pub.(type) {
	case *rsa.PublicKey:
		switch t.header.Alg {
		case "RS256":
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], t.signature)
		case "PS256":
			return rsa.VerifyPSS(key, crypto.SHA256, sum[:], t.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
	case *ecdsa.PublicKey:
		if t.header.Alg == "ES256" && len(t.signature) == 64 {
			r, s := new(big.Int).SetBytes(t.signature[:32]), new(big.Int).SetBytes(t.signature[32:])
			if ecdsa.Verify(key, sum[:], r, s) {
				return nil
			}
			return errors.New("bad signature")
		}
	}
	return fmt.Errorf("algorithm %q does not fit the key", t.header.Alg)
}

// keyID is the thumbprint that stands in kid and x5t of an access token.
func keyID(pub *rsa.PublicKey) string {
	sum := sha1.Sum(x509.MarshalPKCS1PublicKey(pub))
	return b64(sum[:])
}
