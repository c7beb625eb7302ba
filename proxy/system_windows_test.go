package proxy_test

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows/registry"

	"github.com/akv-ekm/ekm/proxy"
)

const (
	internet    = `Software\Microsoft\Windows\CurrentVersion\Internet Settings`
	connections = internet + `\Connections`
	policy      = `Software\Policies\Microsoft\Windows\CurrentVersion\Internet Settings`
)

// scratch makes two empty keys, to stand for HKEY_CURRENT_USER and
// HKEY_LOCAL_MACHINE, and deletes them at the end.
func scratch(t *testing.T) (user, machine registry.Key) {
	t.Helper()
	top := fmt.Sprintf(`Software\ekm-proxy-test-%d`, os.Getpid())
	t.Cleanup(func() { deleteTree(t, registry.CURRENT_USER, top) })
	return create(t, registry.CURRENT_USER, top+`\user`), create(t, registry.CURRENT_USER, top+`\machine`)
}

func create(t *testing.T, root registry.Key, path string) registry.Key {
	t.Helper()
	k, _, err := registry.CreateKey(root, path, registry.ALL_ACCESS|registry.WOW64_64KEY)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, k.Close()) })
	return k
}

func deleteTree(t *testing.T, root registry.Key, path string) {
	k, err := registry.OpenKey(root, path, registry.READ)
	require.NoError(t, err)
	names, err := k.ReadSubKeyNames(-1)
	require.NoError(t, err)
	require.NoError(t, k.Close())
	for _, name := range names {
		deleteTree(t, root, path+`\`+name)
	}
	require.NoError(t, registry.DeleteKey(root, path))
}

// values are written by their type: int is DWORD, string is SZ, []byte is BINARY.
type values map[string]any

func write(t *testing.T, root registry.Key, path string, v values) {
	t.Helper()
	if v == nil {
		return
	}
	k := create(t, root, path)
	for name, value := range v {
		var err error
		switch value := value.(type) {
		case int:
			err = k.SetDWordValue(name, uint32(value))
		case string:
			err = k.SetStringValue(name, value)
		case []byte:
			err = k.SetBinaryValue(name, value)
		}
		require.NoError(t, err)
	}
}

func TestRegistry(t *testing.T) {
	winhttp := values{"WinHttpSettings": connection(0x28, 3, "q:2", "<local>")}
	const account, machine = "system (account's Internet settings)", "system (machine's Internet settings)"
	for _, c := range []struct {
		name                                   string
		user, userConnections                  values
		machine, machineConnections, policySet values
		want                                   string
	}{
		{name: "no key at all", want: "system: direct"},
		{name: "keys without values", user: values{}, userConnections: values{}, machine: values{}, machineConnections: values{}, policySet: values{}, want: "system: direct"},
		{name: "account", user: values{"ProxyEnable": 1, "ProxyServer": "http=a:1;https=b:2", "ProxyOverride": "*.x;<local>"}, machineConnections: winhttp, want: account + `: https through http://b:2, http through http://a:1, except "*.x;<local>"`},
		{name: "no exceptions", user: values{"ProxyEnable": 1, "ProxyServer": "p:1"}, want: account + ": through http://p:1"},
		{name: "switched off", user: values{"ProxyEnable": 0, "ProxyServer": "p:1"}, want: "system: direct"},
		{name: "switched off, so WinHTTP", user: values{"ProxyEnable": 0, "ProxyServer": "p:1"}, machineConnections: winhttp, want: `system (WinHTTP settings): through http://q:2, except "<local>"`},
		{name: "not switched", user: values{"ProxyServer": "p:1"}, want: "system: direct"},
		{name: "enabled and empty", user: values{"ProxyEnable": 1, "ProxyServer": ""}, machineConnections: winhttp, want: `system (WinHTTP settings): through http://q:2, except "<local>"`},
		{name: "WinHTTP", machineConnections: winhttp, want: `system (WinHTTP settings): through http://q:2, except "<local>"`},
		{name: "WinHTTP direct", machineConnections: values{"WinHttpSettings": connection(0x28, 1, "", "")}, want: "system: direct"},
		{name: "WinHTTP empty", machineConnections: values{"WinHttpSettings": []byte{}}, want: "system: direct"},
		{name: "only the binary value", userConnections: values{"DefaultConnectionSettings": connection(0x46, 3, "p:1", "", "")}, machineConnections: winhttp, want: account + ": through http://p:1"},
		{name: "the named values before the binary one", user: values{"ProxyEnable": 0}, userConnections: values{"DefaultConnectionSettings": connection(0x46, 3, "p:1", "", "")}, want: "system: direct"},
		{name: "detection, Windows' default", userConnections: values{"DefaultConnectionSettings": connection(0x46, 9, "", "", "")}, machineConnections: winhttp, want: `system (WinHTTP settings): through http://q:2, except "<local>"`},
		{name: "detection only", user: values{"ProxyEnable": 0}, userConnections: values{"DefaultConnectionSettings": connection(0x46, 9, "", "", "")}, want: "system: direct"},
		{name: "script and proxy", user: values{"ProxyEnable": 1, "ProxyServer": "p:1", "AutoConfigURL": "http://x"}, want: account + ": through http://p:1; the automatic configuration script (PAC) of the account's Internet settings is not evaluated"},
		{name: "not the machine's without the policy", machine: values{"ProxyEnable": 1, "ProxyServer": "m:3"}, want: "system: direct"},
		{name: "policy", user: values{"ProxyEnable": 1, "ProxyServer": "p:1"}, machine: values{"ProxyEnable": 1, "ProxyServer": "m:3"}, policySet: values{"ProxySettingsPerUser": 0}, want: machine + ": through http://m:3"},
		{name: "policy, nothing set", user: values{"ProxyEnable": 1, "ProxyServer": "p:1"}, policySet: values{"ProxySettingsPerUser": 0}, machineConnections: winhttp, want: `system (WinHTTP settings): through http://q:2, except "<local>"`},
		{name: "policy off", user: values{"ProxyEnable": 1, "ProxyServer": "p:1"}, policySet: values{"ProxySettingsPerUser": 1}, want: account + ": through http://p:1"},
		{name: "non-ASCII list", user: values{"ProxyEnable": 1, "ProxyServer": "p:1", "ProxyOverride": "*.bücher.example"}, want: account + `: through http://p:1, except "*.bücher.example"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			user, machine := scratch(t)
			write(t, user, internet, c.user)
			write(t, user, connections, c.userConnections)
			write(t, machine, internet, c.machine)
			write(t, machine, connections, c.machineConnections)
			write(t, machine, policy, c.policySet)
			assert.Equal(t, c.want, proxy.FromRegistry(user, machine).String())
		})
	}
}

func TestRegistryRefused(t *testing.T) {
	on := func(name string, value any) values {
		return values{"ProxyEnable": 1, "ProxyServer": "p:1", name: value}
	}
	for _, c := range []struct {
		name                        string
		user, connections, machines values
		want                        string
	}{
		{"script only", values{"AutoConfigURL": "http://geheim/proxy.pac"}, nil, nil, "system (account's Internet settings): an automatic configuration script (PAC) is set"},
		{"script, and a proxy switched off", values{"ProxyEnable": 0, "ProxyServer": "p:1", "AutoConfigURL": "http://geheim"}, nil, nil, "(PAC) is set"},
		{"script, and a proxy never switched on", values{"ProxyServer": "p:1", "AutoConfigURL": "http://geheim"}, nil, nil, "(PAC) is set"},
		{"script only, in the binary value", nil, values{"DefaultConnectionSettings": connection(0x46, 13, "", "", "http://geheim")}, nil, "(PAC) is set"},
		{"proxy", on("ProxyServer", "u:geheim"), nil, nil, "system (account's Internet settings): the proxy address"},
		{"too long", on("ProxyOverride", strings.Repeat("x", 40_000)), nil, nil, "system: ProxyOverride in the registry: it has more than 65536 bytes"},
		{"too long, binary", nil, nil, values{"WinHttpSettings": make([]byte, 65537)}, "system: WinHttpSettings in the registry: it has more than"},
		{"number for a text", on("ProxyServer", 1), nil, nil, "ProxyServer in the registry: "},
		{"text for a number", on("ProxyEnable", "1"), nil, nil, "ProxyEnable in the registry: "},
		{"text for a binary", nil, nil, values{"WinHttpSettings": "q:2"}, "WinHttpSettings in the registry: "},
		{"cut short", nil, values{"DefaultConnectionSettings": []byte("F")}, nil, "system: DefaultConnectionSettings in the registry: the value is cut short"},
		{"length out of reach", nil, nil, values{"WinHttpSettings": append(connection(0x28, 3), 0xFF, 0xFF, 0xFF, 0xFF)}, "WinHttpSettings in the registry: the value is cut short"},
		{"the first of two", on("ProxyServer", 1), nil, values{"WinHttpSettings": []byte("F")}, "ProxyServer in the registry: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			user, machine := scratch(t)
			write(t, user, internet, c.user)
			write(t, user, connections, c.connections)
			write(t, machine, connections, c.machines)
			assert.Contains(t, refused(t, proxy.FromRegistry(user, machine), "https://h.example"), c.want)
		})
	}
}

// As large as is allowed, to the byte.
func TestRegistryLimit(t *testing.T) {
	user, machine := scratch(t)
	write(t, user, internet, values{"ProxyEnable": 1, "ProxyServer": "p:1", "ProxyOverride": strings.Repeat("x", 32_767)})
	assert.Equal(t, "http://p:1", ask(t, proxy.FromRegistry(user, machine), "https://h.example"))
}

// Only the mode System looks at the real keys. What they say is this machine's.
func TestRealRegistry(t *testing.T) {
	environment(t, map[string]string{"HTTPS_PROXY": "http://unused"})
	s := proxy.New(proxy.Settings{Mode: proxy.System})
	assert.Equal(t, proxy.FromRegistry(registry.CURRENT_USER, registry.LOCAL_MACHINE).String(), s.String())
	assert.NotContains(t, s.String(), "unused")
	if _, err := s.Proxy(&url.URL{Scheme: "https", Host: "h.example"}); err != nil {
		refused(t, s, "https://h.example")
	}
	t.Log(s)
}
