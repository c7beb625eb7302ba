package akv_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

const point = `"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`

// answered makes each operation that is answered with a key id, on the key tde,
// with version where the operation takes one, against a vault whose ids are kid.
// It returns the id that each accepted, or the error.
func answered(t *testing.T, vault string, opts akv.Options, version, kid string) map[string]any {
	t.Helper()
	cred, err := aad.NewClientSecret("id", "s3cret~value")
	require.NoError(t, err)
	sent := bytes.Repeat([]byte("k"), 32)
	opts.Trust = challenge.Policy{Resources: []string{"https://vault.azure.net"}}
	opts.Transport = scripted(func(r *http.Request) *http.Response {
		quoted, err := json.Marshal(kid)
		assert.NoError(t, err)
		id := `"kid":` + string(quoted)
		switch {
		case strings.HasSuffix(r.URL.Path, "/unwrapkey"):
			return reply(r, 200, `{`+id+`,"value":"AAAA"}`)
		case strings.HasSuffix(r.URL.Path, "/wrapkey"):
			return reply(r, 200, `{`+id+`,"value":"`+strings.Repeat("A", 344)+`"}`)
		case strings.HasSuffix(r.URL.Path, "/versions") || r.URL.Path == "/keys":
			return reply(r, 200, `{"value":[{`+id+`}]}`)
		}
		return reply(r, 200, `{"key":{`+id+`,`+point+`}}`)
	})
	client, err := akv.NewClient(vault, cred, &opts)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	got := make(map[string]any)
	note := func(op, id string, err error) {
		if got[op] = id; err != nil {
			got[op] = ekm.CodeOf(err)
			assert.Empty(t, id)
		}
	}
	key := func(op string, k *akv.Key, err error) {
		if k == nil {
			k = &akv.Key{}
		}
		note(op, k.ID, err)
	}
	ctx := t.Context()
	k, err := client.GetKey(ctx, "tde", version)
	key("get", k, err)
	if version == "" {
		k, err = client.RotateKey(ctx, "tde")
		key("rotate", k, err)
		for item, err := range client.KeyVersions(ctx, "tde") {
			note("versions", item.ID, err)
		}
	}
	k, err = client.RestoreKey(ctx, []byte("blob"))
	key("restore", k, err)
	for item, err := range client.Keys(ctx) {
		note("keys", item.ID, err)
	}
	r, err := client.WrapKey(ctx, "tde", version, akv.RSAOAEP256, sent)
	note("wrap", r.KeyID, err)
	r, err = client.UnwrapKey(ctx, "tde", version, akv.RSAOAEP256, bytes.Repeat(sent, 8))
	note("unwrap", r.KeyID, err)
	return got
}

