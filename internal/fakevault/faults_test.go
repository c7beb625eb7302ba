package fakevault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

// paths are the ways to the server that faults must work on.
func paths(t *testing.T, s *fakevault.Server) map[string]http.RoundTripper {
	l, err := s.Listen()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	one := l.Transport().(*http.Transport)
	one.ForceAttemptHTTP2 = false
	one.Protocols = new(http.Protocols)
	one.Protocols.SetHTTP1(true)
	return map[string]http.RoundTripper{"in process": s.Transport(), "HTTP/2": l.Transport(), "HTTP/1.1": one}
}

func TestSpoiledAnswers(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateECKey("k", "P-256")
	for name, transport := range paths(t, s) {
		t.Run(name, func(t *testing.T) {
			u := newUser(t, s)
			u.http = &http.Client{Transport: transport}
			get := func(f fakevault.Fault) (*http.Response, []byte, error) {
				if f.Operation == "" {
					f.Operation = fakevault.OpGet
				}
				s.Script(f)
				defer func() { assert.Zero(t, s.ClearScript(), "the fault was not used") }()
				res, err := u.http.Do(u.request("GET", s.VaultURL()+"/keys/k?api-version=7.4", ""))
				if err != nil {
					return nil, nil, err
				}
				defer res.Body.Close()
				data, err := io.ReadAll(res.Body)
				return res, data, err
			}
			_, whole, err := get(fakevault.Fault{})
			require.NoError(t, err)

			res, data, err := get(fakevault.Fault{Kind: fakevault.Cut, Bytes: 20})
			assert.Error(t, err)
			assert.Equal(t, 200, res.StatusCode)
			assert.EqualValues(t, len(whole), res.ContentLength)
			if name != "HTTP/2" { // which may throw away what came before the reset
				assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
				assert.Equal(t, whole[:20], data)
			}

			_, _, err = get(fakevault.Fault{Kind: fakevault.Abort})
			assert.Error(t, err)

			_, data, err = get(fakevault.Fault{Kind: fakevault.Garble, Bytes: 10})
			require.NoError(t, err)
			assert.Len(t, data, len(whole))
			assert.False(t, json.Valid(data))
			assert.Equal(t, whole[:10], data[:10])

			res, data, err = get(fakevault.Fault{Kind: fakevault.WrongLength, Bytes: 5})
			assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
			assert.EqualValues(t, len(whole)+5, res.ContentLength)
			assert.Equal(t, whole, data)

			_, data, err = get(fakevault.Fault{Kind: fakevault.WrongLength, Bytes: -5})
			require.NoError(t, err)
			assert.Equal(t, whole[:len(whole)-5], data)

			res, data, err = get(fakevault.Fault{Kind: fakevault.Flood, Bytes: 1 << 20})
			require.NoError(t, err)
			assert.Len(t, data, len(whole)+1<<20)
			assert.EqualValues(t, len(data), res.ContentLength)
			assert.True(t, json.Valid(data))

			res, data, err = get(fakevault.Fault{Chunked: true, Kind: fakevault.Flood, Bytes: 100})
			require.NoError(t, err)
			assert.EqualValues(t, -1, res.ContentLength)
			assert.Empty(t, res.Header.Get("Content-Length"))
			assert.Len(t, data, len(whole)+100)

			res, _, err = get(fakevault.Fault{Header: http.Header{"X-Ms-Request-Id": {"a", "b"}}})
			require.NoError(t, err)
			assert.Equal(t, []string{"a", "b"}, res.Header.Values("x-ms-request-id"), "replaced in any spelling")

			_, _, err = get(fakevault.Fault{
				Method: "get", Host: s.VaultHost() + ":443", Path: "/keys/k", Status: 307, Header: http.Header{"Location": {"https://evil.example/"}},
			})
			assert.ErrorContains(t, err, "evil.example", "this client followed it, to nowhere")
			res, data, err = get(fakevault.Fault{Status: 503, Header: http.Header{"X-Tenant": {"{tenant}"}}, Body: "busy", RetryAfter: "7"})
			require.NoError(t, err)
			assert.Equal(t, 503, res.StatusCode)
			assert.Equal(t, s.Tenant(), res.Header.Get("X-Tenant"))
			assert.Equal(t, "7", res.Header.Get("Retry-After"))
			assert.NotEmpty(t, res.Header.Get("x-ms-request-id"))
			assert.Equal(t, "busy", string(data))

			res, _, err = get(fakevault.Fault{RetryAfter: "9"})
			require.NoError(t, err)
			assert.Equal(t, 200, res.StatusCode, "an answer without status is the operation's")
			assert.Equal(t, "9", res.Header.Get("Retry-After"))
		})
	}
}

