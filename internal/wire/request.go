package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"

	"github.com/akv-ekm/ekm"
)

// request builds the HTTP request and hangs the phase trace on its context.
func (x *exchange) request(ctx context.Context, c *Client, r *Request) (*http.Request, error) {
	u, err := url.Parse(r.URL)
	if badHost(err) {
		return nil, errHost
	}
	// Only the platform's own endpoint is without TLS: it is this machine's.
	plain := err == nil && u.Scheme == "http" && r.Party == ekm.ManagedIdentity
	if err != nil || u.Scheme != "https" && !plain || !validMethod(r.Method) {
		return nil, errAddress
	}
	x.host = strings.TrimSuffix(u.Host, ":443")
	if !validHost(u) || r.Host != "" && !strings.EqualFold(x.host, r.Host) {
		return nil, errHost
	}
	header := make(http.Header, 6+len(r.Header))
	for name, values := range r.Header {
		header[name] = values
	}
	names := [...]string{"Accept", "User-Agent", "Authorization", "Content-Type", "X-Ms-Client-Request-Id"}
	values := [...]string{"application/json", c.UserAgent, r.Authorization, r.ContentType, r.Correlation}
	for i, name := range names {
		if values[i] != "" {
			header[name] = values[i : i+1 : i+1]
		}
	}
	if !validHeader(header) {
		return nil, errHeaderValue
	}
	req := &http.Request{
		Method: r.Method, URL: u, Host: u.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if r.Body != nil {
		req.Body = io.NopCloser(newBody(r.Body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(newBody(r.Body)), nil }
		req.ContentLength = int64(len(r.Body))
	} else if r.Method == http.MethodPost {
		// Says "Content-Length: 0", without which some gateways answer 411.
		req.Body = http.NoBody
	}
	return req.WithContext(httptrace.WithClientTrace(context.WithValue(ctx, exchangeKey{}, x), x.trace())), nil
}

func newBody(b []byte) io.Reader { return bytes.NewReader(b) }

func validMethod(m string) bool {
	return m != "" && strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// badHost reports that an address does not parse because of its host or port.
func badHost(err error) bool {
	if err == nil {
		return false
	}
	_, illegal := errors.AsType[url.InvalidHostError](err)
	return illegal || strings.Contains(err.Error(), "invalid port ")
}

// validHost accepts what DNS and RFC 3986 call a host, with an optional port.
func validHost(u *url.URL) bool {
	name := u.Hostname()
	if name == "" || len(name) > 253 || u.User != nil || strings.HasSuffix(u.Host, ":") {
		return false
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	for _, c := range []byte(name) {
		ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == ':'
		if !ok {
			return false
		}
	}
	return true
}

// validHeader checks field values: RFC 9110, 5.5, without obs-text.
func validHeader(h http.Header) bool {
	for _, values := range h {
		for _, v := range values {
			for _, c := range []byte(v) {
				if c < ' ' && c != '\t' || c >= 0x7f {
					return false
				}
			}
		}
	}
	return true
}