// Callers keep key ids: they unwrap with them later, and show and store them.
func TestKeyIDsAreOfTheKeyAsked(t *testing.T) {
	const own = "contoso.vault.azure.net"
	refusals := map[string]any{
		"get": ekm.ErrorGetKeyByNameExtractKeyUri, "rotate": ekm.ErrorGetKeyByNameExtractKeyUri, "restore": ekm.ErrorGetKeyByNameExtractKeyUri,
		"versions": ekm.ErrorGetKeyByNameExtractKeyUri, "keys": ekm.ErrorGetKeyByNameExtractKeyUri,
		"wrap": ekm.ErrorWrapKeyExtractValue, "unwrap": ekm.ErrorUnwrapKeyExtractValue,
	}
	for _, c := range []struct {
		why           string
		vault, idHost string
		version, kid  string
		good          bool
		except        []string // operations that did not ask for what differs
	}{
		{why: "what was asked", kid: "https://" + own + "/keys/tde/1", good: true},
		{why: "names compare without case, the id stays as it was sent", kid: "https://Contoso.Vault.Azure.NET:443/keys/TDE/ABC", version: "abc", good: true},
		{why: "the longest version", kid: "https://" + own + "/keys/tde/" + strings.Repeat("1", 127), good: true},
		{why: "another version", kid: "https://" + own + "/keys/tde/2", version: "1", except: []string{"restore", "keys"}},
		{why: "another key", kid: "https://" + own + "/keys/other/1", except: []string{"restore", "keys"}},
		{why: "no version", kid: "https://" + own + "/keys/tde", except: []string{"keys"}},
		{why: "another vault", kid: "https://evil.vault.azure.net/keys/tde/1"},
		{why: "another vault that begins alike", kid: "https://" + own + ".evil.example/keys/tde/1"},
		{why: "another port", kid: "https://" + own + ":8443/keys/tde/1"},
		{why: "user info", kid: "https://" + own + "@evil.example/keys/tde/1"},
		{why: "the Kelvin sign folds to k", kid: "https://" + own + "/\u212aeys/tde/1"},
		{why: "version ..", kid: "https://" + own + "/keys/tde/.."},
		{why: "NUL", kid: "https://" + own + "/keys/tde/1\x00"},
		{why: "ESC", kid: "https://" + own + "/keys/tde/\x1b[2J"},
		{why: "a character that turns the direction of text", kid: "https://" + own + "/keys/tde/1\u202e"},
		{why: "percent-encoding", kid: "https://" + own + "/keys/tde/%31"},
		{why: "20 KB", kid: "https://" + own + "/keys/tde/" + strings.Repeat("1", 20<<10)},
		{why: "one over the limit", kid: "https://" + own + "/keys/tde/" + strings.Repeat("1", 128)},
		{why: "a query, though empty", kid: "https://" + own + "/keys/tde/1?"},
		{why: "a fragment, though empty", kid: "https://" + own + "/keys/tde/1#"},
		{why: "one segment more, though empty", kid: "https://" + own + "/keys/tde/1/"},
		{why: "no URL of a key", kid: "javascript:evil"},

		{why: "by address, the public name not allowed", vault: "10.0.0.5", kid: "https://" + own + "/keys/tde/1"},
		{why: "by address, the public name allowed", vault: "10.0.0.5", idHost: own, kid: "https://" + own + "/keys/tde/1", good: true},
		{why: "allowed as a URL in another case", vault: "10.0.0.5", idHost: "https://Contoso.vault.azure.net/", kid: "https://" + own + "/keys/tde/1", good: true},
		{why: "allowed as a name", vault: "localhost:8443", idHost: "contoso", kid: "https://" + own + "/keys/tde/1", good: true},
		{why: "the own host is still allowed", vault: "localhost:8443", idHost: "contoso", kid: "https://localhost:8443/keys/tde/1", good: true},
		{why: "another vault of the same cloud is not", vault: "10.0.0.5", idHost: own, kid: "https://evil.vault.azure.net/keys/tde/1"},
		{why: "by the name with the root's dot, which ids have not", vault: own + ".", kid: "https://" + own + "/keys/tde/1", good: true},
	} {
		t.Run(c.why, func(t *testing.T) {
			vault := c.vault
			if vault == "" {
				vault = own
			}
			for op, got := range answered(t, vault, akv.Options{IDHost: c.idHost}, c.version, c.kid) {
				good := c.good
				for _, except := range c.except {
					good = good || except == op
				}
				if good {
					assert.Equal(t, c.kid, got, op)
				} else {
					assert.Equal(t, refusals[op], got, op)
				}
			}
		})
	}
}

// A name that Unicode folds to the caller's is not the same one.
func TestTheKelvinSignIsNoK(t *testing.T) {
	client := scriptedClient(t, akv.Options{}, func(r *http.Request) *http.Response {
		return reply(r, 200, `{"key":{"kid":"https://contoso.vault.azure.net/keys/\u212aey/1",`+point+`}}`)
	})
	_, err := client.GetKey(t.Context(), "key", "")
	assert.ErrorIs(t, err, ekm.ErrorGetKeyByNameExtractKeyUri)
}

// Links of a vault behind another address name the vault as its ids do.
func TestPagesBehindAnotherAddress(t *testing.T) {
	fake := keyed(t, fakevault.Options{EmptyPages: true})
	for i := range 30 {
		fake.AddKey(fmt.Sprintf("key-%d", i), testKey())
	}
	var asked []string
	next := fake.Transport()
	client, err := akv.NewClient("10.0.0.5", secretOf(t, fake), &akv.Options{
		IDHost: fake.VaultHost(),
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "10.0.0.5" {
				asked = append(asked, r.URL.RequestURI())
				r = r.Clone(r.Context())
				r.URL.Host, r.Host = fake.VaultHost(), fake.VaultHost()
			} else {
				assert.True(t, strings.HasPrefix(r.URL.Host, "login."), r.URL.Host)
			}
			return next.RoundTrip(r)
		}),
	})
	require.NoError(t, err)
	defer client.Close()
	n := 0
	for item, err := range client.Keys(t.Context()) {
		require.NoError(t, err)
		assert.Equal(t, fake.VaultHost(), item.Vault)
		n++
	}
	assert.Equal(t, 31, n)
	assert.Greater(t, len(asked), 2)
}

