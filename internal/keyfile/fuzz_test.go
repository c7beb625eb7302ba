package keyfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/keyfile"
	"github.com/stretchr/testify/require"
)

// fuzzRounds keeps the fuzzer out of files that derive for long; the limit on
// them has tests of its own.
const fuzzRounds = 40_000

func FuzzPFX(f *testing.F) {
	seeds(f, pfxCases)
	key := pemBytes(f, "key.pem")
	alg, data := aes256(f, pw, 5, seq(certBag(testCert(f, "leaf.pem").Raw)))
	small := buildPFX(pbmac1(f, pw, 5, 32), encryptedItem(alg, data), plainItem(seq(shroudedBag(f, pw, 5, key))))
	f.Add(small, pw, "")
	f.Add(toBER(f, load(f, "nomac.pfx"), true), pw, "")
	f.Fuzz(func(t *testing.T, data []byte, password, option string) {
		if keyfile.PFXRounds(data) > fuzzRounds {
			return
		}
		fuzzOne(t, keyfile.PFX, data, password, option, 3809, 3813)
	})
}

func FuzzPEM(f *testing.F) {
	seeds(f, pemCases)
	f.Fuzz(func(t *testing.T, data []byte, password, option string) {
		if keyfile.PEMRounds(data) > fuzzRounds {
			return
		}
		fuzzOne(t, keyfile.PEM, data, password, option, 3815, 3818)
	})
}

func FuzzLegacy(f *testing.F) {
	seeds(f, legacyCases)
	f.Fuzz(func(t *testing.T, data []byte, password, option string) {
		if keyfile.KeyRounds(data) > fuzzRounds {
			return
		}
		fuzzOne(t, keyfile.Legacy, data, password, option, 3820, 3821)
	})
}

// seeds are the files of a table that are not slow, and the other readers' too.
func seeds(f *testing.F, cases []fileCase) {
	prints := thumbprints(f)
	for _, c := range cases {
		f.Add(load(f, c.file), c.password, prints[c.option])
	}
	files, err := os.ReadDir("testdata")
	require.NoError(f, err)
	for _, e := range files {
		if ext := filepath.Ext(e.Name()); ext != ".md" && ext != ".sh" && !e.IsDir() {
			f.Add(load(f, e.Name()), "", "")
		}
	}
}

// fuzzOne: no panic; on success an identity that agrees with itself; on failure
// the right family of codes.
func fuzzOne(t *testing.T, read reader, data []byte, password, option string, low, high ekm.Code) {
	t.Helper()
	id, err := read(data, password, option)
	if err == nil {
		requireConsistent(t, id)
		return
	}
	if errors.Is(err, keyfile.ErrThumbprint) {
		return
	}
	e, ok := errors.AsType[*ekm.Error](err)
	require.True(t, ok, "%v", err)
	require.True(t, low <= e.Code && e.Code <= high, "%v", err)
	require.Less(t, len(err.Error()), 1000)
}
