package ekm

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Party names who was spoken to, or who was at fault, when an operation failed.
type Party string

// The parties an operation can meet.
const (
	Local           Party = "local"            // the caller's own input, limits or machine
	Vault           Party = "vault"            // the key vault or managed HSM
	Authority       Party = "authority"        // the Entra ID token endpoint
	ManagedIdentity Party = "managed identity" // the platform's token endpoint: IMDS, App Service, Arc
	Proxy           Party = "proxy"            // the proxy on the way to one of the others
)

// CredentialKind names what was to prove the caller's identity.
type CredentialKind string

// The kinds of credentials.
const (
	CredentialSecret      CredentialKind = "client secret"
	CredentialCertificate CredentialKind = "certificate"      // also a key in hardware that signs for one
	CredentialFederated   CredentialKind = "federated token"  // workload identity
	CredentialManaged     CredentialKind = "managed identity" // of this machine or service
	CredentialSource      CredentialKind = "token source"     // another library's
)

// Phase names the step of one HTTP exchange that failed.
type Phase string

// The steps of one HTTP exchange, in order.
const (
	PhasePrepare Phase = "prepare" // building the request, choosing the proxy
	PhaseResolve Phase = "resolve" // looking up the host's name
	PhaseDial    Phase = "dial"    // connecting to an address
	PhaseProxy   Phase = "proxy"   // asking the proxy for a tunnel
	PhaseTLS     Phase = "tls"     // TLS handshake and certificate check
	PhaseWrite   Phase = "write"   // sending the request
	PhaseStatus  Phase = "status"  // waiting for, or reading, the status line
	PhaseHeader  Phase = "header"  // reading the response header
	PhaseBody    Phase = "body"    // reading the response body
	PhaseDecode  Phase = "decode"  // making sense of a complete response
)

// An Error is one failure of one operation, told in full. Get it with
// [errors.As]; compare its number with errors.Is(err, ekm.ErrorAKVDoesNotExist);
// context and net errors are found in it by errors.Is and errors.As too.
//
// No field holds a secret, assertion, token or key byte: text that came from a
// server has been shortened, stripped of control characters and searched for
// what the request had sent before it got here. It still names tenant, key and
// application ids, which a log may be meant not to hold.
//
// Attempts counts every exchange that was made for the operation: tries, the vault's
// challenge, the token request, also where other calls shared those two. A cold call
// that the vault refuses has three. It does not count requests that net/http sent
// again within an exchange. The Attempts of a retry.Policy is another number: it bounds
// the failed tries of one request.
//
// An Error is not changed once returned, so it may be shared by goroutines.
type Error struct {
	Code  Code   // the documented number; never 0
	Op    string // "getKey", "wrapKey", "acquireToken", ...; empty outside an operation
	Party Party  // who was spoken to
	Phase Phase  // how far the exchange got; empty where there was none
	Host  string // host, and port if not 443, of that party
	// Credential is what was to prove the caller's identity, where a token was
	// asked for, or where a client secret was refused unasked; empty everywhere else.
	Credential CredentialKind
	// Addresses is the one of Host that was connected to or, where no connection
	// came about, what Host resolved to, at most eight. Empty where a proxy is in
	// between, or the transport is another's and does not tell.
	Addresses []netip.Addr

	Status      int    // HTTP status; 0 if no response came
	ServiceCode string // the service's own error code: "Forbidden", "invalid_client"
	InnerCode   string // the more exact one, if sent: "ForbiddenByRbac"
	AADSTS      string // Entra's number with prefix, if sent: "AADSTS7000222"
	Message     string // the service's message, at most 512 bytes

	RequestID     string // the vault's x-ms-request-id, or the authority's
	CorrelationID string // the client's own id, sent with the request
	TraceID       string // Entra's trace id
	Region        string // the region that answered, as the vault names it

	Attempts   int           // exchanges made for this operation, see above; 0 if none
	RetryAfter time.Duration // how long the service asked to wait; 0 if it did not
	Time       time.Time     // when the failure was seen

	Err error // the cause, or nil
}

