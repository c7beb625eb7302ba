// Package akv is a client for the part of Azure Key Vault that a key encryption
// provider needs: get a key, wrap and unwrap with it, back it up, list and
// rotate keys.
//
//	cred, err := aad.NewClientSecret(clientID, secret)
//	client, err := akv.NewClient("contoso", cred, nil)
//	result, err := client.UnwrapKey(ctx, "tde", version, akv.RSAOAEP256, wrapped)
//
// The folder examples/recipes has examples to copy: what to store with a wrapped key,
// managed HSMs, a private CA, tests offline. The module interop has those with
// Microsoft's credentials and with OpenTelemetry.
//
// # Authentication
//
// Tenant and resource come from the vault: the first call of the first client of
// a [aad.Credential] goes out without token, body and key bytes, and the answer,
// a 401, says whom to ask for a token. A cold call makes three requests, each
// later one makes one; any number of goroutines on a cold client share the first
// two. When the vault rejects a token, the call gets a new one and is repeated
// once, and once more if the vault then wants claims in it.
//
// A challenge is remembered once it has led to a token. When a token can no longer
// be had for it, the same call asks the vault again, and goes on if the vault names
// another authority. A challenge that is wrong for a moment therefore fails the
// calls of that moment alone.
//
// # Errors
//
// Every error is an [*ekm.Error] with one documented code; [ekm.CodeOf] reads
// it, and the codes of each method stand in its comment. All methods share these:
// 3100 to 3122 and 3900 for the network and the HTTP statuses, 3200 to 3208 for
// the challenge, 3300 to 3308 for the token, 3305 for a token that the vault
// rejects twice, 38xx for a credential that cannot be used, 6
// (SCPErrInvalidArgument) for arguments that cannot be sent, and 1
// (SCPErrFailure) if the context ended while the call waited for another's work.
//
// # Retries
//
// What may succeed unchanged is tried again, see package retry. RotateKey and
// RestoreKey are repeated only where the vault cannot have acted.
//
// # Concurrency
//
// A [Client] may be used by any number of goroutines at once.
//
// # Foreign code
//
// A client calls code that it was given: Options.Transport, what Options.Wrap makes and
// the bodies of their responses, Options.Logger, a [aad.TokenSource], a signer, the function of
// [aad.NewReloading], and what the context of a call carries.
//
// If such code panics, the call panics, in the goroutine that made it. Where calls
// share the work, for the challenge and for the token, each of them that waits
// panics, with an error whose text is the value and the stack of the first panic,
// and which unwraps to the value if that is an error. A background refresh that
// panics is a failed one, which the log tells; the call goes on with the old token.
// A client can be used after a panic like before.
//
// Not in its hands are panics in goroutines of net/http: of the dialing functions of
// an [http.Transport] and of most hooks of net/http/httptrace.
//
// Such code must observe its context. A call that waits for shared work leaves when
// its own context ends even so, but a call whose request a round tripper holds, or
// whose record a log handler, does not return before that does.
package akv

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/unseen"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/proxy"
	"github.com/akv-ekm/ekm/retry"
)

// Version is this library's version, which it sends as its User-Agent.
const Version = "0.1.0"

