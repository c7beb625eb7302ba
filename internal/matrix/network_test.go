package matrix_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/internal/nettest"
	"github.com/akv-ekm/ekm/proxy"
)

// networkScenarios are what happens before a status: 3100 to 3107 and 3900.
func networkScenarios() []scenario {
	rows := []scenario{
		{
			code: ekm.ErrorHttpCreateHttpClientOutOfMemory, how: "Limits.InFlight is 1, and a call is under way",
			op: "getKey", party: ekm.Local, phase: ekm.PhasePrepare, says: "too many exchanges", run: (*scene).tooManyAtOnce,
		},
		{
			code: ekm.ErrorHttpOpenSession, how: "an ftp address as proxy",
			op: "getKey", party: ekm.Proxy, phase: ekm.PhasePrepare, says: "not a URL with http, https, socks5",
			run: func(s *scene) error {
				s.secret("canary-password")
				return s.fromOwn("contoso.vault.azure.net", throughProxy("ftp://user:canary-password@proxy.example"))
			},
		},
		{
			code: ekm.ErrorHttpConnectSession, how: "an authority given with the port 99999",
			op: "acquireToken", party: ekm.Local, phase: ekm.PhasePrepare, says: "no usable host",
			run: func(s *scene) error {
				return s.get(func(o *akv.Options) { o.Authority = "https://login.contoso.example:99999/tenant" })
			},
		},
		{
			code: ekm.ErrorHttpConnectSession, how: "a nextLink that leads to another host",
			op: "listKeys", party: ekm.Local, phase: ekm.PhasePrepare, says: "leads to a host that it may not",
			run: func(s *scene) error { return s.followLink("https://elsewhere.vault.azure.net/keys?$skiptoken=x") },
		},
		{
			code: ekm.ErrorHttpAttemptConnect, how: "a dial that fails with ENETUNREACH",
			op: "getKey", party: ekm.Vault, phase: ekm.PhaseDial, cause: nettest.NetUnreachable, live: true,
			run: func(s *scene) error {
				return s.dialing("192.0.2.1", &net.Dialer{Control: func(string, string, syscall.RawConn) error { return nettest.NetUnreachable }})
			},
		},
		{
			code: ekm.ErrorHttpOpenRequest, how: "a nextLink without TLS",
			op: "listKeys", party: ekm.Local, phase: ekm.PhasePrepare, says: "not a URL that a request can be sent to",
			run: func(s *scene) error { return s.followLink("http://fakevault.vault.azure.net/keys?$skiptoken=x") },
		},
		{
			code: ekm.ErrorHttpAddRequestHeader, how: "a line break in App Service's IDENTITY_HEADER",
			op: "acquireToken", party: ekm.Local, phase: ekm.PhasePrepare, says: "illegal character",
			run: func(s *scene) error {
				s.secret("canary-header")
				s.Setenv("IDENTITY_ENDPOINT", s.fake.AppServiceURL())
				s.Setenv("IDENTITY_HEADER", "canary-header\nX-More: 1")
				cred, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.AppService})
				require.NoError(s, err)
				_, err = s.clientOf(s.fake.VaultURL(), cred, akv.Options{Transport: s.fake.Transport()}).GetKey(s.Context(), "tde", "")
				return err
			},
		},
	}
	rows = append(rows, unsentScenarios()...)
	rows = append(rows, proxyScenarios()...)
	return append(rows, unansweredScenarios()...)
}

func (s *scene) tooManyAtOnce() error {
	client := s.client(func(o *akv.Options) { o.Limits.InFlight = 1 })
	_, err := client.GetKey(s.Context(), "tde", "")
	require.NoError(s, err)
	s.fake.Script(fakevault.Fault{Operation: fakevault.OpGet, Kind: fakevault.Hang})
	ctx, cancel := context.WithCancel(s.Context())
	go func() { _, _ = client.GetKey(ctx, "tde", "") }()
	synctest.Wait()
	_, err = client.GetKey(s.Context(), "tde", "")
	cancel()
	synctest.Wait()
	return err
}

// followLink lists keys of a vault whose first page links to address.
func (s *scene) followLink(address string) (last error) {
	s.answers(fakevault.OpList, 200, `{"value":[],"nextLink":"`+address+`"}`)
	for _, err := range s.client(nil).Keys(s.Context()) {
		last = err
	}
	return last
}

