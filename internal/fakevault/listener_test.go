package fakevault_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

func TestListener(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateKey("k", 0)
	l, err := s.Listen()
	require.NoError(t, err)
	defer l.Close()
	u := &user{t: t, s: s, http: &http.Client{Transport: l.Transport()}}

	// All hosts, by their names, over one listener.
	status, header, body := u.askToken(nil)
	require.Equal(t, 200, status)
	assert.Equal(t, []string{"fpc", "x-ms-gateway-slice", "stsservicecookie"}, cookieNames(header))
	u.token = body["access_token"].(string)
	res, _ := u.call("POST", "/keys/k//wrapkey", `{"alg":"RSA-OAEP","value":"YXJlcGE"}`)
	assert.Equal(t, 200, res.StatusCode)
	assert.Equal(t, "HTTP/2.0", res.Proto)
	assert.GreaterOrEqual(t, res.TLS.Version, uint16(tls.VersionTLS12))
	assert.Equal(t, "HTTP/2.0", s.Journal()[1].Proto)
	req := u.request("GET", s.IMDSURL()+"?api-version=2018-02-01&resource=https://vault.azure.net", "")
	req.Header.Set("Metadata", "true")
	res, _ = u.do(req)
	assert.Equal(t, 200, res.StatusCode)
	for _, base := range []string{s.AppServiceURL(), "http://" + l.PlainAddr + "/msi/token"} {
		req = u.request("GET", base+"?api-version=2019-08-01&resource=https://vault.azure.net", "")
		req.Header.Set("X-IDENTITY-HEADER", s.IdentityHeader())
		res, _ = u.do(req)
		assert.Equal(t, 200, res.StatusCode, base)
	}
	// By address, with any client that trusts the CA.
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: l.CertPool()}}}
	res, err = plain.Get("https://" + l.Addr + "/keys")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, 401, res.StatusCode)
	plain.CloseIdleConnections()
	res, _ = u.call("DELETE", "/keys/k", "")
	assert.Equal(t, 200, res.StatusCode)
	res, _ = u.call("DELETE", "/deletedkeys/k", "")
	assert.Equal(t, 204, res.StatusCode)

	_, err = u.http.Get("https://other.vault.azure.net/")
	assert.ErrorContains(t, err, "no such host")
	_, err = http.Get("https://" + l.Addr + "/keys")
	var unknown x509.UnknownAuthorityError
	assert.ErrorAs(t, err, &unknown)
	_, err = tls.Dial("tcp", l.Addr, &tls.Config{RootCAs: l.CertPool(), ServerName: s.VaultHost(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	assert.Error(t, err)
	_, err = tls.Dial("tcp", l.Addr, &tls.Config{RootCAs: l.CertPool(), ServerName: "evil.example"})
	assert.Error(t, err)

	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = net.Dial("tcp", l.Addr)
	assert.Error(t, err)
}

func cookieNames(h http.Header) (names []string) {
	for _, c := range (&http.Response{Header: h}).Cookies() {
		names = append(names, c.Name)
	}
	return names
}

// Closing ends a handler that hangs; Close returns after it.
func TestListenerCloseEndsHangingRequests(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	l, err := s.Listen()
	require.NoError(t, err)
	s.Script(fakevault.Fault{Kind: fakevault.Hang})
	failed := make(chan error)
	go func() {
		_, err := (&http.Client{Transport: l.Transport()}).Get(s.VaultURL() + "/keys")
		failed <- err
	}()
	arrived(s, fakevault.OpList)
	require.NoError(t, l.Close())
	assert.Error(t, <-failed)
}

func TestHandlerAsIs(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	req, err := http.NewRequest("GET", "http://unknown.example/x", strings.NewReader(""))
	require.NoError(t, err)
	rec := &recorder{header: http.Header{}}
	s.ServeHTTP(rec, req)
	assert.Equal(t, 404, rec.status)
	req.Body = io.NopCloser(brokenReader{})
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() { s.ServeHTTP(rec, req) })
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Many users at once; the race detector looks on.
func TestConcurrentUse(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateKey("k", 0)
	u := newUser(t, s)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			v := *u
			for range 10 {
				v.ok("POST", "/keys/k//wrapkey", `{"alg":"RSA-OAEP","value":"YXJlcGE"}`)
				v.ok("PATCH", "/keys/k/", `{"tags":{"a":"b"}}`)
				v.ok("GET", "/keys", "")
				v.askToken(nil)
				s.Journal()
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 80, s.Count(fakevault.OpWrap))
}
