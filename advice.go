package ekm

import (
	"slices"
	"strings"
	"sync"
)

// An adviceRow is one row of the table of advice: which failures it is for, and
// what to do about them. It is for a failure that has everything the row asks for;
// an empty field asks for nothing.
type adviceRow struct {
	party      Party
	credential CredentialKind
	code       Code
	phase      Phase
	status     int
	host       string   // a part of the host's name
	named      []string // the failure has one of these as the service's name for it
	advice     string
}

// adviceTable is the whole table, built once. The first row that fits counts, so the
// rows about one cause stand before those about a status or a phase, and the row
// that each party has for everything else stands last.
//
// The names only word advice. Nothing in this library decides by them, as Microsoft
// may change them.
var adviceTable = sync.OnceValue(func() []adviceRow {
	return slices.Concat(
		vaultAdvice(), federationAdvice(), loginAdvice(), loginStatusAdvice(), platformAdvice(), proxyAdvice(), localAdvice(),
		transportAdvice(), codeAdvice(), otherAdvice(),
	)
})

// fits reports whether the row is for e.
func (r *adviceRow) fits(e *Error) bool {
	return (r.party == "" || r.party == e.Party) &&
		(r.credential == "" || r.credential == e.Credential) &&
		(r.code == 0 || r.code == e.Code) &&
		(r.phase == "" || r.phase == e.Phase) &&
		(r.status == 0 || r.status == e.Status) &&
		strings.Contains(e.Host, r.host) &&
		(r.named == nil || slices.ContainsFunc(r.named, e.isNamed))
}

// isNamed reports whether the service gave the failure this name: a code of its
// own, or the number that a vault's message about a token begins with (AKV10032).
func (e *Error) isNamed(name string) bool {
	return name == e.AADSTS || name == e.InnerCode || name == e.ServiceCode ||
		strings.HasPrefix(name, "AKV") && strings.HasPrefix(e.Message, name+":")
}

// Advice says what to do next, in words for whoever runs the database. It depends on
// who refused or failed, on how far the exchange got, on the kind of credential, and
// on the cause that the service named (AADSTS7000222, ForbiddenByFirewall). A managed
// HSM, told by its host's name, has advice of its own where its rights differ. An
// Error without a Party has the [Code.Remedy] of its code. Advice is never empty and
// never more than one line; its wording may change.
func (e *Error) Advice() string {
	table := adviceTable()
	for i := range table {
		if table[i].fits(e) {
			return table[i].advice
		}
	}
	return e.Code.Remedy()
}

// codeAdvice is the remedy of each code that one step alone raises: it is right
// whatever the party. The other codes can come from several parties.
func codeAdvice() []adviceRow {
	var rows []adviceRow
	for _, e := range entries() {
		if e.code != SCPErrSuccess && !e.code.ofSeveral() {
			rows = append(rows, adviceRow{code: e.code, advice: e.remedy})
		}
	}
	return rows
}

// ofSeveral reports that more than one party can be behind the code, so that its
// remedy, which has to think of all of them, must not be shown for one.
func (c Code) ofSeveral() bool {
	switch c {
	case ErrorHttpCreateHttpClientOutOfMemory, ErrorHttpOpenSession, ErrorHttpConnectSession, ErrorHttpOpenRequest,
		ErrorHttpAddRequestHeader, ErrorHttpQueryHeaderNotFound:
		return false // this machine, and in the last case the vault
	case SCPErrProviderError, ErrorUnknown, ErrorAKVDoesNotExist,
		ErrorGetTokenOutOfMemoryConvertResponseString, ErrorGetTokenBadCredentials, ErrorGetTokenFailedToGetToken,
		ErrorGetTokenNotFound, ErrorGetTokenJsonParser, ErrorGetTokenExtractToken:
		return true
	}
	return ErrorHttpCreateHttpClientOutOfMemory <= c && c <= ErrorHttpGetResponseOutOfMemoryAppendResponse
}