// Error is one line: operation, number and symbol, party, what the service said
// or what went wrong, and the ids that Microsoft's support asks for.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	b.WriteString(e.Code.String())
	if e.Party != "" && e.Party != Local {
		b.WriteString(": " + string(e.Party))
		if e.Host != "" {
			b.WriteString(" " + e.Host)
		}
		if a := e.addresses(); a != "" && (e.Status == 0 || e.Status == http.StatusForbidden) {
			b.WriteString(" at " + a) // whether it is the private endpoint's
		}
	}
	if e.Phase != "" && e.Status == 0 {
		b.WriteString(": " + string(e.Phase))
	}
	if e.Status != 0 {
		b.WriteString(": HTTP " + strconv.Itoa(e.Status))
		if s := e.service(); s != "" {
			b.WriteString(" " + s)
		}
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Message == "" && e.Err == nil && e.Status == 0 {
		b.WriteString(": " + e.Code.Explain())
	}
	if t := e.tail(); t != "" {
		b.WriteString(" (" + t + ")")
	}
	return oneLine(b.String())
}

// oneLine makes "a; b" of "a\nb", as joined causes come in several lines, and
// blanks of other control characters.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool {
		return r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029'
	})
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.Join(lines, "; "))
}

// service joins the service's codes: "Forbidden/ForbiddenByRbac".
func (e *Error) service() string {
	parts := make([]string, 0, 3)
	for _, s := range []string{e.ServiceCode, e.InnerCode, e.AADSTS} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "/")
}

// addresses tells each address, and which side of a private endpoint it is on.
func (e *Error) addresses() string {
	texts := make([]string, len(e.Addresses))
	for i, a := range e.Addresses {
		kind := "public"
		if a = a.Unmap(); a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || shared(a) {
			kind = "private"
		}
		texts[i] = a.String() + " (" + kind + ")"
	}
	return strings.Join(texts, ", ")
}

// shared reports an address in 100.64.0.0/10, RFC 6598: behind carriers' address
// translation, or in a private network laid over others. Nobody has it in public.
func shared(a netip.Addr) bool {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10).Contains(a)
}

func (e *Error) tail() string {
	var parts []string
	if e.RequestID != "" {
		parts = append(parts, "request id "+e.RequestID)
	}
	if e.TraceID != "" && e.TraceID != e.RequestID {
		parts = append(parts, "trace id "+e.TraceID)
	}
	if e.CorrelationID != "" {
		parts = append(parts, "correlation id "+e.CorrelationID)
	}
	if e.Attempts > 1 {
		parts = append(parts, strconv.Itoa(e.Attempts)+" exchanges")
	}
	if e.RetryAfter > 0 {
		parts = append(parts, "retry after "+e.RetryAfter.String())
	}
	return strings.Join(parts, ", ")
}

// Unwrap gives errors.Is and errors.As both the code and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Err}
}

// Format prints the one line for %v and %s, and for %+v a block with a line for
// each known fact, explanation and advice included.
func (e *Error) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('+'):
		_, _ = io.WriteString(f, e.block())
	case verb == 'v' || verb == 's':
		_, _ = io.WriteString(f, e.Error())
	case verb == 'q':
		_, _ = io.WriteString(f, strconv.Quote(e.Error()))
	default:
		_, _ = fmt.Fprintf(f, "%%!%c(*ekm.Error=%s)", verb, e.Error())
	}
}

