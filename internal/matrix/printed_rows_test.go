package matrix_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/proxy"
	"github.com/akv-ekm/ekm/retry"
)

const (
	printedApp        = "5eedf00d-c11e-4d00-8a11-fa4e00000002"
	printedKey        = "https://contoso.vault.azure.net/keys/tde/0123456789abcdef0123456789abcdef"
	printedThumbprint = "E1ABE76DFE912E7E7A855FE374AAE30E199BB4FF" // of leaf.pem
	printedCert       = "certificate with SHA-1 thumbprint " + printedThumbprint + " of application " + printedApp
	printedSecret     = "Abc8Q~Client+Secret?of=mine/Xyz7Q9"
)

// printedOpen are types and functions whose values hold no secret, with the reason.
var printedOpen = map[string]string{
	"challenge.Parse":            "what a vault demands of whoever asks",
	"challenge.Policy":           "hosts to trust",
	"jwk.Parse":                  "public keys and their names",
	"jwk.Asked":                  "",
	"jwk.ParsePage":              "",
	"jwk.Attributes":             "",
	"jwk.Item":                   "",
	"aad.ManagedIdentityOptions": "names of an identity and of a folder",
	"retry.Call":                 "errors of type *ekm.Error, see there",
	"retry.Gate":                 "",
}

// printedExposed are the types with a secret in an exported field, which is what they
// are for, or what a caller may put there. Methods protect it, but package fmt calls none on unexported fields, and
// dumpers call none at all. The comments of the types say so.
var printedExposed = map[string]string{
	"aad.CertificateOptions": "Password is a string",
	"aad.Options":            "Transport may hold any secret",
	"akv.Options":            "Transport may hold any secret",
	"akv.Result":             "Value is a slice of bytes",
	"proxy.Settings":         "URL is a string",
}

