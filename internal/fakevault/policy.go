package fakevault

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// rotationPolicy is kept, and its expiry is given to rotated versions; the fake does not rotate on its own.
type rotationPolicy struct {
	ID              string            `json:"id,omitempty"`
	LifetimeActions []lifetimeAction  `json:"lifetimeActions"`
	Attributes      *policyAttributes `json:"attributes"`
}

type lifetimeAction struct {
	Trigger lifetimeTrigger `json:"trigger"`
	Action  lifetimeType    `json:"action"`
}

type lifetimeTrigger struct {
	TimeAfterCreate  string `json:"timeAfterCreate,omitempty"`
	TimeBeforeExpiry string `json:"timeBeforeExpiry,omitempty"`
}

type lifetimeType struct {
	Type string `json:"type"`
}

type policyAttributes struct {
	ExpiryTime string `json:"expiryTime,omitempty"`
	Created    int64  `json:"created,omitempty"`
	Updated    int64  `json:"updated,omitempty"`
}

// getPolicy of a key without one gives what was recorded: the default notification, attributes null, no id.
func (c *call) getPolicy() (any, *fail) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	k, err := c.lookup()
	if err != nil {
		return nil, err
	}
	if k.policy == nil {
		return rotationPolicy{LifetimeActions: []lifetimeAction{{lifetimeTrigger{TimeBeforeExpiry: "P30D"}, lifetimeType{"Notify"}}}}, nil
	}
	return *k.policy, nil
}

func (c *call) setPolicy() (any, *fail) {
	var p rotationPolicy
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	for i := range p.LifetimeActions {
		a := &p.LifetimeActions[i].Action.Type
		switch strings.ToLower(*a) {
		case "rotate":
			*a = "Rotate"
		case "notify":
			*a = "Notify"
		default:
			return nil, invalidProperty()
		}
	}
	if p.Attributes == nil {
		p.Attributes = &policyAttributes{}
	}
	if p.Attributes.ExpiryTime != "" && !period.MatchString(p.Attributes.ExpiryTime) {
		return nil, invalidProperty()
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	k, err := c.lookup()
	if err != nil {
		return nil, err
	}
	now := time.Now().Unix()
	p.Attributes.Created, p.Attributes.Updated = now, now
	if k.policy != nil {
		p.Attributes.Created = k.policy.Attributes.Created
	}
	p.ID = c.s.keyID(k.name, "") + "/rotationpolicy"
	if c.s.hsm {
		p.ID = "keys/" + k.name + "/rotationpolicy"
	}
	k.policy = &p
	return p, nil
}

// period is the part of ISO 8601 that rotation policies use: P90D, P2Y, P18M.
var period = regexp.MustCompile(`^P(\d{1,4})([DMY])$`)

// expiry is when a version made now expires, nil if the policy does not say.
func (p *rotationPolicy) expiry(now time.Time) *int64 {
	m := period.FindStringSubmatch(p.Attributes.ExpiryTime)
	if m == nil {
		return nil
	}
	n, _ := strconv.Atoi(m[1])
	t := now
	switch m[2] {
	case "D":
		t = now.Add(time.Duration(n) * 24 * time.Hour)
	case "M":
		t = now.AddDate(0, n, 0)
	case "Y":
		t = now.AddDate(n, 0, 0)
	}
	unix := t.Unix()
	return &unix
}
