//go:debug x509usefallbackroots=1

package aad_test

import (
	"crypto/x509"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/akv-ekm/ekm/internal/nettest"
)

var trusted = sync.OnceValue(nettest.NewAuthority)

// The library's own transport can be told neither what to trust nor how to look up
// names.
func TestMain(m *testing.M) {
	x509.SetFallbackRoots(trusted().Pool)
	net.DefaultResolver = nettest.Unheard()
	os.Exit(nettest.Run(m))
}
