package aad_test

import (
	"os"
	"testing"

	"github.com/akv-ekm/ekm/internal/nettest"
)

func TestMain(m *testing.M) { os.Exit(nettest.Run(m)) }