// printedRows make values that hold secrets, and print them.
var printedRows = map[string]func(*printing){
	"aad.NewClientSecret": func(p *printing) {
		cred, err := aad.NewClientSecret(printedApp, p.secret(printedSecret))
		p.credential(cred, err, "client secret of application "+printedApp)
	},
	"aad.ParseSecret": func(p *printing) {
		cred, err := aad.ParseSecret(strings.ReplaceAll(printedApp, "-", "") + p.secret(printedSecret))
		p.credential(cred, err, "client secret of application "+printedApp)
	},
	"aad.NewPFX": func(p *printing) {
		p.key(printedRSA(p))
		cred, err := aad.NewPFX(printedApp, printedFile(p, "openssl3.pfx"), &aad.CertificateOptions{Password: p.secret("ekm-test-1")})
		p.credential(cred, err, printedCert)
	},
	"aad.NewPEM": func(p *printing) {
		p.key(printedRSA(p))
		file := append(printedFile(p, "enc-default.pem"), printedFile(p, "leaf.pem")...)
		cred, err := aad.NewPEM(printedApp, file, &aad.CertificateOptions{Password: p.secret("ekm-test-1")})
		p.credential(cred, err, printedCert)
	},
	"aad.NewLegacyKey": func(p *printing) {
		p.key(printedRSA(p))
		cred, err := aad.NewLegacyKey(printedApp, printedFile(p, "strong.pvk"),
			&aad.CertificateOptions{Password: p.secret("ekm-test-1"), Thumbprint: strings.Repeat("AB", 32)})
		p.credential(cred, err, "certificate with SHA-256 thumbprint "+strings.Repeat("AB", 32)+" of application "+printedApp)
	},
	"aad.NewSigner": func(p *printing) {
		signer := struct{ crypto.Signer }{p.key(printedRSA(p))}
		block, _ := pem.Decode(printedFile(p, "leaf.pem"))
		leaf, err := x509.ParseCertificate(block.Bytes)
		require.NoError(p, err)
		cred, err := aad.NewSigner(printedApp, signer, []*x509.Certificate{leaf}, &aad.CertificateOptions{Password: p.secret("ekm-test-1")})
		p.credential(cred, err, printedCert)
	},
	"aad.NewManagedIdentity": func(p *printing) {
		p.Setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
		p.Setenv("IDENTITY_HEADER", p.secret("App-Service-Header"))
		cred, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{ClientID: printedApp})
		p.credential(cred, err, "managed identity (App Service), client id "+printedApp)
	},
	"aad.NewWorkloadIdentity": func(p *printing) {
		file := printedWrite(p, p.secret("a-federated-token"))
		cred, err := aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: printedApp, TokenFile: file})
		p.credential(cred, err, "workload identity of application "+printedApp+", token file "+file)
	},
	"aad.WorkloadIdentityOptions": func(p *printing) {
		file := printedWrite(p, p.secret("a-federated-token"))
		v := aad.WorkloadIdentityOptions{ClientID: printedApp, TokenFile: file}
		p.filled(v, "ClientID", "TokenFile")
		show(p, v, "")
	},
	"aad.NewReloading": func(p *printing) {
		cred, err := aad.NewReloading(func(context.Context) (aad.Credential, error) {
			return aad.NewClientSecret(printedApp, p.secret(printedSecret))
		})
		p.credential(cred, err, "reloading client secret of application "+printedApp)
		again, err := aad.NewReloading(func(context.Context) (aad.Credential, error) { return cred, nil })
		p.credential(again, err, "reloading credential of a reloading credential")
	},
	"aad.NewReloadingFile": func(p *printing) {
		cred, err := aad.NewReloadingFile(printedWrite(p, p.secret(printedSecret)), func(text []byte) (aad.Credential, error) {
			return aad.NewClientSecret(printedApp, string(text))
		})
		p.credential(cred, err, "reloading client secret of application "+printedApp)
	},
	"aad.NewTokenSource": func(p *printing) {
		cred, err := aad.NewTokenSource(printedSource{p.secret("the source's own secret")})
		p.credential(cred, err, "token source matrix_test.printedSource")
	},
	"aad.NewToken": func(p *printing) {
		v := aad.NewToken(p.secret("an.access.token"), time.Unix(1, 0))
		p.filled(v)
		show(p, v, "aad.Token(expires 1970-01-01T00:00:01Z)")
	},
	"aad.NewTokens": func(p *printing) {
		cred, err := aad.NewClientSecret(printedApp, p.secret(printedSecret))
		require.NoError(p, err)
		show(p, p.tokens(cred), "tokens of client secret of application "+printedApp)
	},
	"aad.CertificateOptions": func(p *printing) {
		v := aad.CertificateOptions{Password: p.secret("Pa55-of-the-file"), Thumbprint: printedThumbprint, RS256: true, SendChain: true}
		p.filled(v, "Thumbprint")
		show(p, v, `aad.CertificateOptions(with a password, thumbprint "`+printedThumbprint+`", RS256, with its chain)`)
	},
	"aad.Options": func(p *printing) {
		v := aad.Options{Transport: p.transport(), Proxy: proxy.New(p.proxy()), Logger: p.logger(), UserAgent: p.secret("agent's secret"), V1: true}
		p.filled(v)
		show(p, v, "aad.Options(Transport, Proxy, UserAgent, Logger, V1)")
		show(p, aad.Options{UserAgent: v.UserAgent}, "aad.Options(UserAgent)")
	},
	"akv.NewClient": func(p *printing) {
		cred, err := aad.NewClientSecret(printedApp, p.secret(printedSecret))
		require.NoError(p, err)
		client, err := akv.NewClient("contoso", cred, p.options())
		p.client(client, err, "akv.Client(contoso.vault.azure.net, with tokens of client secret of application "+printedApp+")")
	},
	"akv.NewSQLClient": func(p *printing) {
		client, err := akv.NewSQLClient("", "contoso", strings.ReplaceAll(printedApp, "-", "")+p.secret(printedSecret), p.options())
		p.client(client, err, "akv.Client(contoso.vault.azure.net, with tokens of client secret of application "+printedApp+")")
	},
	"akv.Options": func(p *printing) {
		text := p.secret("Pa55-in-the-wrong-field")
		v := akv.Options{
			Transport: p.transport(), Proxy: proxy.New(p.proxy()), Logger: p.logger(),
			APIVersion: text, VaultSuffix: text, IDHost: text, Authority: "https://" + text + "@login.windows.net/t", Resource: text,
			Trust: challenge.Policy{Authorities: []string{text}, Resources: []string{text}},
		}
		p.filled(v)
		show(p, v, "akv.Options(Transport, Proxy, Logger, APIVersion, VaultSuffix, IDHost, Authority, Resource, Trust)")
		show(p, akv.Options{Authority: text}, "akv.Options(Authority)")
	},
	"akv.Result": func(p *printing) {
		v := akv.Result{KeyID: printedKey, Value: []byte(p.secret("Unwrapped-Key-of-32-bytes......."))}
		p.filled(v, "KeyID")
		show(p, v, `akv.Result(32 bytes, key "`+printedKey+`")`)
	},
	"proxy.Settings": func(p *printing) {
		v := p.proxy()
		p.filled(v, "Mode", "NoProxy")
		show(p, v, `proxy.Settings(explicit: through http://proxy.contoso.example:8080 (with credentials), except "contoso.local")`)
		show(p, proxy.Settings{URL: p.secret("http://user:half/a password@host")}, "proxy.Settings(explicit: no usable URL)")
		show(p, proxy.Settings{Mode: proxy.Mode(v.URL)}, "proxy.Settings(no such mode)")
	},
	"proxy.New": func(p *printing) {
		v := proxy.New(p.proxy())
		show(p, v, `explicit: through http://proxy.contoso.example:8080 (with credentials), except "contoso.local"`)
		for _, name := range []string{"https_proxy", "http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"} {
			p.Setenv(name, "")
		}
		p.Setenv("HTTPS_PROXY", p.proxy().URL)
		v = proxy.New(proxy.Settings{})
		show(p, v, `environment: https through http://proxy.contoso.example:8080 (with credentials), http direct`)
	},
	"ekm.Error": func(p *printing) {
		token := p.secret("an.access.token")
		cred, err := aad.NewTokenSource(printedSource{token})
		require.NoError(p, err)
		client, err := akv.NewClient("contoso", cred, &akv.Options{
			Authority: "https://login.microsoftonline.com/contoso.com", Retry: retry.Policy{Attempts: 1},
			Transport: printedTripper(func(r *http.Request) (*http.Response, error) {
				echo := fmt.Errorf("malformed HTTP status code %q", r.Header.Get("Authorization"))
				return nil, fmt.Errorf("no answer: %w", &printedEcho{echo.Error(), echo})
			}),
		})
		require.NoError(p, err)
		defer client.Close()
		_, err = client.GetKey(p.Context(), "tde", "")
		var e *ekm.Error
		require.ErrorAs(p, err, &e)
		require.Contains(p, e.Error(), "[redacted]", "it echoed the secret")
		show(p, err, "")
		show(p, e, "")
		show(p, *e, "")
		show(p, e.Err, "")
		var echo *printedEcho
		require.False(p, errors.As(err, &echo), "a caller would print it")
	},
}