// Hang and Stall end with the request on every path.
func TestHangingAnswers(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateECKey("k", "P-256")
	for name, transport := range paths(t, s) {
		t.Run(name, func(t *testing.T) {
			u := newUser(t, s)
			s.ResetJournal()
			s.Script(fakevault.Fault{Operation: fakevault.OpGet, Kind: fakevault.Hang}, fakevault.Fault{Operation: fakevault.OpGet, Kind: fakevault.Stall, Bytes: 30})
			client := &http.Client{Transport: transport}
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				arrived(s, fakevault.OpGet)
				cancel()
			}()
			req := u.request("GET", s.VaultURL()+"/keys/k?api-version=7.4", "")
			_, err := client.Do(req.WithContext(ctx))
			assert.ErrorIs(t, err, context.Canceled)

			ctx, cancel = context.WithCancel(t.Context())
			defer cancel()
			res, err := client.Do(req.WithContext(ctx))
			require.NoError(t, err)
			data := make([]byte, 30)
			_, err = io.ReadFull(res.Body, data)
			require.NoError(t, err)
			assert.Equal(t, `{"key":{"kid"`, string(data[:13]))
			cancel()
			_, err = res.Body.Read(data)
			assert.Error(t, err)
			require.NoError(t, res.Body.Close())
		})
	}
}

// arrived waits until a request of this operation is in its handler.
func arrived(s *fakevault.Server, op fakevault.Operation) {
	for s.Count(op) == 0 {
		runtime.Gosched()
	}
}

func TestStallEndsWithBodyAndServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, fakevault.Options{})
		s.Script(fakevault.Fault{Kind: fakevault.Stall, Bytes: 10, Times: -1})
		get := func() *http.Response {
			res, err := (&http.Client{Transport: s.Transport()}).Get(s.VaultURL() + "/keys")
			require.NoError(t, err)
			return res
		}
		res := get()
		time.AfterFunc(time.Hour, func() { _ = res.Body.Close() })
		_, err := io.ReadAll(res.Body)
		assert.ErrorIs(t, err, http.ErrBodyReadAfterClose)
		res = get()
		time.AfterFunc(time.Hour, s.Close)
		data, err := io.ReadAll(res.Body)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Len(t, data, 10)
		require.NoError(t, res.Body.Close())
	})
}

func TestScriptOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, fakevault.Options{})
		s.CreateECKey("k", "P-256")
		u := newUser(t, s)
		s.Script(
			fakevault.Fault{Operation: fakevault.OpGet, Skip: 1, Times: 2, Status: 500},
			fakevault.Fault{Operation: fakevault.OpGet, Status: 502, Name: "second"},
			fakevault.Fault{Path: "/never", Times: -1, Status: 418},
			fakevault.Fault{Path: "/nowhere", Status: 418},
		)
		var got []int
		for range 5 {
			res, _ := u.call("GET", "/keys/k", "")
			got = append(got, res.StatusCode)
		}
		// The first line lets the first request pass, so the second line takes it.
		assert.Equal(t, []int{502, 500, 500, 200, 200}, got)
		var names []string
		for _, e := range s.Journal()[1:4] {
			names = append(names, e.Faults...)
		}
		assert.Equal(t, []string{"second", "answer 500", "answer 500"}, names)
		assert.Equal(t, 1, s.ClearScript(), "of those with an end")

		s.Script(fakevault.Fault{Operation: fakevault.OpRotate, Kind: fakevault.Abort, Applied: true})
		_, err := u.http.Do(u.request("POST", s.VaultURL()+"/keys/k/rotate?api-version=7.4", ""))
		assert.Error(t, err)
		assert.Len(t, u.ok("GET", "/keys/k/versions", "")["value"], 2, "done, but not answered")

		s.Script(fakevault.Fault{Delay: 30 * time.Second})
		start := time.Now()
		u.ok("GET", "/keys", "")
		assert.Equal(t, 30*time.Second, time.Since(start))
	})
}

