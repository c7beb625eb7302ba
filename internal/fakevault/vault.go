package fakevault

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// The front door of the vault: paths, api-version, headers. The operations are in keys.go, cryptography.go, lifecycle.go,
// listing.go, backup.go and policy.go.

// route finds operation, name and version in a path. Empty segments are meant: /keys/name//wrapkey is the latest
// version, as recorded clients write it. Verbs are compared without case, because documentation and clients differ.
func (c *call) route() {
	segs := strings.Split(strings.TrimPrefix(c.r.URL.EscapedPath(), "/"), "/")
	for i := range segs {
		if s, err := url.PathUnescape(segs[i]); err == nil {
			segs[i] = s
		}
	}
	if last := len(segs) - 1; last > 0 && segs[last] == "" {
		segs = segs[:last] // a trailing slash: the empty version
	}
	method := c.r.Method
	if m := c.r.Header.Get("X-HTTP-METHOD"); m != "" && method == http.MethodPost {
		method = strings.ToUpper(m) // for clients that can only GET and POST (Microsoft Learn, "Authentication, requests and responses")
	}
	switch strings.ToLower(segs[0]) {
	case "keys":
		c.routeKeys(method, segs[1:])
	case "deletedkeys":
		c.routeDeleted(method, segs[1:])
	case "rng":
		if method == http.MethodPost && len(segs) == 1 {
			c.op = OpRandom
		}
	}
}

func (c *call) routeKeys(method string, segs []string) {
	if len(segs) > 0 {
		c.name = segs[0]
	}
	switch len(segs) {
	case 0:
		c.op = choose(method == http.MethodGet, OpList)
	case 1:
		c.op = keyOperation(method)
		if method == http.MethodPost && strings.EqualFold(c.name, "restore") {
			c.op, c.name = OpRestore, ""
		}
	case 2:
		verb := strings.ToLower(segs[1])
		if c.op = subresource(method, verb); c.op == "" && method == http.MethodPost {
			c.op = cryptoOperation(verb) // the latest version, as newer clients write it
		}
		if c.op == "" {
			c.version = segs[1]
			if method == http.MethodGet || method == http.MethodPatch {
				c.op = keyOperation(method)
			}
		}
	case 3:
		c.version = segs[1]
		if method == http.MethodPost {
			c.op = cryptoOperation(strings.ToLower(segs[2]))
		}
	}
}

func keyOperation(method string) Operation {
	switch method {
	case http.MethodGet:
		return OpGet
	case http.MethodPut:
		return OpImport
	case http.MethodPatch:
		return OpUpdate
	case http.MethodDelete:
		return OpDelete
	}
	return ""
}

func subresource(method, verb string) Operation {
	switch method + " " + verb {
	case "POST create":
		return OpCreate
	case "POST rotate":
		return OpRotate
	case "POST backup":
		return OpBackup
	case "GET versions":
		return OpVersions
	case "GET rotationpolicy":
		return OpGetRotationPolicy
	case "PUT rotationpolicy":
		return OpSetRotationPolicy
	}
	return ""
}

func cryptoOperation(verb string) Operation {
	switch verb {
	case "wrapkey":
		return OpWrap
	case "unwrapkey":
		return OpUnwrap
	case "encrypt":
		return OpEncrypt
	case "decrypt":
		return OpDecrypt
	case "sign":
		return OpSign
	case "verify":
		return OpVerify
	}
	return ""
}

func (c *call) routeDeleted(method string, segs []string) {
	switch len(segs) {
	case 0:
		c.op = choose(method == http.MethodGet, OpListDeleted)
	case 1:
		c.name = segs[0]
		switch method {
		case http.MethodGet:
			c.op = OpGetDeleted
		case http.MethodDelete:
			c.op = OpPurge
		}
	case 2:
		c.name = segs[0]
		c.op = choose(method == http.MethodPost && strings.EqualFold(segs[1], "recover"), OpRecover)
	}
}

func choose(ok bool, op Operation) Operation {
	if ok {
		return op
	}
	return ""
}

// vault answers at the vault's host.
func (c *call) vault() *reply {
	if rep := c.authenticate(); rep != nil {
		return rep
	}
	value, err := c.checked()
	if err != nil {
		rep := c.errorReply(err)
		if err.status == http.StatusTooManyRequests {
			rep.body = []byte(throttledBody)
			if after := c.s.opts.Throttle.RetryAfter; after != "" {
				rep.header.Set("Retry-After", after)
			}
		}
		return rep
	}
	if value == nil { // purge
		rep := newReply(http.StatusNoContent, "", nil)
		c.vaultHeader(rep)
		return rep
	}
	rep := jsonReply(http.StatusOK, value)
	if c.s.hsm {
		rep.body = alphabetic(rep.body)
	}
	c.vaultHeader(rep)
	return rep
}

