package fakevault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// A vault's backup is the text of backupPrefix, whose first character is its own length (0x26 = 38), and a compact JWE
// (RFC 7516) with RSA-OAEP-256 and A256CBC-HS512. A Managed HSM's is a JWE with a shared key ("dir") alone. Both are
// sealed for subscription and region: two servers that agree in these can restore each other's backups, as real vaults
// of one subscription and geography can.
const backupPrefix = "&AzureKeyVaultKeyBackupV1.microsoft.com"

type backupValue struct {
	Value *string `json:"value"`
}

type backupContent struct {
	Name     string          `json:"name"`
	Versions []backupVersion `json:"versions"`
}

type backupVersion struct {
	ID      string            `json:"id"`
	Kty     string            `json:"kty"`
	Bits    int               `json:"bits"`
	Crv     string            `json:"crv"`
	Ops     []string          `json:"ops"`
	PKCS8   []byte            `json:"pkcs8"`
	Enabled bool              `json:"enabled"`
	Nbf     *int64            `json:"nbf"`
	Exp     *int64            `json:"exp"`
	Created int64             `json:"created"`
	Updated int64             `json:"updated"`
	Tags    map[string]string `json:"tags"`
	// Filler brings a backup to the size of a real one, 7.6 KB for one version of an RSA 2048 key.
	Filler []byte `json:"filler"`
}

type jweHeader struct {
	Kid string `json:"kid"`
	Alg string `json:"alg"`
	Enc string `json:"enc"`
}

// sealID names the key that seals backups.
func (s *Server) sealID() string { return seededID("seal", s.opts.Subscription, s.opts.Region) }

func (c *call) backup() (any, *fail) {
	c.s.mu.Lock()
	k, err := c.lookup()
	if err != nil {
		c.s.mu.Unlock()
		return nil, err
	}
	content := backupContent{Name: k.name}
	for _, v := range k.versions {
		content.Versions = append(content.Versions, v.export())
	}
	c.s.mu.Unlock()
	value := b64([]byte(c.s.seal(marshal(content))))
	return backupValue{&value}, nil
}

func (v *keyVersion) export() backupVersion {
	var priv any = v.rsa
	if v.rsa == nil {
		priv = v.ec
	}
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		panic(err)
	}
	return backupVersion{
		ID: v.id, Kty: v.kty, Bits: v.bits, Crv: v.crv, Ops: v.ops, PKCS8: der, Enabled: v.enabled, Nbf: v.nbf, Exp: v.exp,
		Created: v.created, Updated: v.updated, Tags: v.tags, Filler: make([]byte, 2525),
	}
}

func (b backupVersion) restored() (*keyVersion, error) {
	v := &keyVersion{
		id: b.ID, kty: b.Kty, bits: b.Bits, crv: b.Crv, ops: b.Ops, enabled: b.Enabled, nbf: b.Nbf, exp: b.Exp,
		created: b.Created, updated: b.Updated, tags: b.Tags,
	}
	priv, err := x509.ParsePKCS8PrivateKey(b.PKCS8)
	switch key := priv.(type) {
	case *rsa.PrivateKey:
		v.rsa = key
	case *ecdsa.PrivateKey:
		v.ec = key
	}
	return v, err
}

// seal encrypts a backup.
func (s *Server) seal(plain []byte) string {
	cek := make([]byte, 64)
	header := jweHeader{Kid: s.sealID(), Alg: "RSA-OAEP-256", Enc: "A256CBC-HS512"}
	prefix, encrypted := backupPrefix, []byte(nil)
	if s.hsm {
		prefix, header.Alg, header.Kid = "", "dir", "backup-protection-key"
		cek = s.domainKey()
	} else {
		_, _ = rand.Read(cek)
		var err error
		if encrypted, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, &s.signingKey.PublicKey, cek, nil); err != nil {
			panic(err)
		}
	}
	head := marshal(header)
	if s.hsm {
		head = alphabetic(head) // alg, enc, kid
	}
	protected := b64(head)
	iv := make([]byte, aes.BlockSize)
	_, _ = rand.Read(iv)
	cipherText, tag := sealCBC(cek, iv, plain, []byte(protected))
	return prefix + strings.Join([]string{protected, b64(encrypted), b64(iv), b64(cipherText), b64(tag)}, ".")
}

// domainKey is the shared key of a Managed HSM's security domain.
func (s *Server) domainKey() []byte {
	sum := sha512.Sum512([]byte("domain" + s.sealID()))
	return sum[:]
}

