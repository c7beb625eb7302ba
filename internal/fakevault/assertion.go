package fakevault

import "net/url"

// checkAssertion verifies the client assertion of a token request.
func (c *call) checkAssertion(a *app, form url.Values) *entraError {
	return &entraError{400, "invalid_request", 50027, "JWT token is invalid or malformed."}
}
