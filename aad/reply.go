package aad

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/wire"
)

// wireReply is the reply of a token endpoint, v1, v2 or managed identity. What
// is a number to one is a string or a date to another.
type wireReply struct {
	AccessToken json.RawMessage `json:"access_token"`
	TokenType   string          `json:"token_type"`
	ExpiresIn   json.RawMessage `json:"expires_in"`
	ExpiresOn   json.RawMessage `json:"expires_on"`
	RefreshIn   json.RawMessage `json:"refresh_in"`
	Error       string          `json:"error"`
}

// wireError is an OAuth error: RFC 6749, 5.2, with Microsoft's additions.
type wireError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Codes       []int  `json:"error_codes"`
	TraceID     string `json:"trace_id"`
	Correlation string `json:"correlation_id"`
	SubError    string `json:"suberror"`
}

// read makes a Token of a reply with status 200.
func (x *exchange) read(r *wire.Request, resp *wire.Response, now time.Time) (Token, error) {
	t, err := x.decode(r, resp, now)
	seen := x.client.Refusal(r, resp)
	seen.Attempts = resp.Attempts
	*x.seen = *seen
	if e, ok := errors.AsType[*ekm.Error](err); ok {
		e.Phase, e.Status, e.RequestID, e.Addresses = ekm.PhaseDecode, resp.Status, seen.RequestID, seen.Addresses
		e.CorrelationID, e.Attempts = r.Correlation, resp.Attempts
	}
	return t, err
}

func (x *exchange) decode(r *wire.Request, resp *wire.Response, now time.Time) (Token, error) {
	if len(resp.Body) > x.maxReply {
		return Token{}, x.fail(r, ekm.ErrorGetTokenOutOfMemoryConvertResponseString, "the token reply has %d bytes, the limit is %d (Limits.Token)", len(resp.Body), x.maxReply)
	}
	var w wireReply
	if err := json.Unmarshal(resp.Body, &w); err != nil {
		// Not err itself, whose text may quote what it stumbled over.
		return Token{}, x.fail(r, ekm.ErrorGetTokenJsonParser, "the token reply of %d bytes is not the JSON that was expected", len(resp.Body))
	}
	defer clear(resp.Body)
	// What the reply gives is not to come back in what it says, either.
	value := plainString(w.AccessToken)
	own := *r
	own.Secrets = append(slices.Clone(r.Secrets), value)
	r = &own
	if w.Error != "" {
		return Token{}, noToken(fmt.Errorf("a reply with status 200 says %q", r.Clean(w.Error, 100)), r.Party, hostOf(r.URL))
	}
	if len(w.AccessToken) == 0 || bytes.Equal(w.AccessToken, []byte("null")) {
		return Token{}, x.fail(r, ekm.ErrorGetTokenNotFound, "the token reply has no access_token")
	}
	expires, dated := w.expires(resp.Header, now)
	if !credentials(value) || !dated {
		return Token{}, x.fail(r, ekm.ErrorGetTokenExtractToken, "the reply's access_token or its expires_in and expires_on cannot be read")
	}
	t := NewToken(value, expires)
	if in, ok := seconds(w.RefreshIn); ok && in > 0 {
		t.RefreshOn = now.Add(in)
	}
	if w.TokenType != "" && !strings.EqualFold(w.TokenType, "Bearer") {
		return Token{}, noToken(fmt.Errorf("the token's type is %q, not Bearer", r.Clean(w.TokenType, 40)), r.Party, hostOf(r.URL))
	}
	return usable(t, now, r.Party, hostOf(r.URL))
}

// errExpired is the reason of a token that has expired on arrival.
var errExpired = errors.New("the token has expired already")

// usable returns a token that a vault can be shown, and says what is wrong with any
// other.
func usable(t Token, now time.Time, party ekm.Party, host string) (Token, error) {
	switch {
	case !credentials(t.Reveal()):
		return Token{}, noToken(errors.New("the token is empty or holds illegal characters"), party, host)
	case !t.Expires.After(now):
		return Token{}, noToken(fmt.Errorf("%w, at %s; is this machine's clock right?", errExpired, t.Expires.UTC().Format(time.RFC3339)), party, host)
	}
	return t, nil
}

// noToken gives the reason why there is no token its code. Errors that have a code
// it returns as they are.
func noToken(err error, party ekm.Party, host string) error {
	if _, ok := errors.AsType[*ekm.Error](err); ok {
		return err
	}
	return &ekm.Error{
		Code: ekm.ErrorGetTokenFailedToGetToken, Op: opAcquireToken, Party: party, Host: host, Time: time.Now(), Err: err,
	}
}

