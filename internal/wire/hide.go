package wire

import "net/http"

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
// connections are closed nor whose proxy is asked. A nil wrap changes nothing. Wrap
// reports false if wrap returned nil; each exchange then fails.
func (c *Client) Wrap(wrap func(http.RoundTripper) http.RoundTripper) bool {
	if wrap == nil {
		return true
	}
	wrapped := wrap(Hide(c.transport())) // whoever prints what it holds shows no token either
	c.Wrapped = Hide(wrapped)
	return wrapped != nil
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