func (e *Error) block() string {
	var b strings.Builder
	b.WriteString(e.Code.String() + "\n")
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", name+":", oneLine(value))
		}
	}
	line("what", e.Code.Explain())
	line("advice", e.Advice())
	for _, f := range e.fields() {
		line(f.name, f.text())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// A field is one known fact of an Error, under the name that it has in the
// block, in logs and in JSON alike.
type field struct {
	name  string
	value any // string, int, time.Duration or time.Time
}

// plain is the value for machines: durations in seconds, times in UTC.
func (f field) plain() any {
	switch v := f.value.(type) {
	case time.Duration:
		return v.Seconds()
	case time.Time:
		return v.UTC()
	default:
		return v
	}
}

func (f field) text() string {
	switch v := f.value.(type) {
	case string:
		return v
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	default:
		return fmt.Sprint(v)
	}
}

// fields lists the known facts in their fixed order, without the code.
func (e *Error) fields() []field {
	all := []field{
		{"operation", e.Op},
		{"party", string(e.Party)},
		{"credential", string(e.Credential)},
		{"host", e.Host},
		{"address", e.addresses()},
		{"phase", string(e.Phase)},
		{"status", e.Status},
		{"service", e.ServiceCode},
		{"inner", e.InnerCode},
		{"aadsts", e.AADSTS},
		{"message", e.Message},
		{"request", e.RequestID},
		{"correlation", e.CorrelationID},
		{"trace", e.TraceID},
		{"region", e.Region},
		{"attempts", e.Attempts},
		{"retryAfter", e.RetryAfter},
		{"time", e.Time},
	}
	if e.Err != nil {
		all = append(all, field{"cause", e.Err.Error()})
	}
	known := all[:0]
	for _, f := range all {
		switch v := f.value.(type) {
		case string:
			if v == "" {
				continue
			}
		case int:
			if v == 0 {
				continue
			}
		case time.Duration:
			if v == 0 {
				continue
			}
		case time.Time:
			if v.IsZero() {
				continue
			}
		}
		known = append(known, f)
	}
	return known
}

// LogValue is the error as a slog group with the same members as its JSON form,
// retryAfter in seconds like there.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Int("code", int(e.Code)), slog.String("symbol", e.Code.Symbol())}
	for _, f := range e.fields() {
		attrs = append(attrs, slog.Any(f.name, f.plain()))
	}
	return slog.GroupValue(attrs...)
}

// CodeOf is the documented number of a failure: that of the first [*Error] in
// err's tree or, where there is none, the first [Code]. It is ErrorSuccess (3000)
// for nil and ErrorUnknown (3001) for an error that is not ours; an [*Error] that
// somebody made without a code is unknown too, never a success.
func CodeOf(err error) Code {
	if err == nil {
		return ErrorSuccess
	}
	if e, ok := errors.AsType[*Error](err); ok {
		if e == nil || e.Code == SCPErrSuccess {
			return ErrorUnknown
		}
		return e.Code
	}
	if c, ok := errors.AsType[Code](err); ok {
		return c
	}
	return ErrorUnknown
}

// ProviderCode is the number that an EKM provider returns to the database engine
// for err, whose message then shows it ("Provider error code: 3113"):
//
//   - 0 for nil. [CodeOf] gives 3000 there, which an engine takes for a failure.
//   - The documented number itself for every failure: 3113, 3303, 2058.
//   - Never 0 for an error: one that claims success is 3001, unknown.
//   - Never a number from 8 to 2048, which are reserved: 401 and 404, which only the
//     event log has, are 5 and 4.
//
// The results 1 to 7 are returned where the failure has no other number. Two of
// them belong to the protocol and are the provider's own to return: 2
// (SCPErrInsufficientBuffer) when the engine asks for a size, 4 (SCPErrNotFound) at
// the end of an enumeration. [Code.Provider] is something else, a fold onto 0 to 7.
func ProviderCode(err error) Code {
	switch c := CodeOf(err); {
	case err == nil:
		return SCPErrSuccess
	case c.Provider() == SCPErrSuccess, c < 0:
		return ErrorUnknown
	case c > SCPErrProviderError && c <= lastReserved:
		return c.Provider()
	default:
		return c
	}
}

// lastReserved is the last number that the EKM interface keeps for itself.
const lastReserved Code = 2048
