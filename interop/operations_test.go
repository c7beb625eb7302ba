package interop

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/internal/fakevault"
)

func algorithms() []azkeys.EncryptionAlgorithm {
	return []azkeys.EncryptionAlgorithm{
		azkeys.EncryptionAlgorithmRSA15, azkeys.EncryptionAlgorithmRSAOAEP, azkeys.EncryptionAlgorithmRSAOAEP256,
	}
}

func TestAzkeysCreatesAndGetsKeys(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	c := w.microsoft(t, w.secret(t))
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	made, err := c.CreateKey(t.Context(), "tde", azkeys.CreateKeyParameters{
		Kty: to.Ptr(azkeys.KeyTypeRSA), KeySize: to.Ptr[int32](2048),
		KeyOps:        []*azkeys.KeyOperation{to.Ptr(azkeys.KeyOperationWrapKey), to.Ptr(azkeys.KeyOperationUnwrapKey)},
		KeyAttributes: &azkeys.KeyAttributes{Expires: &expires},
		Tags:          map[string]*string{"for": to.Ptr("tde")},
	}, nil)
	require.NoError(t, err)
	require.Equal(t, "tde", made.Key.KID.Name())
	require.Len(t, made.Key.KID.Version(), 32)
	require.Len(t, made.Key.N, 256)
	require.Equal(t, []byte{1, 0, 1}, made.Key.E)

	for _, version := range []string{"", made.Key.KID.Version()} {
		got, err := c.GetKey(t.Context(), "tde", version, nil)
		require.NoError(t, err)
		require.Equal(t, made.KeyBundle, got.KeyBundle)
		require.True(t, *got.Attributes.Enabled)
		require.True(t, expires.Equal(*got.Attributes.Expires))
		require.Equal(t, "tde", *got.Tags["for"])
	}

	for _, curve := range []azkeys.CurveName{azkeys.CurveNameP256, azkeys.CurveNameP384, azkeys.CurveNameP521} {
		ec, err := c.CreateKey(t.Context(), "ec", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeEC), Curve: &curve}, nil)
		require.NoError(t, err)
		require.Equal(t, curve, *ec.Key.Crv)
		require.NotEmpty(t, ec.Key.X)
		require.Len(t, ec.Key.Y, len(ec.Key.X))
	}
}

func TestAzkeysImportsAndUpdatesKeys(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	c := w.microsoft(t, w.secret(t))
	priv, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	in, err := c.ImportKey(t.Context(), "mine", azkeys.ImportKeyParameters{Key: &azkeys.JSONWebKey{
		Kty: to.Ptr(azkeys.KeyTypeRSA), N: priv.N.Bytes(), E: []byte{1, 0, 1}, D: priv.D.Bytes(),
		P: priv.Primes[0].Bytes(), Q: priv.Primes[1].Bytes(),
		DP: priv.Precomputed.Dp.Bytes(), DQ: priv.Precomputed.Dq.Bytes(), QI: priv.Precomputed.Qinv.Bytes(),
	}}, nil)
	require.NoError(t, err)
	require.Equal(t, priv.N.Bytes(), in.Key.N)

	_, err = c.UpdateKey(t.Context(), "mine", in.Key.KID.Version(), azkeys.UpdateKeyParameters{
		KeyAttributes: &azkeys.KeyAttributes{Enabled: to.Ptr(false)},
	}, nil)
	require.NoError(t, err)
	_, err = c.WrapKey(t.Context(), "mine", "", azkeys.KeyOperationParameters{
		Algorithm: to.Ptr(azkeys.EncryptionAlgorithmRSAOAEP256), Value: []byte("key"),
	}, nil)
	refused(t, err, 403, "Forbidden")
	require.ErrorContains(t, err, "disabled")
}

func TestAzkeysListsPages(t *testing.T) {
	for _, empty := range []bool{false, true} {
		t.Run(fmt.Sprint("emptyPages=", empty), func(t *testing.T) {
			priv, err := rsa.GenerateKey(rand.Reader, 2048)
			require.NoError(t, err)
			w := newWorld(t, fakevault.Options{EmptyPages: empty})
			var want []string
			for i := range 60 {
				name := fmt.Sprintf("key-%02d", i)
				w.AddKey(name, priv)
				want = append(want, name)
			}
			c := w.microsoft(t, w.secret(t))
			var got []string
			pages := 0
			for p := c.NewListKeyPropertiesPager(nil); p.More(); pages++ {
				page, err := p.NextPage(t.Context())
				require.NoError(t, err)
				for _, k := range page.Value {
					got = append(got, k.KID.Name())
				}
			}
			require.Equal(t, want, got)
			require.Equal(t, map[bool]int{false: 3, true: 6}[empty], pages)
		})
	}
}