func throughProxy(address string) func(*akv.Options) {
	return func(o *akv.Options) { o.Proxy = proxy.New(proxy.Settings{URL: address}) }
}

// dialing gets a key of vault with a transport that dials with d.
func (s *scene) dialing(vault string, d *net.Dialer) error {
	transport := &http.Transport{DialContext: d.DialContext}
	s.Cleanup(transport.CloseIdleConnections)
	return s.from(vault, akv.Options{Transport: transport, Timeouts: akv.Timeouts{Try: time.Second}}, nil)
}

// unsentScenarios are the ways from dialing to the last byte of the request.
func unsentScenarios() []scenario {
	row := func(how string, phase ekm.Phase, cause error, says string, run func(*scene) error) scenario {
		return scenario{
			code: ekm.ErrorHttpSendRequest, how: how, op: "getKey", party: ekm.Vault, phase: phase,
			cause: cause, says: says, live: true, run: run,
		}
	}
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }
	misnamed := func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"elsewhere.example"} }
	serving := func(s *scene, edit func(*x509.Certificate)) string {
		config := &tls.Config{Certificates: []tls.Certificate{trusted().Issue(s, edit)}}
		return nettest.ListenTLS(s, config, nettest.Replying("", false))
	}
	return []scenario{
		row("a port where nobody listens", ekm.PhaseDial, nettest.ConnRefused, "", func(s *scene) error {
			return s.fromOwn(nettest.ClosedPort(s), nil)
		}),
		row("a dial that never ends", ekm.PhaseDial, context.DeadlineExceeded, "", func(s *scene) error {
			transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				select { // net/http does not end what it dials
				case <-ctx.Done():
				case <-s.Context().Done():
				}
				return nil, context.Canceled
			}}
			return s.from("contoso.vault.azure.net", akv.Options{Transport: transport}, impatient)
		}),
		row("a connection reset in mid-handshake", ekm.PhaseTLS, nettest.ConnReset, "", func(s *scene) error {
			return s.fromOwn(nettest.Listen(s, nettest.Reset), nil)
		}),
		row("a handshake that never ends", ekm.PhaseTLS, context.DeadlineExceeded, "", func(s *scene) error {
			return s.fromOwn(nettest.Listen(s, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), impatient)
		}),
		row("a port that speaks plain HTTP", ekm.PhaseTLS, nil, "first record does not look like a TLS handshake", func(s *scene) error {
			return s.fromOwn(nettest.Listen(s, func(c net.Conn) {
				_, _ = c.Read(make([]byte, 1<<14))
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			}), nil)
		}),
		row("a certificate of an authority that is not trusted", ekm.PhaseTLS, nil, "x509:", func(s *scene) error {
			return s.fromOwn(serving(s, nil), nil)
		}),
		row("a certificate that has expired", ekm.PhaseTLS, nil, "expired", func(s *scene) error {
			return s.facing(serving(s, expired), nil)
		}),
		row("a certificate for another name", ekm.PhaseTLS, nil, "x509:", func(s *scene) error {
			return s.facing(serving(s, misnamed), nil)
		}),
		row("a server that has nothing newer than TLS 1.1", ekm.PhaseTLS, nil, "protocol version", func(s *scene) error {
			old := trusted().Config(s)
			old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			return s.fromOwn(nettest.ListenTLS(s, old, nettest.Replying("", false)), nil)
		}),
		row("a name server that fails", ekm.PhaseResolve, nil, "server misbehaving", func(s *scene) error {
			return s.dialing("contoso.vault.azure.net", &net.Dialer{Resolver: nettest.Resolver(nettest.ServerFailure)})
		}),
		row("a name server that never answers", ekm.PhaseDial, context.DeadlineExceeded, "", func(s *scene) error {
			return s.dialing("contoso.vault.azure.net", &net.Dialer{Resolver: nettest.Unheard()})
		}),
		{
			code: ekm.ErrorAKVDoesNotExist, how: "a vault whose name the name server does not know",
			op: "getKey", party: ekm.Vault, phase: ekm.PhaseResolve, says: "no such host", live: true,
			run: func(s *scene) error {
				return s.dialing("contoso.vault.azure.net", &net.Dialer{Resolver: nettest.Resolver(nettest.NoSuchName)})
			},
		},
		{
			code: ekm.ErrorAKVDoesNotExist, how: "a login host whose name does not exist",
			op: "acquireToken", party: ekm.Authority, phase: ekm.PhaseResolve, says: "no such host",
			run: func(s *scene) error {
				return s.get(func(o *akv.Options) { o.Authority = "https://login.contoso.invalid/tenant" })
			},
		},
	}
}

