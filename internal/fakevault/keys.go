package fakevault

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"
)

// key is a key with all its versions, the newest last.
type key struct {
	name     string // as first written; identifiers compare without case
	versions []*keyVersion
	policy   *rotationPolicy
	// changed is when the last deletion, recovery or purge began; it shows after Options.DeleteLag.
	changed time.Time
	deleted bool
	at      int64 // deletedDate
	purged  bool
}

// keyVersion is never changed once others can see it; changes are made to a copy. This lets operations compute
// without a lock.
type keyVersion struct {
	id   string
	kty  string // RSA, RSA-HSM, EC, EC-HSM
	bits int
	crv  string
	ops  []string
	rsa  *rsa.PrivateKey
	ec   *ecdsa.PrivateKey

	enabled          bool
	nbf, exp         *int64
	created, updated int64
	tags             map[string]string
}

// version finds a version; the empty one is the newest.
func (k *key) version(id string) *keyVersion {
	if id == "" {
		return k.versions[len(k.versions)-1]
	}
	for _, v := range k.versions {
		if strings.EqualFold(v.id, id) {
			return v
		}
	}
	return nil
}

// The bodies, in the vault's order of members.

type keyBundle struct {
	Key        jwk               `json:"key"`
	Attributes attributes        `json:"attributes"`
	Tags       map[string]string `json:"tags,omitzero"`
}

type jwk struct {
	Kid    string   `json:"kid"`
	Kty    string   `json:"kty"`
	KeyOps []string `json:"key_ops"`
	N      string   `json:"n,omitempty"`
	E      string   `json:"e,omitempty"`
	Crv    string   `json:"crv,omitempty"`
	X      string   `json:"x,omitempty"`
	Y      string   `json:"y,omitempty"`
}

type attributes struct {
	Enabled         *bool  `json:"enabled,omitempty"`
	Nbf             *int64 `json:"nbf,omitempty"`
	Exp             *int64 `json:"exp,omitempty"`
	Created         int64  `json:"created,omitempty"`
	Updated         int64  `json:"updated,omitempty"`
	RecoveryLevel   string `json:"recoveryLevel,omitempty"`
	RecoverableDays int    `json:"recoverableDays,omitempty"`
	Exportable      *bool  `json:"exportable,omitempty"`
}

// keyID is the kid of a version, or of a key if version is empty.
func (s *Server) keyID(name, version string) string {
	id := s.VaultURL() + "/keys/" + name
	if version != "" {
		id += "/" + version
	}
	return id
}

func (s *Server) bundle(name string, v *keyVersion) keyBundle {
	b := keyBundle{
		Key:        jwk{Kid: s.keyID(name, v.id), Kty: v.kty, KeyOps: v.ops, Crv: v.crv},
		Attributes: s.attributes(v),
		Tags:       v.tags,
	}
	if v.rsa != nil {
		b.Key.N = b64(v.rsa.N.Bytes())
		b.Key.E = b64(big.NewInt(int64(v.rsa.E)).Bytes())
	} else {
		point, err := v.ec.PublicKey.Bytes() // 04 x y
		if err != nil {
			panic(err)
		}
		half := len(point) / 2
		b.Key.X, b.Key.Y = b64(point[1:1+half]), b64(point[1+half:])
	}
	return b
}

func (s *Server) attributes(v *keyVersion) attributes {
	enabled := v.enabled
	a := attributes{
		Enabled: &enabled, Nbf: v.nbf, Exp: v.exp, Created: v.created, Updated: v.updated,
		RecoveryLevel: "CustomizedRecoverable+Purgeable", RecoverableDays: s.opts.RecoverableDays,
	}
	if s.opts.RecoverableDays == 90 {
		a.RecoveryLevel = "Recoverable+Purgeable"
	}
	if s.hsm {
		a.Exportable = new(bool)
	}
	return a
}

// keyRequest is the body of create, import and update.
type keyRequest struct {
	Kty           string            `json:"kty"`
	KeySize       int               `json:"key_size"`
	Crv           string            `json:"crv"`
	KeyOps        []string          `json:"key_ops"`
	Attributes    *attributes       `json:"attributes"`
	Tags          map[string]string `json:"tags"`
	HSM           bool              `json:"Hsm"`
	Key           *importedKey      `json:"key"`
	ReleasePolicy any               `json:"release_policy"`
}

// lookup finds a key that is not deleted, or gives the error for its state. It must be called with the lock.
func (c *call) lookup() (*key, *fail) {
	k := c.s.keys[strings.ToLower(c.name)]
	if k == nil || k.deleted || k.purged || c.s.settling(k) {
		return nil, c.keyNotFound()
	}
	return k, nil
}

// find is lookup for one version, with the lock taken and given back.
func (c *call) find() (string, *keyVersion, *fail) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	k, err := c.lookup()
	if err != nil {
		return "", nil, err
	}
	v := k.version(c.version)
	if v == nil {
		return "", nil, c.keyNotFound()
	}
	return k.name, v, nil
}

func (c *call) get() (any, *fail) {
	name, v, err := c.find()
	if err != nil {
		return nil, err
	}
	return c.s.bundle(name, v), nil
}

func (c *call) create() (any, *fail) {
	var req keyRequest
	if err := c.decode(&req); err != nil {
		return nil, err
	}
	v, err := c.s.newVersion(&req)
	if err != nil {
		return nil, err
	}
	return c.addVersion(v, &req)
}

