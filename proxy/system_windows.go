package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/windows/registry"
)

// The keys under HKEY_CURRENT_USER and HKEY_LOCAL_MACHINE.
const (
	settingsKey    = `Software\Microsoft\Windows\CurrentVersion\Internet Settings`
	connectionsKey = settingsKey + `\Connections`
	policyKey      = `Software\Policies\Microsoft\Windows\CurrentVersion\Internet Settings`
)

// maxValue bounds each value that is read from the registry. No list of exceptions
// that people keep comes near it, and each request looks through the list.
const maxValue = 64 << 10

func systemPlan() (*plan, error) {
	return registryPlan(registry.CURRENT_USER, registry.LOCAL_MACHINE)
}

// registryPlan reads the settings under two roots: those of the account that the
// process runs as, or the machine's if the policy says that accounts have none of
// their own; then the machine's for WinHTTP.
func registryPlan(user, machine registry.Key) (*plan, error) {
	var r reader
	account, place := user, "account's Internet settings"
	if perUser, ok := r.number(machine, policyKey, "ProxySettingsPerUser"); ok && perUser == 0 {
		account, place = machine, "machine's Internet settings"
	}
	places := []connection{
		r.internet(place, account),
		r.connection("WinHTTP settings", machine, "WinHttpSettings"),
	}
	if r.err != nil {
		return nil, fmt.Errorf("system: %w", r.err)
	}
	return windowsPlan(places)
}

// A reader reads values and keeps the first failure. A value that does not exist
// is none.
type reader struct{ err error }

// internet prefers the values with names, which tools and policies write, to the
// binary one, in which Windows keeps the same for its own use: that is all there
// is where only a program has set them (bitsadmin /util /setieproxy).
func (r *reader) internet(place string, root registry.Key) connection {
	enabled, ok := r.number(root, settingsKey, "ProxyEnable")
	c := connection{place: place, script: r.text(root, settingsKey, "AutoConfigURL")}
	if !ok && c.script == "" {
		return r.connection(place, root, "DefaultConnectionSettings")
	}
	if enabled != 0 {
		c.server = r.text(root, settingsKey, "ProxyServer")
		c.bypass = r.text(root, settingsKey, "ProxyOverride")
	}
	return c
}

func (r *reader) connection(place string, root registry.Key, name string) connection {
	var c connection
	if blob := r.value(root, connectionsKey, name, registry.BINARY); len(blob) > 0 {
		var err error
		if c, err = parseConnection(blob); err != nil && r.err == nil {
			r.err = fmt.Errorf("%s in the registry: %w", name, err)
		}
	}
	c.place = place
	return c
}

func (r *reader) number(root registry.Key, key, name string) (n uint32, ok bool) {
	b := r.value(root, key, name, registry.DWORD)
	if b == nil {
		return 0, false
	}
	if len(b) != 4 {
		r.err = fmt.Errorf("%s in the registry: %w", name, errShort)
		return 0, false
	}
	return binary.LittleEndian.Uint32(b), true
}

func (r *reader) text(root registry.Key, key, name string) string {
	return decodeText(r.value(root, key, name, registry.SZ, registry.EXPAND_SZ))
}

// value reads the 64-bit view, whatever the program is: that is the one which
// administrators and their tools write.
func (r *reader) value(root registry.Key, key, name string, types ...uint32) []byte {
	if r.err != nil {
		return nil
	}
	k, err := registry.OpenKey(root, key, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err == nil {
		defer k.Close()
		buf := make([]byte, maxValue)
		var n int
		var kind uint32
		if n, kind, err = k.GetValue(name, buf); err == nil {
			if slices.Contains(types, kind) {
				return buf[:n]
			}
			err = registry.ErrUnexpectedType
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, registry.ErrShortBuffer):
		err = fmt.Errorf("it has more than %d bytes", maxValue)
	}
	r.err = fmt.Errorf("%s in the registry: %w", name, err)
	return nil
}
