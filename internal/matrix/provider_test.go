package matrix_test

import (
	"context"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/retry"
)

// invalid is a row about an argument of somebody who may have no SECRET.
func invalid(how, op, says string, run func(*scene) error) scenario {
	return scenario{code: ekm.SCPErrInvalidArgument, how: how, op: op, party: ekm.Local, says: says, advice: "the argument that the error names", run: run}
}

// providerScenarios are the codes of no single step: success, the results of a
// provider that are raised here too, and the gate's budget.
func providerScenarios() []scenario {
	return []scenario{
		{code: ekm.ErrorSuccess, how: "a key that is got", run: func(s *scene) error { return s.get(nil) }},
		{
			code: ekm.SCPErrInvalidArgument, how: "a key name that is empty", op: "getKey", party: ekm.Local, says: "name",
			run: func(s *scene) error {
				_, err := s.client(nil).GetKey(s.Context(), "", "")
				return err
			},
		},
		invalid("a key name with a blank behind it", "getKey", "blanks", func(s *scene) error {
			_, err := s.client(nil).GetKey(s.Context(), "tde ", "")
			return err
		}),
		invalid("a workload identity's client id with a blank before it", "", "blanks", func(*scene) error {
			_, err := aad.NewWorkloadIdentity(&aad.WorkloadIdentityOptions{ClientID: " x", TokenFile: "f"})
			return err
		}),
		invalid("a managed identity's client id with a blank behind it", "", "blanks", func(*scene) error {
			_, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{ClientID: "a "})
			return err
		}),
		{
			code: ekm.SCPErrInvalidArgument, how: "a key name that no key can have", op: "getKey", party: ekm.Local, says: "other characters than",
			run: func(s *scene) error {
				_, err := s.client(nil).GetKey(s.Context(), "no/such/name", "")
				return err
			},
		},
		{
			code: ekm.SCPErrInvalidArgument, how: "a vault that is no address", party: ekm.Local, says: "vault",
			run: func(s *scene) error {
				_, err := akv.NewClient("contoso vault", s.credential(), nil)
				return err
			},
		},
		{
			code: ekm.SCPErrNotSupported, how: "an algorithm that wraps with symmetric keys", op: "wrapKey", party: ekm.Local, says: "none of RSA1_5, RSA-OAEP and RSA-OAEP-256",
			run: func(s *scene) error {
				_, err := s.client(nil).WrapKey(s.Context(), "tde", "", "A256KW", []byte(dataKey))
				return err
			},
		},
		{
			code: ekm.SCPErrFailure, how: "a context that ends while the call waits for another's token", op: "acquireToken", party: ekm.Local,
			cause: context.DeadlineExceeded, run: (*scene).leavingEarly,
		},
		{
			code: ekm.SCPErrProviderError, how: "a list whose page links to itself", op: "listKeys", party: ekm.Vault, status: 200, says: "link back",
			run: func(s *scene) error {
				return s.followLink("https://fakevault.vault.azure.net/keys?$skiptoken=again")
			},
		},
		{
			code: ekm.ErrorCreateKeyVaultRetryManagerOutOfMemory, how: "a Gate for one call at a time and one that waits, and a third call",
			op: "getKey", party: ekm.Local, phase: ekm.PhasePrepare, says: "too many calls are already waiting", run: (*scene).crowded,
		},
	}
}

// crowded calls where one call is under way and another waits.
func (s *scene) crowded() error {
	client := s.client(func(o *akv.Options) { o.Gate = &retry.Gate{InFlight: 1, Waiting: 1} })
	_, err := client.GetKey(s.Context(), "tde", "") // so that the others need no token
	require.NoError(s, err)
	s.hang()
	ctx, cancel := context.WithCancel(s.Context())
	defer synctest.Wait()
	defer cancel()
	for range 2 {
		go func() { _, _ = client.GetKey(ctx, "tde", "") }()
		synctest.Wait()
	}
	_, err = client.GetKey(s.Context(), "tde", "")
	return err
}

// leavingEarly waits for a token that another call is fetching, for a second.
func (s *scene) leavingEarly() error {
	s.fake.Script(fakevault.Fault{Operation: fakevault.OpToken, Delay: time.Minute})
	client := s.client(nil)
	first := make(chan error)
	go func() {
		_, err := client.GetKey(s.Context(), "tde", "")
		first <- err
	}()
	synctest.Wait()
	ctx, cancel := context.WithTimeout(s.Context(), time.Second)
	defer cancel()
	begun := time.Now()
	_, err := client.GetKey(ctx, "tde", "")
	assert.Equal(s, time.Second, time.Since(begun))
	assert.NoError(s, <-first, "who stays gets it")
	return err
}
