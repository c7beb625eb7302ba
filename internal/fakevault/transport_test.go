package fakevault_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

// body is a request body that remembers being closed.
type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func TestTransportClosesTheRequestBody(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	done, cancel := context.WithCancel(t.Context())
	cancel()
	u := &user{t: t, s: s, http: &http.Client{Transport: s.Transport()}}
	for name, change := range map[string]func(*http.Request) *http.Request{
		"good":         func(r *http.Request) *http.Request { return r },
		"no such host": func(r *http.Request) *http.Request { r.URL.Host = "other.example"; return r },
		"no host":      func(r *http.Request) *http.Request { r.URL.Host = ""; return r },
		"scheme":       func(r *http.Request) *http.Request { r.URL.Scheme = "ftp"; return r },
		"no URL":       func(r *http.Request) *http.Request { r.URL = nil; return r },
		"no header":    func(r *http.Request) *http.Request { r.Header = nil; return r },
		"header name":  func(r *http.Request) *http.Request { r.Header["a b"] = []string{"x"}; return r },
		"header value": func(r *http.Request) *http.Request { r.Header["A"] = []string{"x\ny"}; return r },
		"canceled":     func(r *http.Request) *http.Request { return r.WithContext(done) },
		"length":       func(r *http.Request) *http.Request { r.ContentLength = 7; return r },
		"length short": func(r *http.Request) *http.Request { r.ContentLength = 1; return r },
	} {
		b := &body{Reader: strings.NewReader("{}")}
		req := u.request("POST", s.VaultURL()+"/keys/k/create?api-version=7.4", "x")
		req.Body, req.ContentLength = b, 2
		res, err := s.Transport().RoundTrip(change(req))
		assert.True(t, b.closed, name)
		if name == "good" {
			require.NoError(t, err)
			assert.Same(t, req, res.Request)
			require.NoError(t, res.Body.Close())
			_, err = res.Body.Read(make([]byte, 1))
			assert.ErrorIs(t, err, http.ErrBodyReadAfterClose)
			continue
		}
		assert.Error(t, err, name)
		assert.Nil(t, res, name)
	}
	assert.Len(t, s.Journal(), 1, "what was refused never reached the server")
}

func TestTransportKnowsOnlyItsHosts(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	_, err := (&http.Client{Transport: s.Transport()}).Get("https://other.vault.azure.net/keys")
	var dns *net.DNSError
	require.ErrorAs(t, err, &dns)
	assert.True(t, dns.IsNotFound)

	s.Script(fakevault.Fault{Kind: fakevault.Refuse, Host: s.VaultHost(), Skip: 1})
	client := &http.Client{Transport: s.Transport()}
	for _, refused := range []bool{false, true, false} {
		res, err := client.Get(s.VaultURL() + "/keys")
		if refused {
			var op *net.OpError
			require.ErrorAs(t, err, &op)
			assert.Equal(t, "dial", op.Op)
			assert.ErrorContains(t, err, "connection refused")
			continue
		}
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
	}
	assert.Len(t, s.Journal(), 2)
}

func TestTransportRespectsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, fakevault.Options{})
		s.Script(fakevault.Fault{Kind: fakevault.Hang, Times: -1})
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", s.VaultURL()+"/keys", nil)
		require.NoError(t, err)
		_, err = s.Transport().RoundTrip(req)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 7*time.Second, time.Since(start))

		cause := errors.New("enough")
		ctx, cancelCause := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancelCause(cause) })
		_, err = s.Transport().RoundTrip(req.WithContext(ctx))
		assert.ErrorIs(t, err, cause)

		client := &http.Client{Transport: s.Transport(), Timeout: 3 * time.Second}
		_, err = client.Get(s.VaultURL() + "/keys")
		var timeout *url.Error
		require.ErrorAs(t, err, &timeout)
		assert.True(t, timeout.Timeout())

		// A server that closes ends what hangs.
		time.AfterFunc(time.Minute, s.Close)
		_, err = (&http.Client{Transport: s.Transport()}).Get(s.VaultURL() + "/keys")
		assert.ErrorIs(t, err, io.EOF)
		_, err = (&http.Client{Transport: s.Transport()}).Get(s.VaultURL() + "/keys")
		assert.ErrorIs(t, err, io.EOF, "and nothing hangs afterwards")
	})
}

// A client that never finishes its own body is cut off by its context.
func TestTransportDoesNotWaitForTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, fakevault.Options{})
		r, w := io.Pipe()
		defer w.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "POST", s.VaultURL()+"/keys/k/create", r)
		require.NoError(t, err)
		_, err = s.Transport().RoundTrip(req)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Empty(t, s.Journal())
	})
}

func TestTransportBodyEndsWithTheContext(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", s.VaultURL()+"/keys", nil)
	require.NoError(t, err)
	res, err := s.Transport().RoundTrip(req)
	require.NoError(t, err)
	defer res.Body.Close()
	_, err = res.Body.Read(make([]byte, 10))
	require.NoError(t, err)
	cancel()
	_, err = io.ReadAll(res.Body)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestTransportDetails(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	var seen []string
	trace := &httptrace.ClientTrace{
		GetConn:              func(hostPort string) { seen = append(seen, hostPort) },
		GotConn:              func(httptrace.GotConnInfo) { seen = append(seen, "connection") },
		WroteRequest:         func(httptrace.WroteRequestInfo) { seen = append(seen, "request") },
		GotFirstResponseByte: func() { seen = append(seen, "response") },
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "HEAD", "https://user:pw@"+s.VaultHost()+"/keys", nil)
	require.NoError(t, err)
	req.Method = ""
	before := req.Clone(t.Context()).Header
	res, err := s.Transport().RoundTrip(req)
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, []string{s.VaultHost() + ":443", "connection", "request", "response"}, seen)
	assert.Equal(t, before, req.Header, "the request is the caller's")
	assert.EqualValues(t, tls.VersionTLS13, res.TLS.Version)
	assert.Equal(t, "401 Unauthorized", res.Status)
	e := s.Journal()[0]
	assert.Equal(t, "GET", e.Method)
	assert.True(t, e.HasAuthorization)

	req.Method = "HEAD"
	res, err = s.Transport().RoundTrip(req)
	require.NoError(t, err)
	data, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Empty(t, data)
	assert.EqualValues(t, 97, res.ContentLength)
}
