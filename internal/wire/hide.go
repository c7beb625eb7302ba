package wire

import (
	"net/http"
	"reflect"
)

// Hide returns t as a [Client]'s Transport, out of reach of what prints or dumps
// the Client: a transport's connections hold tokens, and the proxy's user and
// password.
func Hide(t http.RoundTripper) http.RoundTripper {
	return concealed(func() http.RoundTripper { return t })
}

// A concealed is what Hide returns: printers do not look into functions.
type concealed func() http.RoundTripper

// RoundTrip implements [http.RoundTripper].
func (t concealed) RoundTrip(r *http.Request) (*http.Response, error) { return t().RoundTrip(r) }

// transport is the round tripper itself, hidden or not.
func (c *Client) transport() http.RoundTripper {
	if t, ok := c.Transport.(concealed); ok {
		return t()
	}
	return c.Transport
}

// Wrap has requests go through what wrap makes of Transport. It changes neither whose
// connections are closed nor whose proxy is asked. A nil wrap changes nothing. If wrap
// returns [None], each exchange fails.
func (c *Client) Wrap(wrap func(http.RoundTripper) http.RoundTripper) {
	if wrap == nil {
		return
	}
	wrapped := wrap(Hide(c.transport())) // whoever prints what it holds shows no token either
	if None(wrapped) {
		wrapped = nil
	}
	c.Wrapped = Hide(wrapped)
}

// None reports whether t is nil or a nil pointer or function of some type, which
// would panic with the first request.
func None(t http.RoundTripper) bool {
	v := reflect.ValueOf(t)
	return t == nil || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil()
}

// way is the round tripper that requests are given to, or nil.
func (c *Client) way() http.RoundTripper {
	switch w := c.Wrapped.(type) {
	case nil:
		return c.transport()
	case concealed:
		return w()
	default:
		return w
	}
}