// checked does what is common to all operations, then the operation.
func (c *call) checked() (any, *fail) {
	if err := c.checkAPIVersion(); err != nil {
		return nil, err
	}
	if c.op == "" {
		return nil, &fail{http.StatusMethodNotAllowed, "MethodNotAllowed", "The HTTP method or path is not supported: " + c.r.Method + " " + c.r.URL.Path, ""}
	}
	switch c.op {
	case OpList, OpListDeleted, OpRestore, OpRandom:
	default:
		if !validName(c.name) {
			return nil, c.invalidName()
		}
	}
	if !c.s.admit(c) {
		return nil, &fail{http.StatusTooManyRequests, "Throttled", "", ""}
	}
	if err := c.denied(); err != nil {
		return nil, err
	}
	return c.run()
}

func (c *call) run() (any, *fail) {
	switch c.op {
	case OpCreate:
		return c.create()
	case OpImport:
		return c.importKey()
	case OpGet:
		return c.get()
	case OpUpdate:
		return c.update()
	case OpRotate:
		return c.rotate()
	case OpList:
		return c.list()
	case OpVersions:
		return c.listVersions()
	case OpListDeleted:
		return c.listDeleted()
	case OpWrap, OpUnwrap, OpEncrypt, OpDecrypt:
		return c.cryptography()
	case OpSign:
		return c.sign()
	case OpVerify:
		return c.verify()
	case OpBackup:
		return c.backup()
	case OpRestore:
		return c.restore()
	case OpDelete:
		return c.remove()
	case OpGetDeleted:
		return c.getDeleted()
	case OpRecover:
		return c.recover()
	case OpPurge:
		return c.purge()
	case OpGetRotationPolicy:
		return c.getPolicy()
	case OpSetRotationPolicy:
		return c.setPolicy()
	case OpRandom:
		return c.random()
	}
	panic("fakevault: operation without a handler: " + string(c.op))
}

// knownVersions are the api-versions of Microsoft's specification, old date versions included. The newest stable one is
// named in the error.
var knownVersions = regexp.MustCompile(`^(7\.[0-6](-preview(\.\d)?)?|20(15|16|25|26)-\d\d-\d\d(-preview)?)$`)

const latestVersion = "2025-07-01"

// checkAPIVersion. Managed HSM leaves api-version out of its own next links and takes them without, so there it is
// optional.
func (c *call) checkAPIVersion() *fail {
	version := c.r.URL.Query().Get("api-version")
	switch {
	case version == "" && c.s.hsm:
		return nil
	case version == "":
		return badParameter("api-version must be specified") // no real text was found
	case !knownVersions.MatchString(version):
		return badParameter("The specified version (%s) is not recognized. Consider using the latest supported version (%s).", version, latestVersion)
	}
	return nil
}

// validName follows the pattern of the specification; the length is documented in "About keys, secrets and certificates".
func validName(name string) bool {
	if len(name) < 1 || len(name) > 127 {
		return false
	}
	for _, r := range name {
		if !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-') {
			return false
		}
	}
	return true
}

// decode reads a JSON body into v.
func (c *call) decode(v any) *fail {
	mediaType, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if mediaType != "application/json" || len(bytes.TrimSpace(c.body)) == 0 {
		return invalidProperty()
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		return invalidProperty()
	}
	return nil
}

// vaultHeader sets what the vault, or the Managed HSM, sends with every answer; names and values are those of the
// recordings.
func (c *call) vaultHeader(rep *reply) {
	h := rep.header
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h["x-ms-request-id"] = []string{c.requestID}
	if id := c.r.Header.Get("x-ms-client-request-id"); id != "" {
		h["x-ms-client-request-id"] = []string{id}
	}
	stamp(h)
	if c.s.hsm {
		h.Set("Content-Security-Policy", "default-src 'self'")
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
		h.Set("X-Frame-Options", "SAMEORIGIN")
		h["x-ms-server-latency"] = []string{"1"}
		if rep.status < 300 {
			h["x-ms-keyvault-network-info"] = []string{"conn_type=Ipv4;addr=203.0.113.7;act_addr_fam=Ipv4;"}
			h["x-ms-keyvault-region"] = []string{c.s.opts.Region}
		}
		return
	}
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h.Set("Strict-Transport-Security", "max-age=31536000;includeSubDomains")
	h["x-ms-keyvault-region"] = []string{c.s.opts.Region}
	h["x-ms-keyvault-service-version"] = []string{"1.9.3019.1"}
	h["x-ms-keyvault-network-info"] = []string{"conn_type=Ipv4;addr=203.0.113.7;act_addr_fam=InterNetwork;"}
}
