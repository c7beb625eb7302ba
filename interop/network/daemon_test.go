package network

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	user     = "contoso"
	password = "canary7word" // tinyproxy takes letters and digits only
)

// A daemon is a proxy that runs.
type daemon struct {
	address string // "127.0.0.1:port"
	stop    func()
}

// tinyproxy runs one that wants user and password if secured, and lets through to
// port alone.
func tinyproxy(t *testing.T, secured bool, port string) daemon {
	config := "Listen 127.0.0.1\nPort {port}\nAllow 127.0.0.1\nTimeout 60\nLogLevel Critical\nConnectPort " + port + "\n"
	if secured {
		config += "BasicAuth " + user + " " + password + "\n"
	}
	return run(t, config, "tinyproxy", "-d", "-c", "{config}")
}

// squid is like tinyproxy.
func squid(t *testing.T, secured bool, port string) daemon {
	config := `http_port 127.0.0.1:{port}
pid_filename none
cache deny all
access_log none
cache_log /dev/null
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
acl allowed port ` + port + `
http_access deny !allowed
`
	if secured {
		config += `auth_param basic program {folder}/check.sh
acl known proxy_auth REQUIRED
http_access allow known
`
	} else {
		config += "http_access allow all\n"
	}
	return run(t, config+"http_access deny all\n", "squid", "-N", "-f", "{config}")
}

// microsocks speaks SOCKS 5; it lets everything through.
func microsocks(t *testing.T, secured bool, _ string) daemon {
	args := []string{"-i", "127.0.0.1", "-p", "{port}"}
	if secured {
		args = append(args, "-u", user, "-P", password)
	}
	return run(t, "", "microsocks", args...)
}

// check answers squid's questions of who may in: a line "user password" each.
const check = "#!/bin/sh\nwhile read -r line; do [ \"$line\" = '" + user + " " + password + "' ] && echo OK || echo ERR; done\n"

// run starts a program with a free port and a configuration, and waits until it
// takes connections.
func run(t *testing.T, config, program string, args ...string) daemon {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	_, port, _ := net.SplitHostPort(address)

	// Of a kind that a daemon which gives up root's rights can read too.
	folder, err := os.MkdirTemp("", program)
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	require.NoError(t, os.Chmod(folder, 0o755))
	file := filepath.Join(folder, "config")
	fill := strings.NewReplacer("{port}", port, "{folder}", folder, "{config}", file).Replace
	require.NoError(t, os.WriteFile(file, []byte(fill(config)), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "check.sh"), []byte(check), 0o755))
	for i := range args {
		args[i] = fill(args[i])
	}

	var output bytes.Buffer
	command := exec.Command(program, args...)
	command.Stdout, command.Stderr = &output, &output
	require.NoError(t, command.Start(), "%s must be installed", program)
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	stop := func() {
		_ = command.Process.Kill()
		<-ended
	}
	t.Cleanup(stop)
	await(t, address, ended, &output)
	return daemon{address, stop}
}

func await(t *testing.T, address string, ended <-chan struct{}, output fmt.Stringer) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-ended:
			require.FailNow(t, "the proxy ended", "%s", output)
		case <-time.After(20 * time.Millisecond):
		}
	}
	require.FailNow(t, "the proxy does not answer")
}
