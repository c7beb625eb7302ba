package wire

import (
	"bytes"
	"math/bits"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/akv-ekm/ekm/internal/b64"
)

const (
	// partLength is how much of a secret is a part of it, and not a word that both
	// happen to have.
	partLength = 8
	// shortest is the length of the shortest secret that is looked for.
	shortest = 4
	// searchBudget is how many bytes the search for an echo may look at, decoded
	// texts included. An honest message of 1 KiB takes less than a tenth.
	searchBudget = 256 << 10
)

// secrets are what must not come back in a server's text.
type secrets struct {
	parts  [][]byte // of which no eight bytes in a row may
	whole  [][]byte // which may not as a whole
	filter []uint64 // a Bloom filter, with one hash, of the parts' runs of eight bytes
	least  int      // the length of the shortest text that is looked for
}

// secrets collects what r must keep secret. Parts of the body are no secret as
// such, as it holds the names of algorithms and the like.
func (r *Request) secrets() *secrets {
	h := &secrets{least: partLength}
	h.addWhole(string(r.Body))
	h.add(string(r.Secret))
	if key, err := b64.Decode(string(r.Secret)); err == nil {
		h.add(string(key))
	}
	for _, one := range r.Secrets {
		h.add(one)
	}
	if _, credentials, ok := strings.Cut(r.Authorization, " "); ok {
		h.add(strings.TrimSpace(credentials))
	} else {
		h.add(r.Authorization)
	}
	for _, user := range r.made.proxyUsers() {
		h.addProxyUser(user)
	}
	h.index()
	return h
}

// add adds a secret. Blanks in it may have become line breaks, or nothing.
func (h *secrets) add(secret string) {
	forms := []string{secret}
	if s := squeezed(secret); s != secret && (utf8.ValidString(secret) || len(s) >= partLength) {
		forms = append(forms, s)
	}
	for _, form := range forms {
		if len(form) < partLength {
			h.addWhole(form)
		} else {
			h.parts = append(h.parts, []byte(form))
		}
	}
}

func (h *secrets) addWhole(text string) {
	if len(text) < shortest {
		return
	}
	h.whole = append(h.whole, []byte(text))
	h.least = min(h.least, len(text))
}

func (h *secrets) addProxyUser(user *url.Userinfo) {
	const token = 16 // characters, which no account's name has and any token does
	password, _ := user.Password()
	h.add(password)
	if password != "" {
		h.addWhole(user.Username() + ":" + password)
	}
	if name := user.Username(); password == "" || len(name) >= token {
		h.add(name)
	}
}

func (h *secrets) index() {
	n := 0
	for _, part := range h.parts {
		n += len(part)
	}
	if n == 0 {
		return
	}
	h.filter = make([]uint64, max(1<<6, 1<<bits.Len(uint(n/4)))) // 16 bits for each run, at least
	for _, part := range h.parts {
		h.runs(part, func(_ int, word, bit uint64) bool {
			h.filter[word] |= bit
			return false
		})
	}
}

// runs calls f with the place of each run of eight bytes in the filter, and with
// where the run ends, until f returns true.
func (h *secrets) runs(text []byte, f func(end int, word, bit uint64) bool) bool {
	var run uint64
	shift := 64 - bits.Len(uint(len(h.filter)-1)) - 6
	for i, c := range text {
		if run = run<<8 | uint64(c); i < partLength-1 {
			continue
		}
		hash := run * 0x9e3779b97f4a7c15 >> shift // Fibonacci hashing
		if f(i+1, hash>>6, 1<<(hash&63)) {
			return true
		}
	}
	return false
}

// in reports whether text holds a secret, or a part of one, as it is.
func (h *secrets) in(text []byte) bool {
	for _, w := range h.whole {
		if bytes.Contains(text, w) {
			return true
		}
	}
	return len(h.filter) > 0 && h.runs(text, func(end int, word, bit uint64) bool {
		if h.filter[word]&bit == 0 {
			return false
		}
		for _, part := range h.parts {
			if bytes.Contains(part, text[end-partLength:end]) {
				return true
			}
		}
		return false
	})
}

// repeatedBy reports whether text holds a secret or a part of one, under any chain
// of the encodings that [Request.Clean] lists, or is too much to be searched.
func (h *secrets) repeatedBy(text string) bool {
	if len(h.whole)+len(h.parts) == 0 {
		return false
	}
	budget := searchBudget
	found := func(b []byte) bool {
		budget -= len(b)
		return budget < 0 || h.in(b)
	}
	seen := map[string]struct{}{text: {}}
	texts := []string{text}
	later := func(s string) {
		if _, ok := seen[s]; !ok && len(s) >= h.least {
			seen[s] = struct{}{}
			texts = append(texts, s)
		}
	}
	for len(texts) > 0 {
		text, texts = texts[0], texts[1:]
		if found([]byte(text)) {
			return true
		}
		for _, rewrite := range rewrites {
			later(rewrite(text))
		}
		if narrow := narrowed(text); narrow != nil && found(narrow) {
			return true
		}
		// Most of what is decoded here was never encoded: it is searched, but only
		// what could be text is decoded further.
		for _, decoded := range unpacked(text, h.least) {
			if found(decoded) {
				return true
			}
			later(textIn(decoded, h.least))
		}
	}
	return false
}

// proxyUsers are the users of the proxies that the exchange may have gone through.
func (x *exchange) proxyUsers() []*url.Userinfo {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	users := make([]*url.Userinfo, 0, len(x.users)+1)
	for _, user := range x.users {
		users = append(users, user())
	}
	x.mu.Unlock()
	// Another's transport does not note its choice, but makes it again.
	if t, ok := x.client.transport().(*http.Transport); ok && t.Proxy != nil && x.asked != nil && len(users) == 0 {
		if u, err := t.Proxy(x.asked); err == nil && u != nil && u.User != nil {
			users = append(users, u.User)
		}
	}
	return users
}