// Options are the settings of a [Client]. The zero value is good. Printed, logged
// and encoded, they show which of them are set, and no value, as Transport may hold
// secrets. A struct that keeps them in an unexported field prints what Transport holds.
type Options struct {
	// Transport makes all requests, those to the authority included. It is the one
	// seam for networks and fakes; redirects are never followed whatever it is. Nil
	// means a transport of our own: TLS 1.2 or later, HTTP/2, a time limit on each
	// phase, Proxy and RootCAs.
	Transport http.RoundTripper
	// Proxy chooses proxies for our own transport; nil means the environment's.
	Proxy *proxy.Selector
	// RootCAs are the certificates that our own transport trusts, for a proxy that
	// inspects TLS or a private cloud. They replace the system's: begin with
	// [x509.SystemCertPool] to have both. Nil means the system's, which the
	// environment's SSL_CERT_FILE and SSL_CERT_DIR replace on Linux. RootCAs together with
	// Transport are an error.
	RootCAs *x509.CertPool
	// Wrap returns a round tripper that adds something to the one it is given, such as
	// spans, metrics or headers. It is given Transport, or our own transport, whose limits,
	// proxy and roots remain in force. NewClient calls it three times: for the vault, for
	// the authority and for the platform's identity endpoint. The round tripper must pass
	// the request's context on. [Operation] reads from that context what the request is
	// for. Nil means that nothing is added.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Logger gets these records. Nil means silence.
	//   - "operation succeeded", at SuccessLevel, and "operation failed": one for each
	//     operation, a page of a list being one, and one for each token request. A call
	//     that fails for want of a token has its own record, with the ids of the token
	//     request, beside that request's.
	//     A failure is a warning if the same call may succeed later, because it failed by
	//     the end of a context or package retry calls it temporary; else it is an error.
	//   - "token not refreshed ahead of its end", a warning.
	//   - "operation tried again", at debug level: one for each try that is followed by
	//     another.
	//
	// Those of their attributes that are known are there:
	//   - operation: "getKey", "listKeys", "listKeyVersions", "wrapKey", "unwrapKey",
	//     "backupKey", "restoreKey", "rotateKey", "acquireToken";
	//   - key and version as asked for; answered, the version that did it, if that is
	//     another; duration in seconds. A try has none of these, but try, its number, and
	//     wait, the seconds until the next one;
	//   - what an [*ekm.Error] has in its JSON form, also for success: code (3000 then),
	//     symbol, party, credential, host, address, phase, status, service, inner, aadsts,
	//     message, request, correlation, trace, region, attempts, retryAfter, cause.
	//
	// No secret, token, key byte or URL is logged.
	Logger *slog.Logger
	// SuccessLevel is the level of records of success. Zero is slog.LevelInfo; a busy
	// program takes slog.LevelDebug.
	SuccessLevel slog.Level
	// APIVersion is the Key Vault REST version: "7.4" if empty.
	APIVersion string
	// VaultSuffix completes a bare vault name: "vault.azure.net" if empty,
	// "vault.azure.cn", "vault.usgovcloudapi.net", "vault.sovcloud-api.fr",
	// "managedhsm.azure.net", ...
	VaultSuffix string
	// IDHost is the host in the vault's key ids, where the client reaches the vault
	// by another one: by an address, a private name, a local port, a proxy in front
	// of it. It is a name, host or URL like NewClient's vault: "contoso",
	// "contoso.vault.azure.net". Ids that name neither this host nor the client's
	// own are refused, by each operation with its code (3412, 3608, 3708), as
	// callers keep ids and go back to them. Links to the next page of a list that
	// lead to IDHost are followed on the client's own host. The challenge must keep to
	// IDHost's domain. Empty means that ids name the host, with its port, that NewClient
	// was given; a private endpoint needs nothing else, as it is reached under the
	// vault's public name.
	IDHost string

	// Authority, an https URL with the tenant, and Resource say beforehand what
	// the vault's challenge would, which saves a request:
	// "https://login.microsoftonline.com/contoso.com", "https://vault.azure.net".
	// An empty Resource is the vault's own domain. They are trusted as given, so
	// they serve for AD FS ("https://adfs.contoso.com/adfs") too.
	Authority, Resource string
	// Trust says which challenges to believe: by default, Microsoft's login hosts
	// and the vault's own domain.
	Trust challenge.Policy
	// V1 asks the authority's v1 token endpoint, as AD FS and Azure Stack need it.
	V1 bool

	// Retry bounds the tries of each exchange.
	Retry retry.Policy
	// Gate limits the rate of tries to what the vault allows. Nil means one of the
	// client's own; clients of the same vault had better share one. RotateKey and
	// RestoreKey, which vaults limit apart, go past it.
	Gate     *retry.Gate
	Timeouts Timeouts
	Limits   Limits
}

// Timeouts bounds the phases of each try. A field that is zero or less has the
// default given with it. Dial, TLS and FirstByte are observed by our own
// transport alone, the others with any.
type Timeouts struct {
	Dial      time.Duration // looking up the name and connecting: 10 s
	TLS       time.Duration // the TLS handshake: 10 s
	FirstByte time.Duration // from the end of the request to the response's header: 30 s
	Body      time.Duration // from the header to the end of the body: 30 s
	Try       time.Duration // all of it: 60 s; Retry.Try counts too, the shorter of both
}

