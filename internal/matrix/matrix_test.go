package matrix_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
)

// A scenario reaches one code, through the exported API alone. Its fields say
// what the error must be; what is empty in a row must be empty in the error.
type scenario struct {
	code ekm.Code
	// how says what is done, for docs/codes.md: "Reached by: ...".
	how string

	op     string
	party  ekm.Party
	phase  ekm.Phase
	status int
	// cause is an error that errors.Is must find; says is a part of the cause's
	// text, for causes that have no other name. Without both, there must be no
	// cause: the service's own words, or the code, say it all.
	cause error
	says  string
	// service is "Forbidden/ForbiddenByRbac" or "invalid_client/AADSTS7000215":
	// the codes of the service itself.
	service string

	// advice is a part of the error's advice, for rows that are about it.
	advice string

	// live runs the scenario in real time, as sockets and files need it. The
	// others run in virtual time.
	live bool
	run  func(*scene) error
}

// scenarios are all rows, by the hundreds of the codes.
func scenarios() []scenario {
	return slices.Concat(
		providerScenarios(), networkScenarios(), statusScenarios(), headerScenarios(), challengeScenarios(), tokenScenarios(),
		getKeyScenarios(), backupScenarios(), wrapScenarios(), unwrapScenarios(),
		secretScenarios(), assertionScenarios(), certificateScenarios(), adviceScenarios(),
	)
}

func TestMatrix(t *testing.T) {
	given := make(advice)
	for _, row := range scenarios() {
		t.Run(fmt.Sprintf("%d/%s", row.code, row.how), func(t *testing.T) {
			play := func(t *testing.T) { row.play(t, given) }
			if row.live {
				play(t)
				return
			}
			synctest.Test(t, play)
		})
	}
	given.check(t)
}

// play runs the scenario and checks everything that it promises.
func (row scenario) play(t *testing.T, given advice) {
	s := newScene(t)
	err := row.run(s)
	if row.code == ekm.ErrorSuccess {
		require.NoError(t, err)
		assert.Equal(t, ekm.ErrorSuccess, ekm.CodeOf(err))
		return
	}
	require.Error(t, err)
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok, "%T: %v", err, err)
	require.Equal(t, row.code, e.Code, "%+v", err)
	assert.Equal(t, row.code, ekm.CodeOf(err))
	assert.ErrorIs(t, err, row.code)
	assert.Equal(t, row.op, e.Op, "operation")
	assert.Equal(t, row.party, e.Party, "party")
	assert.Equal(t, row.phase, e.Phase, "phase")
	assert.Equal(t, row.status, e.Status, "status")
	assert.Equal(t, row.service, service(e), "the service's codes")
	assert.False(t, e.Time.IsZero(), "time")
	if row.status != 0 {
		assert.NotEmpty(t, e.Host, "who gave the status")
		assert.Positive(t, e.Attempts, "a status is that of a try")
	}
	if e.CorrelationID != "" && (row.party == ekm.Vault || row.party == ekm.Authority) && s.sent.any() {
		assert.True(t, s.sent.has(e.Host, e.CorrelationID), "that host was never sent this correlation id")
	}
	switch {
	case row.cause == nil && row.says == "":
		assert.NoError(t, e.Err, "a cause that the row does not tell of")
	default:
		require.Error(t, e.Err, "cause")
		if row.cause != nil {
			assert.ErrorIs(t, err, row.cause)
		}
		assert.ErrorContains(t, e.Err, row.says)
	}
	s.checkSecrets(e)
	if e.Op == "acquireToken" && e.Party != ekm.Local {
		assert.NotEmpty(t, e.Credential, "what was to prove the identity")
	}
	assert.Contains(t, e.Advice(), row.advice)
	given.add(t, e)
}

func service(e *ekm.Error) string {
	parts := slices.DeleteFunc([]string{e.ServiceCode, e.InnerCode, e.AADSTS}, func(s string) bool { return s == "" })
	return strings.Join(parts, "/")
}

// checkSecrets looks for everything that must not be told in every form that an
// error has.
func (s *scene) checkSecrets(e *ekm.Error) {
	s.Helper()
	object, err := json.Marshal(e)
	require.NoError(s, err)
	for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e), string(object), e.LogValue().String()} {
		for _, secret := range s.secrets {
			assert.NotContains(s, text, secret)
		}
	}
	assert.False(s, strings.ContainsAny(e.Error(), "\r\n\x00\x1b"), "one line")
}

// raised are the codes that a failure point of this library has. The older
// generation's numbers and the two statuses of the event log are names for
// others; 0 to 7 are what a provider makes of them, but for the four that are
// raised here too; the thumbprint codes have no package yet.
func raised() []ekm.Code {
	var codes []ekm.Code
	for _, c := range ekm.Codes() {
		switch {
		case c == ekm.SCPErrFailure, c == ekm.SCPErrNotSupported, c == ekm.SCPErrInvalidArgument, c == ekm.SCPErrProviderError:
		case c == ekm.SCPErrPasswordTooShort, c == ekm.SCPErrOutOfMemory:
		case c == ekm.ErrorSuccess, c == ekm.ErrorUnknown, c >= ekm.ErrorHttpCreateHttpClientOutOfMemory:
		default:
			continue
		}
		codes = append(codes, c)
	}
	return codes
}

func TestEveryCodeHasAScenario(t *testing.T) {
	reached := make(map[ekm.Code]int)
	names := make(map[string]bool)
	for _, row := range scenarios() {
		reached[row.code]++
		name := fmt.Sprint(row.code, row.how)
		assert.NotEmpty(t, row.how)
		assert.False(t, names[name], "two rows for %v say %q", row.code, row.how)
		names[name] = true
	}
	for _, c := range raised() {
		assert.NotZero(t, reached[c], "no scenario reaches %v", c)
		delete(reached, c)
	}
	assert.Empty(t, reached, "scenarios for codes that are not raised")
}

// TestContextErrors: whatever code a call has whose context ended, errors.Is finds
// the context's error.
func TestContextErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.hang()
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the caller's own reason"))
		_, err := s.client(nil).GetKey(ctx, "tde", "")
		assert.ErrorIs(t, err, context.Canceled)
	})
}