// proxyScenarios are those of a real proxy on the way.
func proxyScenarios() []scenario {
	tunnel := func(answer string) func(*scene) error {
		return func(s *scene) error {
			s.secret("canary-password", "Y2FuYXJ5") // as basic authentication spells it
			address := nettest.Listen(s, nettest.Replying(answer, false))
			return s.fromOwn("contoso.vault.azure.net", throughProxy("http://canary:canary-password@"+address))
		}
	}
	row := func(how string, phase ekm.Phase, status int, cause error, says string, run func(*scene) error) scenario {
		return scenario{
			code: ekm.ErrorHttpSendRequest, how: how, op: "getKey", party: ekm.Proxy, phase: phase, status: status,
			cause: cause, says: says, live: true, run: run,
		}
	}
	return []scenario{
		row("a proxy that answers CONNECT with 403", ekm.PhaseProxy, 403, nil, "refused the tunnel",
			tunnel("HTTP/1.1 403 Filtered\r\nContent-Length: 0\r\n\r\n")),
		row("a proxy that wants another password", ekm.PhaseProxy, 407, nil, "only basic authentication",
			tunnel("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n")),
		row("a proxy that hangs up on CONNECT", ekm.PhaseProxy, 0, nil, "EOF", tunnel("")),
		{
			code: ekm.ErrorHttpSendRequest, how: "a proxy whose name does not exist, chosen by a transport of the caller's",
			op: "getKey", party: ekm.Proxy, phase: ekm.PhaseResolve, says: "no such host", live: true,
			run: func(s *scene) error {
				d := &net.Dialer{Resolver: nettest.Resolver(nettest.NoSuchName)}
				through := http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword("canary", "canary-password"), Host: "proxy.contoso.invalid:8080"})
				transport := &http.Transport{Proxy: through, DialContext: d.DialContext}
				s.Cleanup(transport.CloseIdleConnections)
				s.secret("canary")
				return s.from("contoso.vault.azure.net", akv.Options{Transport: transport}, nil)
			},
		},
		row("a proxy that never answers", ekm.PhaseProxy, 0, os.ErrDeadlineExceeded, "", func(s *scene) error {
			address := nettest.Listen(s, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
			return s.fromOwn("contoso.vault.azure.net", func(o *akv.Options) {
				throughProxy("http://" + address)(o)
				o.Timeouts = akv.Timeouts{Dial: 300 * time.Millisecond, TLS: 100 * time.Millisecond}
			})
		}),
		row("a proxy that garbles its answer", ekm.PhaseProxy, 0, nil, "malformed HTTP", tunnel("what is a Content-Length?\r\n\r\n")),
		row("a proxy that is not there", ekm.PhaseDial, 0, nettest.ConnRefused, "", func(s *scene) error {
			return s.fromOwn("contoso.vault.azure.net", throughProxy("http://"+nettest.ClosedPort(s)))
		}),
	}
}

// unansweredScenarios are requests that went out and got no status.
func unansweredScenarios() []scenario {
	row := func(how string, phase ekm.Phase, cause error, says string, run func(*scene) error) scenario {
		return scenario{
			code: ekm.ErrorHttpGetResponseCode, how: how, op: "getKey", party: ekm.Vault, phase: phase,
			cause: cause, says: says, live: true, run: run,
		}
	}
	return []scenario{
		row("a connection closed in place of an answer", ekm.PhaseStatus, io.EOF, "", func(s *scene) error { return s.replies("", false) }),
		row("an answer that never comes", ekm.PhaseStatus, context.DeadlineExceeded, "", func(s *scene) error { return s.replies("", true) }),
		row("a mail server", ekm.PhaseHeader, nil, "malformed HTTP", func(s *scene) error { return s.replies("220 mail ready\r\n\r\n", false) }),
		row("a status that is no number", ekm.PhaseHeader, nil, "malformed HTTP", func(s *scene) error { return s.replies("HTTP/1.1 abc no\r\n\r\n", false) }),
		row("a status line with the escape sequences of a terminal", ekm.PhaseHeader, nil, "malformed HTTP", func(s *scene) error {
			return s.replies("HTTP/1.1\x1b[2J\x00 200\r\n\r\n", false)
		}),
		{
			code: ekm.ErrorHttpGetResponseCode, how: "a login endpoint that hangs up",
			op: "acquireToken", party: ekm.Authority, phase: ekm.PhaseStatus, cause: io.EOF,
			run: func(s *scene) error {
				s.fake.Script(fakevault.Fault{Operation: fakevault.OpToken, Kind: fakevault.Abort, Times: -1})
				return s.get(nil)
			},
		},
	}
}