func TestAzkeysRotatesAndListsVersions(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	c := w.microsoft(t, w.secret(t))
	w.CreateKey("tde", 0)
	first, err := c.GetKey(t.Context(), "tde", "", nil)
	require.NoError(t, err)

	policy, err := c.UpdateKeyRotationPolicy(t.Context(), "tde", azkeys.KeyRotationPolicy{
		Attributes: &azkeys.KeyRotationPolicyAttributes{ExpiryTime: to.Ptr("P90D")},
		LifetimeActions: []*azkeys.LifetimeAction{{
			Action:  &azkeys.LifetimeActionType{Type: to.Ptr(azkeys.KeyRotationPolicyActionNotify)},
			Trigger: &azkeys.LifetimeActionTrigger{TimeBeforeExpiry: to.Ptr("P30D")},
		}},
	}, nil)
	require.NoError(t, err)
	read, err := c.GetKeyRotationPolicy(t.Context(), "tde", nil)
	require.NoError(t, err)
	require.Equal(t, policy.KeyRotationPolicy, read.KeyRotationPolicy)

	second, err := c.RotateKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	require.NotEqual(t, first.Key.KID, second.Key.KID)
	require.NotEqual(t, first.Key.N, second.Key.N)
	require.NotNil(t, second.Attributes.Expires)
	newest, err := c.GetKey(t.Context(), "tde", "", nil)
	require.NoError(t, err)
	require.Equal(t, second.Key.KID, newest.Key.KID)

	var versions []string
	for p := c.NewListKeyPropertiesVersionsPager("tde", nil); p.More(); {
		page, err := p.NextPage(t.Context())
		require.NoError(t, err)
		for _, v := range page.Value {
			versions = append(versions, v.KID.Version())
		}
	}
	require.ElementsMatch(t, []string{first.Key.KID.Version(), second.Key.KID.Version()}, versions)
}

func TestAzkeysWrapsAndEncrypts(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	c := w.microsoft(t, w.secret(t))
	w.CreateKey("tde", 0)
	secret := []byte("0123456789abcdef0123456789abcdef")
	for _, alg := range algorithms() {
		t.Run(string(alg), func(t *testing.T) {
			wrapped, err := c.WrapKey(t.Context(), "tde", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: secret}, nil)
			require.NoError(t, err)
			require.Len(t, wrapped.Result, 256)
			plain, err := c.UnwrapKey(t.Context(), "tde", wrapped.KID.Version(), azkeys.KeyOperationParameters{Algorithm: &alg, Value: wrapped.Result}, nil)
			require.NoError(t, err)
			require.Equal(t, secret, plain.Result)
			require.Equal(t, wrapped.KID, plain.KID)

			sealed, err := c.Encrypt(t.Context(), "tde", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: secret}, nil)
			require.NoError(t, err)
			opened, err := c.Decrypt(t.Context(), "tde", sealed.KID.Version(), azkeys.KeyOperationParameters{Algorithm: &alg, Value: sealed.Result}, nil)
			require.NoError(t, err)
			require.Equal(t, secret, opened.Result)
		})
	}
}

func TestAzkeysSignsAndVerifies(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	c := w.microsoft(t, w.secret(t))
	w.CreateKey("RSA", 0)
	two, three, five := sha256.Sum256([]byte("x")), sha512.Sum384([]byte("x")), sha512.Sum512([]byte("x"))
	cases := map[azkeys.SignatureAlgorithm]struct {
		key    string
		digest []byte
	}{
		azkeys.SignatureAlgorithmRS256: {"RSA", two[:]}, azkeys.SignatureAlgorithmRS384: {"RSA", three[:]},
		azkeys.SignatureAlgorithmRS512: {"RSA", five[:]}, azkeys.SignatureAlgorithmPS256: {"RSA", two[:]},
		azkeys.SignatureAlgorithmPS384: {"RSA", three[:]}, azkeys.SignatureAlgorithmPS512: {"RSA", five[:]},
		azkeys.SignatureAlgorithmES256: {"P-256", two[:]}, azkeys.SignatureAlgorithmES384: {"P-384", three[:]},
		azkeys.SignatureAlgorithmES512: {"P-521", five[:]},
	}
	for _, curve := range []string{"P-256", "P-384", "P-521"} {
		w.CreateECKey(curve, curve)
	}
	for alg, k := range cases {
		t.Run(string(alg), func(t *testing.T) {
			signed, err := c.Sign(t.Context(), k.key, "", azkeys.SignParameters{Algorithm: &alg, Value: k.digest}, nil)
			require.NoError(t, err)
			check := azkeys.VerifyParameters{Algorithm: &alg, Digest: k.digest, Signature: signed.Result}
			good, err := c.Verify(t.Context(), k.key, signed.KID.Version(), check, nil)
			require.NoError(t, err)
			require.True(t, *good.Value)
			check.Signature = slices.Clone(signed.Result)
			check.Signature[len(check.Signature)/2] ^= 1
			bad, err := c.Verify(t.Context(), k.key, "", check, nil)
			require.NoError(t, err)
			require.False(t, *bad.Value)
		})
	}
}

