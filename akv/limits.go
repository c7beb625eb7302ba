package akv

import "github.com/akv-ekm/ekm/internal/wire"

// Limits bounds what a call may take. These are the documented out-of-memory
// codes: Go cannot catch a failed allocation, so each of the codes means that one
// buffer would outgrow the limit named here, which is checked before. For the
// last five that buffer is what a reply is decoded into; while it is being read,
// Body bounds it, or Backup. An error that a limit causes names its field. A field that is zero or less has the default given with it;
// sizes are in bytes.
type Limits struct {
	InFlight    int // exchanges at the same moment: 65,536 (3100)
	HeaderValue int // one response header value: 16 KiB (3115)
	Header      int // all response header fields: 64 KiB (3116)
	Body        int // one response body other than a backup: 1 MiB (3120 if declared, 3122 if not)
	Held        int // all response bodies being read at the same moment: 256 MiB (3121)

	URL           int // the probe's URL (3200) and the token endpoint's (3300): 4 KiB
	Path          int // the path of an operation: 2 KiB (3401, 3501, 3601, 3701)
	Authorization int // the Authorization header: 32 KiB (3402, 3502, 3602, 3702)
	Value         int // the base64 text of what is wrapped or unwrapped: 8 KiB (3604, 3704)
	Request       int // the request body other than a backup: 1 MiB (3301, 3603, 3703)

	Token  int // the token endpoint's reply: 64 KiB (3302)
	Key    int // the reply about a key, or a page of keys: 256 KiB (3400)
	Pages  int // pages of one list, not bytes: 10,000 (7)
	Backup int // the reply with a backup, in base64, and RestoreKey's request: 24 MiB (3500, 6)
	Result int // the reply to wrap and unwrap: 64 KiB (3600, 3700)
}

// withDefaults fills in the limits that this package checks itself.
func (l Limits) withDefaults() Limits {
	def := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&l.URL, 4<<10)
	def(&l.Path, 2<<10)
	def(&l.Authorization, 32<<10)
	def(&l.Value, 8<<10)
	def(&l.Request, 1<<20)
	def(&l.Token, 64<<10)
	def(&l.Key, 256<<10)
	def(&l.Pages, 10_000)
	def(&l.Backup, 24<<20)
	def(&l.Result, 64<<10)
	return l
}

// exchange is the part that each single exchange observes, with defaults of its own.
func (l Limits) exchange() wire.Limits {
	return wire.Limits{
		InFlight: int64(l.InFlight), HeaderValue: int64(l.HeaderValue), Header: int64(l.Header),
		Body: int64(l.Body), Held: int64(l.Held),
	}
}
