package fakevault

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

type page struct {
	Value    []any   `json:"value"`
	NextLink *string `json:"nextLink"` // null on the vault's last page
}

// hsmPage leaves nextLink out of the last page.
type hsmPage struct {
	Value    []any   `json:"value"`
	NextLink *string `json:"nextLink,omitempty"`
}

type keyItem struct {
	Kid        string            `json:"kid"`
	Attributes attributes        `json:"attributes"`
	Tags       map[string]string `json:"tags,omitzero"`
}

type deletedItem struct {
	RecoveryID         string `json:"recoveryId"`
	DeletedDate        int64  `json:"deletedDate"`
	ScheduledPurgeDate int64  `json:"scheduledPurgeDate"`
	keyItem
}

// listed is an item under the marker that orders it. The vault sorts by name, and versions by their id, not by age.
type listed struct {
	marker string
	item   any
}

func (c *call) list() (any, *fail) {
	c.s.mu.Lock()
	var items []listed
	for _, k := range c.s.keys {
		if k.deleted || k.purged || c.s.settling(k) {
			continue
		}
		v := k.version("")
		items = append(items, listed{strings.ToLower(k.name), keyItem{c.s.keyID(k.name, ""), c.s.attributes(v), v.tags}})
	}
	c.s.mu.Unlock()
	return c.page(items)
}

// listVersions of a key that does not exist is an empty list. [inference: the recordings have no 404 for it]
func (c *call) listVersions() (any, *fail) {
	c.s.mu.Lock()
	k, err := c.lookup()
	var items []listed
	if err == nil {
		for _, v := range k.versions {
			items = append(items, listed{v.id, keyItem{c.s.keyID(k.name, v.id), c.s.attributes(v), v.tags}})
		}
	}
	c.s.mu.Unlock()
	return c.page(items)
}

func (c *call) listDeleted() (any, *fail) {
	c.s.mu.Lock()
	var items []listed
	for _, k := range c.s.keys {
		if !k.deleted || c.s.settling(k) {
			continue
		}
		b := c.s.deletedBundle(k)
		items = append(items, listed{strings.ToLower(k.name), deletedItem{
			b.RecoveryID, b.DeletedDate, b.ScheduledPurgeDate, keyItem{c.s.keyID(k.name, ""), b.Attributes, b.Tags},
		}})
	}
	c.s.mu.Unlock()
	return c.page(items)
}

// skipToken is base64url of JSON in the vault's next links. The marker is "2!", a length, "!" and base64.
type skipToken struct {
	NextMarker     string `json:"NextMarker"`
	TargetLocation int    `json:"TargetLocation"`
}

// position is what our marker holds: the last item sent, and whether the empty page in front of the next was sent.
type position struct {
	after string
	empty bool
}

func (p position) token() string {
	inner := base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("%s!%t", p.after, p.empty)))
	inner = strings.ReplaceAll(inner, "=", "-") // as the vault pads it
	return b64(marshal(skipToken{NextMarker: fmt.Sprintf("2!%d!%s", len(inner), inner)}))
}

func parsePosition(token string) (position, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	var st skipToken
	if err != nil || json.Unmarshal(raw, &st) != nil {
		return position{}, false
	}
	parts := strings.Split(st.NextMarker, "!")
	if len(parts) != 3 {
		return position{}, false
	}
	inner, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(parts[2], "-", "="))
	after, empty, ok := strings.Cut(string(inner), "!")
	return position{after, empty == "true"}, err == nil && ok
}

// page cuts one page out of the items.
func (c *call) page(items []listed) (any, *fail) {
	slices.SortFunc(items, func(a, b listed) int { return strings.Compare(a.marker, b.marker) })
	query := c.r.URL.Query()
	size := 25
	if text := query.Get("maxresults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 25 {
			return nil, badParameter("Invalid maxresults. The value must be between 1 and 25.") // no real text was found
		}
		size = n
	}
	var pos position
	if text := query.Get("$skiptoken"); text != "" {
		var ok bool
		if pos, ok = parsePosition(text); !ok {
			return nil, invalidProperty()
		}
	}
	start := 0
	for start < len(items) && items[start].marker <= pos.after && pos.after != "" {
		start++
	}
	value, next := []any{}, ""
	if c.s.opts.EmptyPages && !pos.empty {
		next = position{pos.after, true}.token()
	} else {
		end := min(start+size, len(items))
		for _, it := range items[start:end] {
			value = append(value, it.item)
		}
		if end < len(items) {
			next = position{items[end-1].marker, false}.token()
		}
	}
	if c.s.hsm {
		return hsmPage{value, c.nextLink(next, query)}, nil
	}
	return page{value, c.nextLink(next, query)}, nil
}

// nextLink is spelled as recorded: a vault names the port and the api-version, a Managed HSM neither.
func (c *call) nextLink(token string, query url.Values) *string {
	if token == "" {
		return nil
	}
	limit := query.Get("maxresults")
	var link string
	if c.s.hsm {
		link = "https://" + c.s.opts.VaultHost + c.r.URL.EscapedPath() + "?"
		if limit != "" {
			link += "maxresults=" + limit + "&"
		}
		link += "$skiptoken=" + token
		return &link
	}
	link = "https://" + c.s.opts.VaultHost + ":443" + c.r.URL.EscapedPath() + "?api-version=" + query.Get("api-version") + "&$skiptoken=" + token
	if limit != "" {
		link += "&maxresults=" + limit
	}
	return &link
}
