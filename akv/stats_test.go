package akv_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/retry"
)

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := keyed(t, fakevault.Options{})
		client := clientOf(t, fake, akv.Options{})
		assert.Zero(t, client.Stats())

		fake.Script(
			fakevault.Fault{Operation: fakevault.OpToken, Status: 500},
			fakevault.Fault{Operation: fakevault.OpGet, Skip: 1, Kind: fakevault.Abort},
			fakevault.VaultThrottled(2),
		)
		_, err := client.GetKey(t.Context(), "tde", "")
		require.NoError(t, err)
		_, err = client.GetKey(t.Context(), "no-such-key", "")
		require.Error(t, err)

		s := client.Stats()
		assert.Equal(t, retry.Stats{Rate: s.Vault.Gate.Rate, Tries: 6, Retries: 3, Throttled: 2}, s.Vault.Gate)
		s.Vault.Gate = retry.Stats{}
		assert.Equal(t, akv.Traffic{Succeeded: 1, Unauthorized: 1, Throttled: 2, Refused: 1, Unanswered: 1, Retries: 3}, s.Vault)
		assert.Equal(t, akv.Traffic{Succeeded: 1, Failed: 1, Retries: 1, Gate: retry.Stats{Tries: 2, Retries: 1}}, s.Authority)
		assert.Zero(t, s.Platform)

		text, err := json.Marshal(s)
		require.NoError(t, err)
		assert.Contains(t, string(text), `"Vault":{"Succeeded":1,"Unauthorized":1`)
	})
}

func TestStatsOfThePlatform(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	cred, err := aad.NewManagedIdentity(&aad.ManagedIdentityOptions{Source: aad.IMDS})
	require.NoError(t, err)
	client, err := akv.NewClient(fake.VaultURL(), cred, &akv.Options{Transport: fake.Transport()})
	require.NoError(t, err)
	defer client.Close()
	_, err = client.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	assert.EqualValues(t, 1, client.Stats().Platform.Succeeded)
	assert.Zero(t, client.Stats().Authority)
}

// What goes past the gate is tried again too; and a gate may be others' as well.
func TestStatsOfRetriesPastTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := keyed(t, fakevault.Options{})
		gate := new(retry.Gate)
		client, other := clientOf(t, fake, akv.Options{Gate: gate}), clientOf(t, fake, akv.Options{Gate: gate})
		_, err := client.GetKey(t.Context(), "tde", "")
		require.NoError(t, err)
		blob, err := client.BackupKey(t.Context(), "tde")
		require.NoError(t, err)

		fake.Script(
			fakevault.Fault{Operation: fakevault.OpRotate, Status: 429, Times: 2},
			fakevault.Fault{Operation: fakevault.OpRestore, Status: 429, Times: 1},
		)
		_, err = client.RotateKey(t.Context(), "tde")
		require.NoError(t, err)
		_, err = client.RestoreKey(t.Context(), blob)
		require.ErrorIs(t, err, ekm.ErrorHttpResponseCodeClientError, "it is there")
		assert.EqualValues(t, 3, client.Stats().Vault.Retries)

		fake.Script(fakevault.Fault{Operation: fakevault.OpGet, Skip: 1, Status: 500})
		_, err = other.GetKey(t.Context(), "tde", "")
		require.NoError(t, err)
		assert.EqualValues(t, 1, other.Stats().Vault.Retries)
		assert.EqualValues(t, 3, client.Stats().Vault.Retries, "its own alone")
		assert.EqualValues(t, 1, client.Stats().Vault.Gate.Retries, "of all that went through it")
	})
}

// Clients of one vault that share a gate share its figures, and what it learns.
func TestSharedGate(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	gate := new(retry.Gate)
	one, other := clientOf(t, fake, akv.Options{Gate: gate}), clientOf(t, fake, akv.Options{Gate: gate})
	_, err := one.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	assert.Equal(t, gate.Stats(), other.Stats().Vault.Gate)
	assert.EqualValues(t, 2, gate.Stats().Tries)
}
