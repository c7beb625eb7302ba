package ekm

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// An entry is what is known of one code. The texts are our own words: explain
// says what happened and where, remedy what to do next.
type entry struct {
	code     Code
	symbol   string // as documented
	provider Code   // the fold onto 0-7
	reason   string // why that one, a phrase
	explain  string
	remedy   string
}

// Reasons that many codes share.
const (
	whyItself   = "it is one of the eight results itself"
	whyBudget   = "a limit of this library was met, nobody refused anything"
	whyNetwork  = "the network failed, a later call may succeed"
	whyReply    = "the reply is of no use, although nobody refused the request"
	whyIdentity = "the caller's identity could not be proven"
	whyInput    = "what the caller passed in is at fault"
)

// entries is the whole table, built once, ascending by code.
var entries = sync.OnceValue(func() []entry {
	http := httpEntries()
	return slices.Concat(providerEntries(), legacyEntries(http), http, challengeEntries(), tokenEntries(),
		getKeyEntries(), backupKeyEntries(), wrapKeyEntries(), unwrapKeyEntries(), identityEntries(), lastEntries())
})

func lookup(c Code) (entry, bool) { return find(entries(), c) }

func find(all []entry, c Code) (entry, bool) {
	i, found := slices.BinarySearchFunc(all, c, func(e entry, c Code) int { return cmp.Compare(e.code, c) })
	if !found {
		return entry{}, false
	}
	return all[i], true
}

// A twin is one symbol's older and current number.
type twin struct{ older, current Code }

// twins are the symbols with two numbers, ascending by the older.
var twins = [...]twin{
	{LegacyErrorHttpCreateHttpClientOutOfMemory, ErrorHttpCreateHttpClientOutOfMemory},
	{LegacyErrorHttpOpenSession, ErrorHttpOpenSession},
	{LegacyErrorHttpConnectSession, ErrorHttpConnectSession},
	{LegacyErrorHttpAttemptConnect, ErrorHttpAttemptConnect},
	{LegacyErrorHttpOpenRequest, ErrorHttpOpenRequest},
	{LegacyErrorHttpAddRequestHeader, ErrorHttpAddRequestHeader},
	{LegacyErrorHttpSendRequest, ErrorHttpSendRequest},
	{LegacyErrorHttpGetResponseCode, ErrorHttpGetResponseCode},
	{LegacyErrorHttpResponseCodeUnauthorized, ErrorHttpResponseCodeUnauthorized},
	{LegacyErrorHttpResponseCodeThrottled, ErrorHttpResponseCodeThrottled},
	{LegacyErrorHttpResponseCodeClientError, ErrorHttpResponseCodeClientError},
	{LegacyErrorHttpResponseCodeServerError, ErrorHttpResponseCodeServerError},
	{LegacyErrorHttpQueryHeader, ErrorHttpQueryHeader},
	{LegacyErrorHttpQueryHeaderOutOfMemoryCopyHeader, ErrorHttpQueryHeaderOutOfMemoryCopyHeader},
	{LegacyErrorHttpQueryHeaderOutOfMemoryReallocBuffer, ErrorHttpQueryHeaderOutOfMemoryReallocBuffer},
	{LegacyErrorHttpQueryHeaderNotFound, ErrorHttpQueryHeaderNotFound},
	{LegacyErrorHttpQueryHeaderUpdateBufferLength, ErrorHttpQueryHeaderUpdateBufferLength},
	{LegacyErrorHttpReadData, ErrorHttpReadData},
	{LegacyErrorHttpResourceNotFound, ErrorHttpResourceNotFound},
	{LegacyErrorHttpOperationForbidden, ErrorHttpOperationForbidden},
}

// legacyEntries gives the older numbers the entries of their current twins, with
// a word on where the number comes from.
func legacyEntries(current []entry) []entry {
	older := make([]entry, 0, len(twins))
	for _, t := range twins {
		e, _ := find(current, t.current)
		e.code = t.older
		if strings.Contains(e.symbol, "OutOfMemory") { // no limits there: memory really ran out
			e.explain = "Connector 1.0.4.0 and older ran out of memory where this library meets a limit, code " +
				strconv.Itoa(int(t.current)) + ": " + e.explain
			e.remedy = "Free memory on the machine that runs the old connector, and upgrade the connector to 1.0.5.0 or later."
		} else {
			e.explain = "Connector 1.0.4.0 and older return this number for " + strconv.Itoa(int(t.current)) + ": " + e.explain
			if t.current == ErrorHttpOpenSession { // it reads other settings than this library
				e.remedy = "Correct the proxy in the Internet settings of the account that the database engine runs as, and restart the engine, as they are read once."
			}
		}
		older = append(older, e)
	}
	return older
}