// headerScenarios are those of the response's header and body: 3114 to 3116, 3118 to 3122.
func headerScenarios() []scenario {
	const ok = "HTTP/1.1 200 OK\r\n"
	row := func(code ekm.Code, how string, phase ekm.Phase, says, text string) scenario {
		return scenario{
			code: code, how: how, op: "getKey", party: ekm.Vault, phase: phase, says: says, live: true,
			run: func(s *scene) error { return s.replies(ok+text, false) },
		}
	}
	hangs := func(r scenario, text string) scenario {
		r.cause, r.says = context.DeadlineExceeded, ""
		r.run = func(s *scene) error { return s.replies(ok+text, true) }
		return r
	}
	long := strings.Repeat("v", 17<<10)
	many := strings.Repeat("X-A: "+strings.Repeat("v", 10<<10)+"\r\n", 7)
	const (
		malformed = ekm.ErrorHttpQueryHeader
		value     = ekm.ErrorHttpQueryHeaderOutOfMemoryCopyHeader
		section   = ekm.ErrorHttpQueryHeaderOutOfMemoryReallocBuffer
		length    = ekm.ErrorHttpQueryHeaderUpdateBufferLength
		broken    = ekm.ErrorHttpReadData
	)
	return []scenario{
		row(malformed, "a header line without a colon", ekm.PhaseHeader, "malformed MIME header", "no colon\r\n\r\n"),
		row(malformed, "a Content-Length without its colon", ekm.PhaseHeader, "malformed MIME header", "Content-Length 10\r\n\r\n"),
		row(malformed, "a header line in net/http's own words", ekm.PhaseHeader, "malformed MIME header", "X server response headers exceeded\r\n\r\n"),
		row(malformed, "a header cut off", ekm.PhaseHeader, "EOF", "X-A: b\r\n"),
		hangs(row(malformed, "a header that never ends", ekm.PhaseHeader, "", ""), "X-A: b\r\nX-"),
		row(value, "a header value over Limits.HeaderValue", ekm.PhaseHeader, "17408 bytes, limit 16384", "X-A: "+long+"\r\n\r\n"),
		row(section, "a header over Limits.Header", ekm.PhaseHeader, "limit 65536", many+"\r\n"),
		row(length, "a Content-Length that is no number", ekm.PhaseHeader, "Content-Length", "Content-Length: ten\r\n\r\n"),
		row(length, "a negative Content-Length", ekm.PhaseHeader, "Content-Length", "Content-Length: -10\r\n\r\n"),
		row(length, "two different Content-Lengths", ekm.PhaseHeader, "Content-Length", "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
		{
			code: broken, how: "a body cut off", op: "getKey", party: ekm.Vault, phase: ekm.PhaseBody, cause: io.ErrUnexpectedEOF, live: true,
			run: func(s *scene) error { return s.replies(ok+"Content-Length: 10\r\n\r\nabc", false) },
		},
		hangs(row(broken, "a body that never ends", ekm.PhaseBody, "", ""), "Content-Length: 10\r\n\r\nabc"),
		row(broken, "garbled chunks", ekm.PhaseBody, "invalid byte in chunk length", "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc"),
		row(ekm.ErrorHttpGetResponseOutOfMemoryCreateTempBuffer, "a declared length over Limits.Body", ekm.PhaseBody,
			"99999999 bytes, limit 1048576", "Content-Length: 99999999\r\n\r\n"),
		{
			code: ekm.ErrorHttpGetResponseOutOfMemoryGetResultString, how: "Limits.Held is 100 bytes",
			op: "acquireToken", party: ekm.Authority, phase: ekm.PhaseBody, says: "limit of 100 bytes",
			run: func(s *scene) error { return s.get(func(o *akv.Options) { o.Limits.Held = 100 }) },
		},
		row(ekm.ErrorHttpGetResponseOutOfMemoryAppendResponse, "a body without length that grows over Limits.Body", ekm.PhaseBody,
			"more than 1048576 bytes", "Connection: close\r\n\r\n"+strings.Repeat("x", 2<<20)),
	}
}