// A Client does key operations on one vault or managed HSM.
type Client struct {
	base   string   // "https://host"
	host   string   // without the default port, in lower case
	idHost string   // Options.IDHost in the same form, or ""
	hosts  []string // those that a key id may name
	opts   Options
	wire   *wire.Client
	tokens *aad.Tokens
	preset challenge.Challenge // zero: ask the vault
	// believed is the last demand that passed opts.Trust. Demands are shared with
	// other clients of the credential, and those may trust others.
	believed atomic.Pointer[challenge.Challenge]
}

// NewClient makes a client for vault with cred's identity. vault is a vault's
// name, "contoso"; a host, "contoso.vault.azure.cn" or "x.managedhsm.azure.net",
// with a port where there is one; or an https URL. opts may be nil. Nothing is
// sent before the first operation. Clients that share cred share its tokens and
// what it knows of vaults.
//
// Make one client for each vault and keep it. Without Options.Transport, each client has
// its own connections to the vault and to the authority, with three goroutines for each
// connection. Clients do not share them, because each client has its own Options and
// [Client.Close]. The connections end with Close, or 90 seconds after the last call, or
// when the client is garbage collected. Programs that make many short-lived clients
// should give them all one Options.Transport and one Options.Gate.
//
// The error is 6 (SCPErrInvalidArgument): vault cannot be an address of a vault,
// Options.Authority, Resource, IDHost, VaultSuffix, APIVersion or Trust none of its
// kind; cred is nil; Wrap returned nil for one of its calls; RootCAs and Transport are
// both given. The error names what is wrong and quotes no argument, as each may hold a
// password or be a secret in the wrong place.
//
// A DNS name behind a private endpoint, "contoso.privatelink.vaultcore.azure.net", is
// such an error too. It names the vault's public name, which leads to the same address.
// With IDHost, the vault's public name, NewClient takes the DNS name as it is. That is
// of use with a Transport of one's own: no vault's certificate has a name with
// privatelink.
func NewClient(vault string, cred aad.Credential, opts *Options) (*Client, error) {
	if opts == nil {
		opts = &Options{}
	}
	c := &Client{opts: *opts}
	c.opts.Limits = opts.Limits.withDefaults()
	if c.opts.APIVersion == "" {
		c.opts.APIVersion = "7.4"
	}
	if len(c.opts.APIVersion) > 24 || strings.Trim(c.opts.APIVersion, "0123456789abcdefghijklmnopqrstuvwxyz.-") != "" {
		return nil, invalid("Options.APIVersion is no version such as 7.4: at most 24 digits, small letters, dots and hyphens")
	}
	var err error
	if c.host, err = vaultHost("the vault's address", vault, opts.VaultSuffix); err != nil {
		return nil, err
	}
	if c.idHost, err = idHost(opts.IDHost, opts.VaultSuffix); err != nil {
		return nil, err
	}
	if c.idHost == "" { // with IDHost, the caller wants this host
		if err = reachable(vault, c.host); err != nil {
			return nil, err
		}
	}
	c.hosts = idHosts(c.host, c.idHost)
	if cred == nil {
		return nil, invalid("the credential is nil")
	}
	c.base = "https://" + c.host
	if c.preset, err = presetDemand(opts, c.domainHost()); err != nil {
		return nil, err
	}
	for _, trusted := range slices.Concat(opts.Trust.Authorities, opts.Trust.Resources) {
		if why := unseen.Anywhere(trusted); why != "" {
			return nil, invalid("one of Options.Trust's authorities and resources %s", why)
		}
	}
	if c.opts.Proxy == nil {
		c.opts.Proxy = proxy.New(proxy.Settings{}) // which keeps what it has read
	}
	if c.opts.Gate == nil {
		c.opts.Gate = new(retry.Gate)
	}
	if opts.Transport != nil && opts.RootCAs != nil {
		return nil, invalid("Options.RootCAs is for our own transport, and Options.Transport is given: set the roots there")
	}
	timeouts, limits := wire.Timeouts(opts.Timeouts), c.opts.Limits.exchange()
	transport := opts.Transport
	c.opts.Transport = nil // it is kept out of sight
	if transport == nil {
		transport = wire.Trusting(opts.RootCAs, wire.NewTransport(c.opts.Proxy.Proxy, timeouts, limits))
	}
	agent := fmt.Sprintf("akv-ekm/%s (%s; %s)", Version, runtime.Version(), runtime.GOOS)
	c.wire = &wire.Client{
		Transport: wire.Hide(transport), Own: opts.Transport == nil, Gate: c.opts.Gate,
		Limits: limits, Timeouts: timeouts, UserAgent: agent, Logger: opts.Logger, Success: opts.SuccessLevel,
	}
	wrap, missing := opts.Wrap, false
	if wrap != nil {
		wrap = func(next http.RoundTripper) http.RoundTripper {
			made := opts.Wrap(next)
			missing = missing || wire.None(made)
			return made
		}
	}
	c.wire.Wrap(wrap)
	if opts.Transport == nil {
		c.wire.CloseWhenDropped()
	}
	c.tokens = aad.NewTokens(cred, &aad.Options{
		Transport: opts.Transport, Proxy: c.opts.Proxy, Retry: opts.Retry, Timeouts: timeouts,
		RootCAs: opts.RootCAs, Wrap: wrap, Logger: opts.Logger, SuccessLevel: opts.SuccessLevel, UserAgent: agent, V1: opts.V1,
		MaxURL: c.opts.Limits.URL, MaxRequest: c.opts.Limits.Request, MaxReply: c.opts.Limits.Token, Wire: limits,
	})
	if missing {
		c.Close()
		return nil, invalid("Options.Wrap returned no round tripper in one of its calls")
	}
	return c, nil
}

