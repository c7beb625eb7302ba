package interop

import (
	"crypto/rsa"
	"math/big"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

func TestWhatOneWrapsTheOtherUnwraps(t *testing.T) {
	for _, host := range []string{"fakevault.vault.azure.net", "fakehsm.managedhsm.azure.net"} {
		w := newWorld(t, fakevault.Options{VaultHost: host})
		w.CreateKey("tde", 0)
		theirs, ours := w.microsoft(t, w.secret(t)), w.ours(t, w.ourSecret(t))
		secret := []byte("0123456789abcdef0123456789abcdef")
		for _, alg := range algorithms() {
			t.Run(host+"/"+string(alg), func(t *testing.T) {
				a, err := theirs.WrapKey(t.Context(), "tde", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: secret}, nil)
				require.NoError(t, err)
				plain, err := ours.UnwrapKey(t.Context(), "tde", a.KID.Version(), akv.Algorithm(alg), a.Result)
				require.NoError(t, err)
				require.Equal(t, secret, plain.Value)
				require.Equal(t, string(*a.KID), plain.KeyID)

				b, err := ours.WrapKey(t.Context(), "tde", "", akv.Algorithm(alg), secret)
				require.NoError(t, err)
				require.Equal(t, string(*a.KID), b.KeyID)
				back, err := theirs.UnwrapKey(t.Context(), "tde", a.KID.Version(), azkeys.KeyOperationParameters{Algorithm: &alg, Value: b.Value}, nil)
				require.NoError(t, err)
				require.Equal(t, secret, back.Result)
			})
		}
	}
}

func TestBothReadTheSameKey(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	theirs, ours := w.microsoft(t, w.secret(t)), w.ours(t, w.ourSecret(t))
	w.CreateKey("tde", 0)
	w.CreateECKey("ec", "P-384")
	w.CreateKey("tde", 0) // a second version

	a, err := theirs.GetKey(t.Context(), "tde", "", nil)
	require.NoError(t, err)
	b, err := ours.GetKey(t.Context(), "tde", "")
	require.NoError(t, err)
	pub, ok := b.Public.(*rsa.PublicKey)
	require.True(t, ok)
	require.Equal(t, a.Key.N, pub.N.Bytes())
	require.Equal(t, a.Key.E, big.NewInt(int64(pub.E)).Bytes())
	require.Equal(t, string(*a.Key.KID), b.ID)
	require.Equal(t, a.Key.KID.Version(), b.Version)
	require.Equal(t, *a.Attributes.Enabled, b.Enabled)
	require.True(t, a.Attributes.Created.Equal(b.Created))
	require.Equal(t, *a.Attributes.RecoveryLevel, b.RecoveryLevel)
	require.Equal(t, len(a.Key.KeyOps), len(b.Ops))

	e, err := theirs.GetKey(t.Context(), "ec", "", nil)
	require.NoError(t, err)
	f, err := ours.GetKey(t.Context(), "ec", "")
	require.NoError(t, err)
	point, err := f.Public.(interface{ Bytes() ([]byte, error) }).Bytes()
	require.NoError(t, err)
	require.Equal(t, append(append([]byte{4}, e.Key.X...), e.Key.Y...), point)
}

func TestBothListBackUpAndRotateAlike(t *testing.T) {
	w := newWorld(t, fakevault.Options{EmptyPages: true})
	theirs, ours := w.microsoft(t, w.secret(t)), w.ours(t, w.ourSecret(t))
	w.CreateKey("tde", 0)
	rotated, err := ours.RotateKey(t.Context(), "tde")
	require.NoError(t, err)
	a, err := theirs.GetKey(t.Context(), "tde", "", nil)
	require.NoError(t, err)
	require.Equal(t, string(*a.Key.KID), rotated.ID)

	var got, want []string
	for v, err := range ours.KeyVersions(t.Context(), "tde") {
		require.NoError(t, err)
		got = append(got, v.ID)
	}
	for p := theirs.NewListKeyPropertiesVersionsPager("tde", nil); p.More(); {
		page, err := p.NextPage(t.Context())
		require.NoError(t, err)
		for _, v := range page.Value {
			want = append(want, string(*v.KID))
		}
	}
	require.Len(t, got, 2)
	require.Equal(t, want, got)

	// Each restores the other's backup.
	backup, err := ours.BackupKey(t.Context(), "tde")
	require.NoError(t, err)
	purge(t, theirs)
	_, err = theirs.RestoreKey(t.Context(), azkeys.RestoreKeyParameters{KeyBackup: backup}, nil)
	require.NoError(t, err)
	blob, err := theirs.BackupKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	purge(t, theirs)
	restored, err := ours.RestoreKey(t.Context(), blob.Value)
	require.NoError(t, err)
	require.Equal(t, rotated.Public, restored.Public)
}

func purge(t *testing.T, c *azkeys.Client) {
	t.Helper()
	_, err := c.DeleteKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	_, err = c.PurgeDeletedKey(t.Context(), "tde", nil)
	require.NoError(t, err)
}