// printedPanics are values that a program may die of.
var printedPanics = map[string]func(*printing) any{
	"credential": func(p *printing) any {
		cred, err := aad.NewClientSecret(printedApp, p.secret(printedSecret))
		require.NoError(p, err)
		return cred
	},
	"token":    func(p *printing) any { return aad.NewToken(p.secret("an.access.token"), time.Unix(1, 0)) },
	"result":   func(p *printing) any { return akv.Result{Value: []byte(p.secret("an unwrapped key"))} },
	"settings": func(p *printing) any { return p.proxy() },
	"selector": func(p *printing) any { return proxy.New(p.proxy()) },
	"options":  func(p *printing) any { return &aad.CertificateOptions{Password: p.secret("Pa55-of-the-file")} },
	"text": func(p *printing) any {
		cred, err := aad.NewClientSecret(printedApp, p.secret(printedSecret))
		require.NoError(p, err)
		return fmt.Sprintf("%#v %#v", []any{cred, aad.NewToken(printedSecret, time.Unix(1, 0))}, struct{ x any }{cred})
	},
}

// credential has cred get a token, which it keeps, and prints it.
func (p *printing) credential(cred aad.Credential, err error, want string) {
	p.Helper()
	require.NoError(p, err)
	p.tokens(cred)
	show(p, cred, want)
}