// Operation returns the name of the operation that a request belongs to, if ctx is the
// request's context: "wrapKey", "getKey" and so on, or "acquireToken", as in errors and
// in the log. The request for the vault's challenge has the name of the call that needs
// it. Operation returns "" for any other context. It is meant for round trippers such as
// those of [Options].Wrap.
func Operation(ctx context.Context) string { return wire.Operation(ctx) }

// String tells which vault the client is for and with which credential.
func (c *Client) String() string {
	return fmt.Sprintf("akv.Client(%s, with %v)", c.host, c.tokens)
}

// Close ends what the client does in the background and closes all connections of
// its own, once no call is under way. Those are not disturbed, and calls after
// Close work; they leave no connection.
func (c *Client) Close() {
	c.tokens.Close()
	c.wire.Close()
}

// presetDemand is what the options say in place of the vault, or the zero value.
func presetDemand(o *Options, host string) (challenge.Challenge, error) {
	for _, option := range [...]struct{ name, value string }{{"Authority", o.Authority}, {"Resource", o.Resource}} {
		if why := unseen.Anywhere(option.value); why != "" {
			return challenge.Challenge{}, invalid("Options.%s %s", option.name, why)
		}
	}
	if o.Authority == "" {
		if o.Resource != "" {
			return challenge.Challenge{}, invalid("Options.Resource is of use only with Options.Authority")
		}
		return challenge.Challenge{}, nil
	}
	u, err := url.Parse(strings.TrimRight(o.Authority, "/"))
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(u.Path) < 2 {
		return challenge.Challenge{}, invalid("Options.Authority is not an https URL with a tenant and nothing else: no user, password, query or fragment")
	}
	resource := strings.TrimRight(o.Resource, "/")
	if resource == "" {
		name := (&url.URL{Host: host}).Hostname()
		_, domain, _ := strings.Cut(name, ".")
		if net.ParseIP(name) != nil || !strings.Contains(domain, ".") {
			return challenge.Challenge{}, invalid("no resource can be told from the vault's host: give Options.Resource")
		}
		resource = "https://" + domain
	}
	if r, err := url.Parse(resource); err != nil || r.Scheme != "https" || r.Host == "" || r.User != nil || r.RawQuery != "" || r.Fragment != "" ||
		strings.HasSuffix(resource, "/.default") {
		return challenge.Challenge{}, invalid("Options.Resource is not an https URL such as https://vault.azure.net, without user, query and /.default")
	}
	if err := publicName("Options.Resource", strings.TrimPrefix(resource, "https://")); err != nil {
		return challenge.Challenge{}, err
	}
	return challenge.Challenge{
		Authority: u.String(), Tenant: u.Path[strings.LastIndexByte(u.Path, '/')+1:],
		Resource: resource, Scope: resource + "/.default",
	}, nil
}

func invalid(format string, args ...any) error { return operation{}.invalid(format, args...) }

// invalid is the error for an argument that cannot be sent.
func (op operation) invalid(format string, args ...any) error {
	return &ekm.Error{Code: ekm.SCPErrInvalidArgument, Op: op.name, Party: ekm.Local, Err: fmt.Errorf(format, args...), Time: time.Now()}
}
