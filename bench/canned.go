package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

const (
	host   = "bench.vault.azure.net"
	tenant = "5eedf00d-7e4a-4d00-8a11-fa4e00000001"
	app    = "5eedf00d-c11e-4d00-8a11-fa4e00000002"
	secret = "fake-secret-of-the-benchmark"
	login  = "https://login.microsoftonline.com/" + tenant
	keyURL = "https://" + host + "/keys/tde/0123456789abcdef0123456789abcdef"
)

// A document is an answer that is always the same.
type document struct {
	status int
	header http.Header
	body   string
}

// canned is vault and authority in one round tripper: it makes no network, no
// cryptography and no parsing, so that what is measured is the client. It counts
// what it is asked.
type canned struct {
	requests                        atomic.Int64
	challenge, token, wrapped       *document
	instance, configuration, absent *document
}

func newCanned() *canned {
	doc := func(status int, body string) *document {
		return &document{status, http.Header{
			"Content-Type":           {"application/json; charset=utf-8"},
			"X-Ms-Request-Id":        {"5eedf00d-0000-4d00-8a11-fa4e00000003"},
			"X-Ms-Keyvault-Region":   {"westeurope"},
			"Cache-Control":          {"no-cache"},
			"Date":                   {"Mon, 02 Jan 2006 15:04:05 GMT"},
			"X-Content-Type-Options": {"nosniff"},
		}, body}
	}
	c := &canned{
		challenge: doc(401, `{"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer or PoP token."}}`),
		// An access token of Entra has about 1,500 bytes.
		token:   doc(200, `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"`+strings.Repeat("tokentoken", 150)+`"}`),
		wrapped: doc(200, `{"kid":"`+keyURL+`","value":"`+strings.Repeat("A", 342)+`"}`),
		instance: doc(200, `{"tenant_discovery_endpoint":"`+login+`/v2.0/.well-known/openid-configuration","api-version":"1.1","metadata":[`+
			`{"preferred_network":"login.microsoftonline.com","preferred_cache":"login.windows.net","aliases":["login.microsoftonline.com","login.windows.net","login.microsoft.com","sts.windows.net"]}]}`),
		configuration: doc(200, `{"token_endpoint":"`+login+`/oauth2/v2.0/token","issuer":"`+login+`/v2.0","authorization_endpoint":"`+login+`/oauth2/v2.0/authorize"}`),
		absent:        doc(404, `{}`),
	}
	c.challenge.header.Set("WWW-Authenticate", `Bearer authorization="`+login+`", resource="https://vault.azure.net"`)
	return c
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	if r.Body != nil {
		n, err := io.Copy(io.Discard, r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
		if n != r.ContentLength {
			return nil, errors.New("the body has not the length that the request declares")
		}
	}
	d := c.answer(r)
	return &http.Response{
		StatusCode: d.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: d.header, ContentLength: int64(len(d.body)), Request: r,
		Body: io.NopCloser(strings.NewReader(d.body)),
	}, nil
}

func (c *canned) answer(r *http.Request) *document {
	path := r.URL.Path
	switch {
	case r.URL.Host == host && r.Header["Authorization"] == nil:
		return c.challenge
	case r.URL.Host == host && strings.HasSuffix(path, "/wrapkey"):
		return c.wrapped
	case strings.HasSuffix(path, "/oauth2/v2.0/token"):
		return c.token
	case strings.HasSuffix(path, "/discovery/instance"):
		return c.instance
	case strings.HasSuffix(path, "/openid-configuration"):
		return c.configuration
	}
	return c.absent
}

func sameKey(got []byte) error {
	if len(got) != 256 || !bytes.Equal(got[:8], make([]byte, 8)) {
		return errors.New("that is not the wrapped key")
	}
	return nil
}