func (p *printing) tokens(cred aad.Credential) *aad.Tokens {
	tokens := aad.NewTokens(cred, &aad.Options{Transport: &printedNet{p, p.secret("the token that Entra gave")}})
	p.Cleanup(tokens.Close)
	token, err := tokens.Get(p.Context(), challenge.Challenge{
		Authority: "https://login.microsoftonline.com/contoso.com", Resource: "https://vault.azure.net", Scope: "https://vault.azure.net/.default",
	})
	require.NoError(p, err)
	require.NotEmpty(p, token.Reveal())
	return tokens
}

// client has client do something, and prints it.
func (p *printing) client(client *akv.Client, err error, want string) {
	p.Helper()
	require.NoError(p, err)
	p.Cleanup(client.Close)
	_, err = client.WrapKey(p.Context(), "tde", "", akv.RSAOAEP256, []byte(p.secret("a key to be wrapped")))
	require.NoError(p, err)
	show(p, client, want)
}

func (p *printing) options() *akv.Options {
	return &akv.Options{
		Transport: &printedNet{p, p.secret("the token that Entra gave")},
		Proxy:     proxy.New(p.proxy()),
		Authority: "https://login.microsoftonline.com/contoso.com",
	}
}

// transport is a caller's own, which holds a secret.
func (p *printing) transport() http.RoundTripper {
	return &http.Transport{ProxyConnectHeader: http.Header{"Proxy-Authorization": {p.secret("pa55word-of-CONNECT")}}}
}

// logger is a caller's own, which holds a secret.
func (p *printing) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(io.Discard, nil)).With("password", p.secret("Pa55-kept-by-a-handler"))
}

func (p *printing) proxy() proxy.Settings {
	return proxy.Settings{
		URL:     "http://" + p.secret("proxy-user") + ":" + p.secret("proxy-pass-word") + "@proxy.contoso.example:8080",
		NoProxy: "contoso.local",
	}
}

// A printedNet is a vault and whoever gives tokens for it. It holds a secret itself,
// as the connections of a transport do.
type printedNet struct {
	p     *printing
	token string
}

func (n *printedNet) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := fmt.Sprintf(`{"access_token":%q,"expires_in":3600}`, strings.ReplaceAll(n.token, " ", "-"))
	n.p.secret(strings.ReplaceAll(n.token, " ", "-"))
	if r.URL.Host == "contoso.vault.azure.net" {
		answer = fmt.Sprintf(`{"kid":%q,"value":%q}`, printedKey, base64.RawURLEncoding.EncodeToString([]byte(n.p.secret("the wrapped key"))))
	} else if r.Body != nil {
		if err := r.ParseForm(); err != nil {
			return nil, err
		}
		if proof := r.Form.Get("client_assertion"); proof != "" {
			n.p.secret(proof[len(proof)/2:]) // it begins as every other one
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer))}, nil
}

type printedTripper func(*http.Request) (*http.Response, error)

func (f printedTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A printedSource is a token source with a secret of its own.
type printedSource struct{ Secret string }

func (s printedSource) Token(context.Context, challenge.Challenge) (aad.Token, error) {
	return aad.NewToken(strings.ReplaceAll(s.Secret, " ", "-"), time.Now().Add(time.Hour)), nil
}

// A printedEcho is an error of another's that quotes what it was sent.
type printedEcho struct {
	Quoted string
	Cause  error
}

func (e *printedEcho) Error() string { return e.Quoted }
func (e *printedEcho) Unwrap() error { return e.Cause }

func printedFile(p *printing, name string) []byte {
	text, err := os.ReadFile(filepath.Join("..", "keyfile", "testdata", name))
	require.NoError(p, err)
	return text
}

func printedWrite(p *printing, text string) string {
	path := filepath.Join(p.TempDir(), "file")
	require.NoError(p, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func printedRSA(p *printing) *rsa.PrivateKey {
	block, _ := pem.Decode(printedFile(p, "key.pem"))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(p, err)
	return key.(*rsa.PrivateKey)
}