func TestAzkeysBackupDeleteRecoverPurgeRestore(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	c := w.microsoft(t, w.secret(t))
	w.CreateKey("tde", 0)
	key, err := c.GetKey(t.Context(), "tde", "", nil)
	require.NoError(t, err)
	backup, err := c.BackupKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	require.NotEmpty(t, backup.Value)
	_, err = c.RestoreKey(t.Context(), azkeys.RestoreKeyParameters{KeyBackup: backup.Value}, nil)
	refused(t, err, 409, "Conflict")

	deleted, err := c.DeleteKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	require.Equal(t, key.Key, deleted.Key)
	require.Equal(t, 7*24*time.Hour, deleted.ScheduledPurgeDate.Sub(*deleted.DeletedDate))
	_, err = c.GetKey(t.Context(), "tde", "", nil)
	refused(t, err, 404, "KeyNotFound")
	_, err = c.CreateKey(t.Context(), "tde", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeEC)}, nil)
	refused(t, err, 409, "Conflict")
	got, err := c.GetDeletedKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	require.Equal(t, deleted.DeletedKey, got.DeletedKey)
	page, err := c.NewListDeletedKeyPropertiesPager(nil).NextPage(t.Context())
	require.NoError(t, err)
	require.Len(t, page.Value, 1)
	require.Equal(t, "tde", page.Value[0].KID.Name())

	recovered, err := c.RecoverDeletedKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	require.Equal(t, key.Key, recovered.Key)
	_, err = c.DeleteKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	_, err = c.PurgeDeletedKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	_, err = c.GetDeletedKey(t.Context(), "tde", nil)
	refused(t, err, 404, "KeyNotFound")

	restored, err := c.RestoreKey(t.Context(), azkeys.RestoreKeyParameters{KeyBackup: backup.Value}, nil)
	require.NoError(t, err)
	require.Equal(t, key.Key, restored.Key)
}

func TestAzkeysDecodesErrors(t *testing.T) {
	w := newWorld(t, fakevault.Options{})
	c := w.microsoft(t, w.secret(t))
	_, err := c.GetKey(t.Context(), "absent", "", nil)
	refused(t, err, 404, "KeyNotFound")
	require.ErrorContains(t, err, "A key with (name/id) absent was not found")

	w.CreateKey("tde", 0)
	w.Deny(fakevault.OpWrap)
	alg := azkeys.EncryptionAlgorithmRSAOAEP256
	_, err = c.WrapKey(t.Context(), "tde", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: []byte("key")}, nil)
	refused(t, err, 403, "Forbidden")
	require.ErrorContains(t, err, "ForbiddenByRbac")
	_, err = c.UnwrapKey(t.Context(), "tde", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: make([]byte, 256)}, nil)
	refused(t, err, 400, "BadParameter")
	w.Script(fakevault.VaultThrottled(1))
	_, err = c.GetKey(t.Context(), "tde", "", nil)
	refused(t, err, 429, "Throttled")
}

func TestAzkeysUsesManagedHSM(t *testing.T) {
	w := newWorld(t, fakevault.Options{VaultHost: "fakehsm.managedhsm.azure.net", EmptyPages: true})
	c := w.microsoft(t, w.secret(t))
	b, err := c.GetRandomBytes(t.Context(), azkeys.GetRandomBytesParameters{Count: to.Ptr[int32](32)}, nil)
	require.NoError(t, err)
	require.Len(t, b.Value, 32)

	made, err := c.CreateKey(t.Context(), "tde", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeRSAHSM)}, nil)
	require.NoError(t, err)
	require.Equal(t, azkeys.KeyTypeRSAHSM, *made.Key.Kty)
	for _, alg := range algorithms() {
		wrapped, err := c.WrapKey(t.Context(), "tde", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: b.Value}, nil)
		require.NoError(t, err)
		plain, err := c.UnwrapKey(t.Context(), "tde", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: wrapped.Result}, nil)
		require.NoError(t, err)
		require.Equal(t, b.Value, plain.Result)
	}
	names := count(t, c.NewListKeyPropertiesPager(nil), func(p azkeys.ListKeyPropertiesResponse) int { return len(p.Value) })
	require.Equal(t, 1, names)
	backup, err := c.BackupKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	_, err = c.DeleteKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	_, err = c.PurgeDeletedKey(t.Context(), "tde", nil)
	require.NoError(t, err)
	restored, err := c.RestoreKey(t.Context(), azkeys.RestoreKeyParameters{KeyBackup: backup.Value}, nil)
	require.NoError(t, err)
	require.Equal(t, made.Key, restored.Key)
	_, err = c.GetKey(t.Context(), "absent", "", nil)
	refused(t, err, 404, "KeyNotFound")
}

func count[T any](t *testing.T, p *runtime.Pager[T], size func(T) int) (n int) {
	t.Helper()
	for p.More() {
		page, err := p.NextPage(t.Context())
		require.NoError(t, err)
		n += size(page)
	}
	return n
}