// credentials reports whether s can follow "Bearer " in a header: RFC 6750, 2.1,
// without insisting on its b64token.
func credentials(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return s != ""
}

func plainString(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// expires is the token's end by this machine's clock: by expires_in if it is
// there, else by expires_on and the time of the reply in h. A clock that is wrong
// matters to neither. expires_on alone is the last resort.
func (w wireReply) expires(h http.Header, now time.Time) (time.Time, bool) {
	if in, ok := seconds(w.ExpiresIn); ok {
		return now.Add(in), true
	}
	end, ok := w.date()
	if sent, err := http.ParseTime(h.Get("Date")); ok && err == nil {
		return now.Add(end.Sub(sent)), true
	}
	return end, ok
}

// date reads expires_on.
func (w wireReply) date() (time.Time, bool) {
	s := numberOrText(w.ExpiresOn)
	if unix, err := strconv.ParseFloat(s, 64); err == nil && unix > 0 && unix < math.MaxInt32*2.0 {
		return time.Unix(int64(unix), 0), true
	}
	// The forms seen from App Service and its forerunners.
	for _, layout := range []string{
		time.RFC3339, "2006-01-02 15:04:05", "01/02/2006 15:04:05", "1/2/2006 3:04:05 PM -07:00", "1/2/2006 15:04:05 PM -07:00",
		"1/2/2006 15:04:05 -07:00", "1/2/2006 3:04:05 PM",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// seconds reads a duration in seconds, as a number or a string, up to thirty
// days: nobody issues longer tokens, and no arithmetic overflows on them.
func seconds(raw json.RawMessage) (time.Duration, bool) {
	f, err := strconv.ParseFloat(numberOrText(raw), 64)
	if err != nil || !(f >= 0) {
		return 0, false
	}
	return time.Duration(min(f, 30*24*3600) * float64(time.Second)), true
}

func numberOrText(raw json.RawMessage) string {
	if s := plainString(raw); s != "" {
		return strings.TrimSpace(s)
	}
	return string(raw)
}

// refused is the error for any other status. invalid_client, and a 401 with any
// reason, say "this credential is not accepted"; what else Entra ID refuses keeps
// the code of its status.
func (x *exchange) refused(r *wire.Request, resp *wire.Response) *ekm.Error {
	e := x.client.Refusal(r, resp)
	var w wireError
	if json.Unmarshal(resp.Body, &w) != nil || w.Error == "" {
		kind := resp.Header.Get("Content-Type")
		if kind == "" && !json.Valid(resp.Body) {
			kind = http.DetectContentType(resp.Body)
		}
		if strings.HasPrefix(kind, "text/plain") {
			e.Message = r.Clean(string(resp.Body), 200)
		}
		return e
	}
	refusesIdentity := resp.Status == http.StatusUnauthorized || w.Error == "invalid_client" && resp.Status == http.StatusBadRequest
	switch {
	case r.Party != ekm.Authority || !refusesIdentity:
	case aadsts(w) == "AADSTS7000229":
		// The application is not known in that tenant, which says nothing against its
		// credential. The same fact comes with status 400 as AADSTS700016.
		as400 := *resp
		as400.Status = http.StatusBadRequest
		e = x.client.Refusal(r, &as400)
		e.Status = resp.Status
	default:
		e.Code = ekm.ErrorGetTokenBadCredentials
	}
	e.ServiceCode = r.Clean(w.Error, 100)
	e.InnerCode = r.Clean(w.SubError, 100)
	e.AADSTS = aadsts(w)
	e.Message = r.Clean(withoutIDs(w.Description), 512)
	e.TraceID = r.Clean(w.TraceID, 100)
	if w.Correlation != "" {
		e.CorrelationID = r.Clean(w.Correlation, 100)
	}
	return e
}

// aadsts is Entra's number, from error_codes or else from the description.
func aadsts(w wireError) string {
	if len(w.Codes) > 0 && w.Codes[0] > 0 {
		return "AADSTS" + strconv.Itoa(w.Codes[0])
	}
	digits, found := strings.CutPrefix(w.Description, "AADSTS")
	if !found {
		return ""
	}
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end > 0 && end < 12 {
		return "AADSTS" + digits[:end]
	}
	return ""
}

// withoutIDs cuts the ids off a description, which are told apart: before 2024
// they came on lines of their own, since then on the same one.
func withoutIDs(s string) string {
	if i := strings.Index(s, "Trace ID:"); i > 0 {
		s = s[:i]
	}
	return strings.TrimSpace(s)
}
