package interop

import (
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// A world is one fake behind a real TLS listener.
type world struct {
	*fakevault.Server
	transport http.RoundTripper
}

func newWorld(t *testing.T, opts fakevault.Options) *world {
	t.Helper()
	s := fakevault.New(opts)
	l, err := s.Listen()
	require.NoError(t, err)
	t.Cleanup(func() {
		s.Close()
		_ = l.Close()
	})
	return &world{s, l.Transport()}
}

// options are those of Microsoft's clients: our transport, and no retry that
// would hide an answer.
func (w *world) options() azcore.ClientOptions {
	return azcore.ClientOptions{
		Transport: &http.Client{Transport: w.transport},
		Retry:     policy.RetryOptions{MaxRetries: -1},
	}
}

func (w *world) secret(t *testing.T) azcore.TokenCredential {
	t.Helper()
	cred, err := azidentity.NewClientSecretCredential(w.Tenant(), w.ClientID(), w.ClientSecret(),
		&azidentity.ClientSecretCredentialOptions{ClientOptions: w.options(), DisableInstanceDiscovery: true})
	require.NoError(t, err)
	return cred
}

// microsoft is Microsoft's client.
func (w *world) microsoft(t *testing.T, cred azcore.TokenCredential) *azkeys.Client {
	t.Helper()
	c, err := azkeys.NewClient(w.VaultURL(), cred, &azkeys.ClientOptions{ClientOptions: w.options()})
	require.NoError(t, err)
	return c
}

// ours is this project's client.
func (w *world) ours(t *testing.T, cred aad.Credential) *akv.Client {
	t.Helper()
	c, err := akv.NewClient(w.VaultURL(), cred, &akv.Options{Transport: w.transport})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func (w *world) ourSecret(t *testing.T) aad.Credential {
	t.Helper()
	cred, err := aad.NewClientSecret(w.ClientID(), w.ClientSecret())
	require.NoError(t, err)
	return cred
}

// refused requires an error that azcore has decoded.
func refused(t *testing.T, err error, status int, code string) {
	t.Helper()
	var re *azcore.ResponseError
	require.ErrorAs(t, err, &re)
	require.Equal(t, status, re.StatusCode)
	require.Equal(t, code, re.ErrorCode)
}
