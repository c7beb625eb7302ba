package proxy

import (
	"net/url"

	"github.com/akv-ekm/ekm/internal/hidden"
)

// A Place is one place on a Windows machine, as the registry is read.
type Place struct{ Name, Server, Bypass, Script string }

// Windows is a Selector for mode System on a Windows machine with these settings.
func Windows(places ...Place) *Selector {
	found := make([]connection, len(places))
	for i, p := range places {
		found[i] = connection{p.Name, p.Server, p.Bypass, p.Script}
	}
	return settled(windowsPlan(found))
}

func settled(p *plan, err error) *Selector { return &Selector{plan: hidden.New(p), failure: err} }

// Bypassed reports whether a ProxyOverride has target reached directly.
func Bypassed(list string, target *url.URL) bool { return parseBypass(list).match(target) }

// ParseConnection reads a binary value of the registry.
func ParseConnection(blob []byte) (Place, error) {
	c, err := parseConnection(blob)
	return Place{c.place, c.server, c.bypass, c.script}, err
}

// DecodeText reads a string value of the registry.
func DecodeText(b []byte) string { return decodeText(b) }