// The DNS names behind a private endpoint are not where a vault is asked: the answer
// says under which name it is.
func TestPrivateEndpointNames(t *testing.T) {
	cred, err := aad.NewClientSecret("id", "secret")
	require.NoError(t, err)
	const (
		use    = "a DNS name behind a private endpoint: use contoso.vault.azure.net"
		suffix = ": Options.VaultSuffix is a DNS name behind a private endpoint: use "
	)
	for _, c := range []struct {
		vault string
		opts  akv.Options
		says  string // empty: it is taken
	}{
		{"contoso.vaultcore.azure.net", akv.Options{}, use},
		{"contoso.privatelink.vaultcore.azure.net", akv.Options{}, use},
		{"https://Contoso.PrivateLink.VaultCore.Azure.Net/", akv.Options{}, use},
		{"contoso.vaultcore.azure.net:443", akv.Options{}, use},
		{"contoso", akv.Options{VaultSuffix: "vaultcore.azure.net"}, suffix + "vault.azure.net"},
		{"contoso", akv.Options{VaultSuffix: ".privatelink.vaultcore.azure.net"}, suffix + "vault.azure.net"},
		{"Contoso", akv.Options{VaultSuffix: "privatelink.vault.azure.cn"}, suffix + "vault.azure.cn"},
		{"contoso", akv.Options{IDHost: "contoso.privatelink.vaultcore.azure.net"}, ": Options.IDHost is " + use},
		{"contoso.vaultcore.azure.net", akv.Options{VaultSuffix: "vaultcore.azure.net"}, "the vault's address is " + use},
		{"vaultcore.azure.net", akv.Options{}, "the vault's address is the domain of all vaults"},
		{"https://privatelink.vaultcore.azure.net/", akv.Options{}, "the vault's own name is missing"},
		{"vault.azure.net", akv.Options{}, "the vault's own name is missing"},
		{"contoso", akv.Options{IDHost: "vault.azure.net"}, ": Options.IDHost is the domain of all vaults"},
		{"contoso.vaultcore.azure.net", akv.Options{Authority: "https://login.windows.net/t", Resource: "https://vault.azure.net"}, use},
		{"contoso", akv.Options{Authority: "https://login.windows.net/t", Resource: "https://vaultcore.azure.net"}, "Options.Resource is a DNS name behind a private endpoint: use vault.azure.net"},
		{"contoso.vaultcore.azure.cn", akv.Options{}, "use contoso.vault.azure.cn"},
		{"contoso.privatelink.vaultcore.usgovcloudapi.net", akv.Options{}, "use contoso.vault.usgovcloudapi.net"},
		{"contoso.privatelink.managedhsm.azure.net", akv.Options{}, "use contoso.managedhsm.azure.net"},

		{"privatelink.vault.azure.net", akv.Options{}, ""}, // a vault of that name
		{"contoso.vaultcore.azure.net", akv.Options{IDHost: "contoso"}, ""},
		{"contoso", akv.Options{VaultSuffix: "privatelink.vaultcore.azure.net", IDHost: "contoso.vault.azure.net"}, ""},
		{"vault.private.contoso.example", akv.Options{}, ""},
	} {
		_, err := akv.NewClient(c.vault, cred, &c.opts)
		_, sqlErr := akv.NewSQLClient("name", c.vault, strings.Repeat("5eedf00d", 4)+"secret", &c.opts)
		if c.says == "" {
			require.NoError(t, err, c.vault)
			assert.NoError(t, sqlErr, c.vault)
			continue
		}
		assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument, c.vault)
		assert.ErrorContains(t, err, c.says)
		assert.NotContains(t, err.Error(), "trust")
		assert.ErrorContains(t, sqlErr, c.says)
	}
}

// A client that knows by which name the vault goes believes that vault's challenge under
// any host, and no other vault's.
func TestTrustIsInIDHostsDomain(t *testing.T) {
	fake := keyed(t, fakevault.Options{})
	next := fake.Transport()
	const private = "contoso.privatelink.vaultcore.azure.net"
	for _, c := range []struct {
		vault string
		opts  akv.Options
		want  error
	}{
		{private, akv.Options{IDHost: fake.VaultHost()}, nil},
		{"10.0.0.5:8443", akv.Options{IDHost: fake.VaultHost()}, nil},
		{"10.0.0.5", akv.Options{IDHost: fake.VaultHost(), Authority: "https://login.windows.net/" + fake.Tenant()}, nil},
		{"10.0.0.5", akv.Options{IDHost: "contoso.vault.azure.cn"}, ekm.ErrorGetAKVResourceUrlStopPosition},
		{"10.0.0.5", akv.Options{IDHost: "vault.contoso.example"}, ekm.ErrorGetAKVResourceUrlStopPosition},
		{"10.0.0.5", akv.Options{}, ekm.ErrorGetAKVResourceUrlStopPosition},
	} {
		c.opts.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if !toAuthority(r) {
				r = r.Clone(r.Context())
				r.URL.Host, r.Host = fake.VaultHost(), fake.VaultHost()
			}
			return next.RoundTrip(r)
		})
		client, err := akv.NewClient(c.vault, secretOf(t, fake), &c.opts)
		require.NoError(t, err)
		key, err := client.GetKey(t.Context(), "tde", "")
		client.Close()
		if assert.ErrorIs(t, err, c.want, "%s, %s", c.vault, c.opts.IDHost) && err == nil {
			assert.Equal(t, fake.VaultHost(), key.Vault)
		}
	}
}