var errForeign = errors.New("sealed elsewhere")

// unseal is the reverse of seal. errForeign is a sound backup from somewhere else.
func (s *Server) unseal(blob string) ([]byte, error) {
	if !s.hsm {
		rest, ok := strings.CutPrefix(blob, backupPrefix)
		if !ok {
			return nil, errors.New("no prefix")
		}
		blob = rest
	}
	parts := strings.Split(blob, ".")
	if len(parts) != 5 {
		return nil, errors.New("not a compact JWE")
	}
	var raw [5][]byte
	for i, p := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(p); err != nil {
			return nil, err
		}
	}
	var header jweHeader
	if err := json.Unmarshal(raw[0], &header); err != nil {
		return nil, err
	}
	cek := s.domainKey()
	if !s.hsm {
		if header.Kid != s.sealID() {
			return nil, errForeign
		}
		var err error
		if cek, err = rsa.DecryptOAEP(sha256.New(), nil, s.signingKey, raw[1], nil); err != nil {
			return nil, errForeign
		}
	}
	plain, err := openCBC(cek, raw[2], raw[3], raw[4], []byte(parts[0]))
	if err != nil {
		return nil, errForeign
	}
	return plain, nil
}

// sealCBC is A256CBC-HS512, RFC 7518 section 5.2: the first half of the key authenticates, the second encrypts.
func sealCBC(key, iv, plain, aad []byte) (cipherText, tag []byte) {
	block, err := aes.NewCipher(key[32:])
	if err != nil {
		panic(err)
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	cipherText = append(append([]byte(nil), plain...), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(cipherText, cipherText)
	return cipherText, tagCBC(key, iv, cipherText, aad)
}

func tagCBC(key, iv, cipherText, aad []byte) []byte {
	mac := hmac.New(sha512.New, key[:32])
	mac.Write(aad)
	mac.Write(iv)
	mac.Write(cipherText)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(aad))*8))
	return mac.Sum(nil)[:32]
}

func openCBC(key, iv, cipherText, tag, aad []byte) ([]byte, error) {
	if len(key) != 64 || len(iv) != aes.BlockSize || len(cipherText) == 0 || len(cipherText)%aes.BlockSize != 0 ||
		!hmac.Equal(tag, tagCBC(key, iv, cipherText, aad)) {
		return nil, errors.New("not authentic")
	}
	block, err := aes.NewCipher(key[32:])
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(cipherText))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, cipherText)
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > aes.BlockSize {
		return nil, errors.New("bad padding")
	}
	return plain[:len(plain)-pad], nil
}

func (c *call) restore() (any, *fail) {
	content, err := c.openBackup()
	if err != nil {
		return nil, err
	}
	restored := &key{name: content.Name}
	for _, b := range content.Versions {
		v, err := b.restored()
		if err != nil {
			return nil, c.malformedBackup()
		}
		restored.versions = append(restored.versions, v)
	}
	newest := restored.version("")
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	id := strings.ToLower(content.Name)
	// A deleted key of that name is in the way as well, a purged one until the purge is through.
	if k := c.s.keys[id]; k != nil && !(k.purged && !c.s.settling(k)) {
		return nil, restoreConflict(c.s.keyID(content.Name, newest.id))
	}
	c.s.keys[id] = restored
	return c.s.bundle(restored.name, newest), nil
}

// openBackup reads the request. Texts and codes are recorded, but for the code of the foreign backup.
func (c *call) openBackup() (*backupContent, *fail) {
	var req backupValue
	if err := c.decode(&req); err != nil {
		return nil, err
	}
	blob, fault := bytesOf("value", req.Value)
	if fault != nil {
		return nil, fault
	}
	plain, err := c.s.unseal(string(blob))
	if errors.Is(err, errForeign) && !c.s.hsm {
		return nil, badParameter("Cannot decrypt backup blob.")
	}
	var content backupContent
	if err != nil || json.Unmarshal(plain, &content) != nil || len(content.Versions) == 0 {
		return nil, c.malformedBackup()
	}
	return &content, nil
}

func (c *call) malformedBackup() *fail {
	if c.s.hsm {
		return &fail{http.StatusBadRequest, "MalformedBackupBlob", "Backup blob belongs to a different crypto domain and cannot be used with this instance.", ""}
	}
	return &fail{http.StatusBadRequest, "Malformed backup blob", "Backup blob is corrupt.", ""}
}
