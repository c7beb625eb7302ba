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