func TestIDHostMustBeAVault(t *testing.T) {
	cred, err := aad.NewClientSecret("id", "secret")
	require.NoError(t, err)
	_, err = akv.NewClient("contoso", cred, &akv.Options{IDHost: "https://user:hunter2@contoso.vault.azure.net"})
	assert.ErrorIs(t, err, ekm.SCPErrInvalidArgument)
	assert.ErrorContains(t, err, "Options.IDHost")
	assert.NotContains(t, err.Error(), "hunter2")
}

// A reply that holds nothing is no result: an engine would store it.
func TestValuesThatAreNone(t *testing.T) {
	const kid = `"kid":"https://contoso.vault.azure.net/keys/tde/1"`
	key, wrapped := bytes.Repeat([]byte("k"), 32), bytes.Repeat([]byte("w"), 256)
	text := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	good := map[string]string{"wrap": text(wrapped), "unwrap": text(key), "backup": text(wrapped)}
	type codes struct{ wrap, unwrap, backup ekm.Code }
	syntax := codes{ekm.ErrorWrapKeyJsonParser, ekm.ErrorUnwrapKeyJsonParser, ekm.ErrorBackupKeyJsonParser}
	member := codes{ekm.ErrorWrapKeyExtractValue, ekm.ErrorUnwrapKeyExtractValue, ekm.ErrorBackupKeyExtractValue}
	decode := codes{ekm.ErrorWrapKeyBase64DecodeValue, ekm.ErrorUnwrapKeyBase64DecodeValue, ekm.ErrorBackupKeyBase64DecodeValue}
	nothing := codes{3608, 3708, 3506} // the last step of each
	for _, c := range []struct {
		body string // of which VALUE is a good value
		want codes
	}{
		{`{` + kid + `,"value":"VALUE"}`, codes{}},
		{`{` + kid + `,"value":"="}`, nothing},
		{`{` + kid + `,"value":"=="}`, nothing},
		{`{` + kid + `,"value":"===="}`, nothing},
		{`{` + kid + `,"value":"A"}`, decode},
		{`{` + kid + `,"value":"A==="}`, decode},
		{`{` + kid + `,"value":" "}`, decode},
		{`{` + kid + `,"value":"\n"}`, decode},
		{`{` + kid + `,"value":"\u0000"}`, decode},
		{`{` + kid + `,"value":"VALUE\n"}`, decode},
		{`{` + kid + `,"value":"VALUE VALUE"}`, decode},
		{`{` + kid + `,"value":""}`, member},
		{`{` + kid + `,"value":["VALUE"]}`, member},
		{`{` + kid + `,"value":true}`, member},
		{`{` + kid + `,"value":"VALUE"} trailing`, syntax},
		{`{` + kid + `,"value":"VALUE"}{}`, syntax},
		{`[{` + kid + `,"value":"VALUE"}]`, syntax},
	} {
		for op, do := range map[string]func(*akv.Client) ([]byte, error){
			"wrap": func(client *akv.Client) ([]byte, error) {
				r, err := client.WrapKey(context.Background(), "tde", "", akv.RSAOAEP256, key)
				return r.Value, err
			},
			"unwrap": func(client *akv.Client) ([]byte, error) {
				r, err := client.UnwrapKey(context.Background(), "tde", "", akv.RSAOAEP256, wrapped)
				return r.Value, err
			},
			"backup": func(client *akv.Client) ([]byte, error) { return client.BackupKey(context.Background(), "tde") },
		} {
			client := scriptedClient(t, akv.Options{}, func(r *http.Request) *http.Response {
				return reply(r, 200, strings.ReplaceAll(c.body, "VALUE", good[op]))
			})
			value, err := do(client)
			want := map[string]ekm.Code{"wrap": c.want.wrap, "unwrap": c.want.unwrap, "backup": c.want.backup}[op]
			if want == 0 {
				assert.NoError(t, err, "%s %s", op, c.body)
				assert.Equal(t, good[op], text(value), "%s %s", op, c.body)
				continue
			}
			assert.ErrorIs(t, err, want, "%s %s", op, c.body)
			assert.Empty(t, value, "%s %s", op, c.body)
		}
	}
}
