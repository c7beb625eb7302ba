package fakevault

import (
	"crypto/rsa"
	"strings"
	"time"
)

// What a zero Options value plays. All identifiers are fixed, so that a failing test prints the same text on every run.
const (
	DefaultVault         = "fakevault"
	DefaultAuthorityHost = "login.microsoftonline.com"
	DefaultTenant        = "5eedf00d-7e4a-4d00-8a11-fa4e00000001"
	DefaultClientID      = "5eedf00d-c11e-4d00-8a11-fa4e00000002"
	DefaultClientSecret  = "fake~Secret_for.tests-only/1+=" // with characters that a form post must escape
	DefaultRegion        = "westeurope"
	DefaultSubscription  = "5eedf00d-5b50-4d00-8a11-fa4e00000003"
)

// Options say which vault, tenant and application a [Server] plays. The zero value works; every field has a default.
type Options struct {
	// Vault is the vault's name (default "fakevault"), VaultHost its host (default Vault + ".vault.azure.net").
	// A host whose second label is "managedhsm" is played as a Managed HSM: other headers, other error texts,
	// members in alphabetical order, no body with a 401.
	Vault     string
	VaultHost string

	// AuthorityHost is the Entra host named in the challenge. Hosts of the same cloud are served as well.
	AuthorityHost string
	// Tenant is the only tenant that exists.
	Tenant string
	// Resource is the audience of the vault's tokens and the challenge's resource.
	// Default: "https://" + VaultHost without its first label.
	Resource string
	// ClientID and ClientSecret are the application known from the start; AddApp adds more.
	ClientID     string
	ClientSecret string

	// Region appears in headers and in 403 texts. Subscription decides, with Region, which backups can be restored.
	Region       string
	Subscription string

	// Challenge replaces the WWW-Authenticate values of a 401, one header line each.
	// {authority}, {tenant} and {resource} are filled in.
	Challenge []string

	// KeyBits is the size of RSA keys created without a size (default 2048).
	KeyBits int
	// Keys are handed out, each once and in this order, to creations and rotations of an RSA key of their size.
	// Making an RSA key costs 50 ms and more; tests that share keys are quicker.
	Keys []*rsa.PrivateKey

	// TokenLifetime is the life of an access token (default 3599 s, as Entra has it).
	TokenLifetime time.Duration
	// RefreshIn, if positive, is announced as refresh_in.
	RefreshIn time.Duration
	// ClockSkew is what the vault tolerates on a token's nbf and exp, and Entra on an assertion's.
	// Default 5 minutes; a negative value means none.
	ClockSkew time.Duration
	// OldErrorText separates the parts of an error_description by CR LF, as Entra did until 2023, not by a space.
	OldErrorText bool

	// MaxBody limits request bodies (default 8 MiB); a longer one gets 413.
	MaxBody int64

	// RecoverableDays is the retention of deleted keys (7 to 90, default 7).
	RecoverableDays int
	// DeleteLag is how long deletion, recovery and purging take to show: 404 or 409 ObjectIsBeingDeleted meanwhile.
	// Real vaults need 2 to 10 s. Default 0.
	DeleteLag time.Duration
	// EmptyPages puts an empty page, with a nextLink, in front of every page of a list. Real vaults do this.
	EmptyPages bool

	// Throttle limits the vault; the zero value is no limit.
	Throttle Throttle

	// Identities are the managed identities of the machine; the first is used when a request selects none.
	// Default: one system-assigned identity. NoIdentity takes it away.
	Identities []Identity
	NoIdentity bool
	// IdentityHeader is the secret that the App Service endpoint wants in X-IDENTITY-HEADER (default "fake-identity-header").
	IdentityHeader string
	// ArcKeyDir is the directory in which the Azure Arc endpoint writes its challenge files. Empty: no Arc endpoint.
	ArcKeyDir string
}

// withDefaults fills in what the caller left out.
func (o Options) withDefaults() Options {
	def := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	def(&o.Vault, DefaultVault)
	def(&o.VaultHost, o.Vault+".vault.azure.net")
	o.VaultHost = strings.ToLower(o.VaultHost)
	if first, _, ok := strings.Cut(o.VaultHost, "."); ok && o.Vault == DefaultVault {
		o.Vault = first
	}
	def(&o.AuthorityHost, DefaultAuthorityHost)
	def(&o.Tenant, DefaultTenant)
	def(&o.ClientID, DefaultClientID)
	def(&o.ClientSecret, DefaultClientSecret)
	def(&o.Region, DefaultRegion)
	def(&o.Subscription, DefaultSubscription)
	def(&o.IdentityHeader, "fake-identity-header")
	if _, domain, ok := strings.Cut(o.VaultHost, "."); ok {
		def(&o.Resource, "https://"+domain)
	}
	def(&o.Resource, "https://vault.azure.net")
	if o.KeyBits == 0 {
		o.KeyBits = 2048
	}
	if o.TokenLifetime == 0 {
		o.TokenLifetime = 3599 * time.Second
	}
	switch {
	case o.ClockSkew == 0:
		o.ClockSkew = 5 * time.Minute
	case o.ClockSkew < 0:
		o.ClockSkew = 0
	}
	if o.MaxBody == 0 {
		o.MaxBody = 8 << 20
	}
	if o.RecoverableDays == 0 {
		o.RecoverableDays = 7
	}
	if len(o.Identities) == 0 && !o.NoIdentity {
		o.Identities = []Identity{{
			ClientID: "5eedf00d-1de0-4d00-8a11-fa4e00000004",
			ObjectID: "5eedf00d-0b1d-4d00-8a11-fa4e00000005",
		}}
	}
	return o
}