func TestReadyMadeFaults(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	u := newUser(t, s)
	s.Script(fakevault.VaultThrottled(1), fakevault.UnresolvedSigningKey(1), fakevault.EntraThrottled(1), fakevault.EntraTransient(1))
	res, body := u.call("GET", "/keys", "")
	assert.Equal(t, 429, res.StatusCode)
	assert.Empty(t, res.Header.Get("Retry-After"))
	assert.EqualValues(t, 146, res.ContentLength)
	assert.Equal(t, "Throttled", body["error"].(map[string]any)["code"])
	res, body = u.call("GET", "/keys", "")
	assert.Equal(t, 401, res.StatusCode)
	assert.Contains(t, res.Header.Get("WWW-Authenticate"), s.AuthorityURL())
	assert.Contains(t, body["error"].(map[string]any)["message"], "AKV10046")
	u.ok("GET", "/keys", "")
	status, header, parsed := u.askToken(nil)
	assert.Equal(t, 429, status)
	assert.Nil(t, parsed, "plain text")
	assert.Equal(t, "60", header.Get("Retry-After"))
	status, _, parsed = u.askToken(nil)
	assert.Equal(t, 503, status)
	assert.Equal(t, "temporarily_unavailable", parsed["error"])
	status, _, _ = u.askToken(nil)
	assert.Equal(t, 200, status)
	assert.Equal(t, "wrong length", fakevault.WrongLength.String())
	assert.Equal(t, "FaultKind(99)", fakevault.FaultKind(99).String())
}

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, fakevault.Options{Throttle: fakevault.Throttle{Limit: 16}})
		s.CreateKey("soft", 0)
		u := newUser(t, s)
		u.ok("POST", "/keys/hard/create", `{"kty":"RSA-HSM"}`) // heavier than the limit: let into an empty window
		burst := func(path string) (n int) {
			for ; ; n++ {
				res, _ := u.call("GET", path, "")
				if res.StatusCode == 429 {
					assert.Empty(t, res.Header.Get("Retry-After"))
					assert.EqualValues(t, 146, res.ContentLength)
					return n
				}
				require.Equal(t, 200, res.StatusCode)
			}
		}
		assert.Equal(t, 0, burst("/keys/soft"))
		for path, want := range map[string]int{"/keys/soft": 16, "/keys/hard": 8, "/keys": 16, "/keys/soft/": 16} {
			time.Sleep(10 * time.Second)
			assert.Equal(t, want, burst(path), path)
			assert.Equal(t, 0, burst(path), path)
		}
		res, _ := (&user{t: t, s: s, http: u.http}).call("GET", "/keys", "")
		assert.Equal(t, 401, res.StatusCode, "a request without a token is not counted")
	})
}

func TestThrottleWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, fakevault.Options{Throttle: fakevault.Throttle{Limit: 4000, Window: time.Second, CountRejected: true, RetryAfter: "1"}})
		s.CreateECKey("ec", "P-256")
		u := newUser(t, s)
		for i := range 20 { // 20 creations of software keys fill a window
			u.ok("POST", fmt.Sprintf("/keys/n%d/create", i), `{"kty":"EC"}`)
		}
		res, _ := u.call("GET", "/keys/ec", "")
		assert.Equal(t, 429, res.StatusCode)
		assert.Equal(t, "1", res.Header.Get("Retry-After"))
		time.Sleep(time.Second)
		u.ok("GET", "/keys/ec", "")
	})
}

func TestJournal(t *testing.T) {
	s := newServer(t, fakevault.Options{})
	s.CreateKey("k", 0)
	u := newUser(t, s)
	u.ok("POST", "/keys/k//wrapkey", `{"alg":"RSA-OAEP","value":"YXJlcGE"}`)
	s.Script(fakevault.Fault{Kind: fakevault.Abort, Name: "gone"})
	_, err := u.http.Do(u.request("GET", s.VaultURL()+"/keys?maxresults=3&api-version=7.4", ""))
	require.Error(t, err)

	journal := s.Journal()
	require.Len(t, journal, 3)
	token, wrap, list := journal[0], journal[1], journal[2]
	assert.Equal(t, fakevault.OpToken, token.Operation)
	assert.Equal(t, []string{"client_id", "client_secret", "grant_type", "scope"}, token.Form)
	assert.False(t, token.HasAuthorization)
	assert.Equal(t, "login.microsoftonline.com", token.Host)
	assert.Equal(t, fakevault.OpWrap, wrap.Operation)
	assert.Equal(t, "/keys/k//wrapkey", wrap.Path)
	assert.Equal(t, []string{"api-version"}, wrap.Query)
	assert.True(t, wrap.HasAuthorization && wrap.HasBody)
	assert.Equal(t, 200, wrap.Status)
	assert.Equal(t, 36, wrap.BodySize)
	assert.Equal(t, []string{"gone"}, list.Faults)
	assert.Zero(t, list.Status)
	assert.False(t, list.HasBody)
	all := fmt.Sprintf("%+v", journal)
	for _, secret := range []string{s.ClientSecret(), u.token, "YXJlcGE"} {
		assert.False(t, strings.Contains(all, secret))
	}
	assert.Equal(t, 2, s.Count(fakevault.OpWrap, fakevault.OpList))
	s.ResetJournal()
	assert.Empty(t, s.Journal())
}
