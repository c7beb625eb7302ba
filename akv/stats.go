package akv

import "github.com/akv-ekm/ekm/retry"

// Stats are what a client has done so far, by whom it spoke to. They marshal as
// JSON, for expvar and the like.
type Stats struct {
	Vault     Traffic
	Authority Traffic // token exchanges
	Platform  Traffic // those with the platform's endpoint for managed identities
}

// Traffic counts exchanges by what came of them, each try for itself.
type Traffic struct {
	Succeeded    uint64 // status 2xx
	Unauthorized uint64 // 401; the first one of a vault is how it says whom to ask for a token
	Throttled    uint64 // 429
	Refused      uint64 // any other 4xx
	Failed       uint64 // 5xx
	Unanswered   uint64 // no status, or one of no known class
	Retries      uint64 // of all these, tries after a call's first
	// Repeats are requests that net/http sent again within one try, because the other
	// side closed the connection or refused the HTTP/2 stream. A try that needs more
	// than two, idle connections apart, fails with 3107.
	Repeats uint64

	// Gate tells of calls that are under way and waiting, and of the rate that the
	// other side allows. It knows nothing of RotateKey and RestoreKey, which go past
	// it. The platform has none.
	Gate retry.Stats
}

// Stats takes a snapshot; it is cheap. Token exchanges are counted by the client
// that made them, also where others with the same credential profit; the gate's
// figures are of all clients that share it.
func (c *Client) Stats() Stats {
	authority, platform := c.tokens.Stats()
	return Stats{Vault: Traffic(c.wire.Stats()), Authority: Traffic(authority), Platform: Traffic(platform)}
}