// addVersion puts a fresh version under the name of the call.
func (c *call) addVersion(v *keyVersion, req *keyRequest) (any, *fail) {
	if err := v.apply(req); err != nil {
		return nil, err
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	name, err := c.s.insert(c.name, v)
	if err != nil {
		return nil, err
	}
	return c.s.bundle(name, v), nil
}

// insert gives the version its id and stores it. Ids are counted, not drawn, so that a run can be repeated. It must be
// called with the lock.
func (s *Server) insert(name string, v *keyVersion) (string, *fail) {
	k := s.keys[strings.ToLower(name)]
	if k != nil && (k.deleted || k.purged) {
		if s.settling(k) {
			return "", beingDeleted()
		}
		if k.deleted {
			return "", deletedButRecoverable(k.name)
		}
		k = nil
	}
	if k == nil {
		k = &key{name: name}
		s.keys[strings.ToLower(name)] = k
	}
	s.versions++
	sum := sha256.Sum256([]byte(fmt.Sprint(s.opts.VaultHost, "/", strings.ToLower(name), "/", s.versions)))
	v.id = hex.EncodeToString(sum[:16])
	now := time.Now().Unix()
	v.created, v.updated = now, now
	k.versions = append(k.versions, v)
	return k.name, nil
}

// newVersion makes the key that is asked for, without id.
func (s *Server) newVersion(req *keyRequest) (*keyVersion, *fail) {
	v := &keyVersion{kty: req.Kty, enabled: true}
	if s.hsm && (v.kty == "RSA" || v.kty == "EC") {
		v.kty += "-HSM" // a Managed HSM has no other
	}
	switch req.Kty {
	case "RSA", "RSA-HSM":
		if v.bits = req.KeySize; v.bits == 0 {
			v.bits = s.opts.KeyBits
		} else if v.bits != 2048 && v.bits != 3072 && v.bits != 4096 {
			return nil, invalidProperty()
		}
		v.rsa = s.rsaKey(v.bits)
	case "EC", "EC-HSM":
		if v.crv = req.Crv; v.crv == "" {
			v.crv = "P-256"
		}
		curve := curveOf(v.crv)
		if curve == nil {
			return nil, invalidProperty() // P-256K as well: the standard library does not have it
		}
		var err error
		if v.ec, err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			panic(err)
		}
	default:
		return nil, invalidProperty()
	}
	return v, nil
}

func curveOf(name string) elliptic.Curve {
	switch name {
	case "P-256":
		return elliptic.P256()
	case "P-384":
		return elliptic.P384()
	case "P-521":
		return elliptic.P521()
	}
	return nil
}

// rsaKey takes a key from the pool, or makes one.
func (s *Server) rsaKey(bits int) *rsa.PrivateKey {
	s.mu.Lock()
	for i, k := range s.pool {
		if k.N.BitLen() == bits {
			s.pool = slices.Delete(s.pool, i, i+1)
			s.mu.Unlock()
			return k
		}
	}
	s.mu.Unlock()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

// defaultOps are in the vault's order.
func (v *keyVersion) defaultOps() []string {
	if v.rsa != nil {
		return []string{"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"}
	}
	return []string{"sign", "verify"}
}

// apply sets key_ops, attributes and tags of a version that nobody else sees yet.
func (v *keyVersion) apply(req *keyRequest) *fail {
	if req.KeyOps != nil {
		for _, op := range req.KeyOps {
			if !slices.Contains([]string{"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey", "import", "export"}, op) {
				return invalidProperty()
			}
		}
		v.ops = slices.Clone(req.KeyOps)
	}
	if v.ops == nil {
		v.ops = v.defaultOps()
	}
	if a := req.Attributes; a != nil {
		if a.Enabled != nil {
			v.enabled = *a.Enabled
		}
		if a.Nbf != nil {
			v.nbf = a.Nbf
		}
		if a.Exp != nil {
			v.exp = a.Exp
		}
	}
	if len(req.Tags) > 15 { // "About keys, secrets and certificates"
		return badParameter("Too many tags")
	}
	if req.Tags != nil {
		v.tags = maps.Clone(req.Tags)
	}
	return nil
}

func (c *call) update() (any, *fail) {
	var req keyRequest
	if err := c.decode(&req); err != nil {
		return nil, err
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	k, err := c.lookup()
	if err != nil {
		return nil, err
	}
	old := k.version(c.version)
	if old == nil {
		return nil, c.keyNotFound()
	}
	v := *old
	if err := v.apply(&req); err != nil {
		return nil, err
	}
	v.updated = time.Now().Unix()
	k.replace(old, &v)
	return c.s.bundle(k.name, &v), nil
}

func (k *key) replace(old, v *keyVersion) {
	k.versions[slices.Index(k.versions, old)] = v
}

// rotate makes a new version of the same kind.
func (c *call) rotate() (any, *fail) {
	_, old, err := c.find()
	if err != nil {
		return nil, err
	}
	req := keyRequest{Kty: old.kty, Crv: old.crv, KeyOps: old.ops, Tags: old.tags}
	v, err := c.s.newVersionLike(old, &req)
	if err != nil {
		return nil, err
	}
	c.s.mu.Lock()
	if k := c.s.keys[strings.ToLower(c.name)]; k != nil && k.policy != nil {
		v.exp = k.policy.expiry(time.Now())
	}
	c.s.mu.Unlock()
	return c.addVersion(v, &req)
}

func (s *Server) newVersionLike(old *keyVersion, req *keyRequest) (*keyVersion, *fail) {
	if old.rsa != nil {
		return &keyVersion{kty: old.kty, bits: old.bits, enabled: true, rsa: s.rsaKey(old.bits)}, nil
	}
	return s.newVersion(req)
}
