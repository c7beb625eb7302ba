package matrix_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
)

// size reads "24 MiB", "65,536" and "24<<20".
func size(t *testing.T, text string) int {
	t.Helper()
	shift := 0
	for unit, bits := range map[string]int{" KiB": 10, " MiB": 20} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			text, shift = number, bits
		}
	}
	if number, bits, ok := strings.Cut(text, "<<"); ok {
		n, err := strconv.Atoi(bits)
		require.NoError(t, err)
		text, shift = number, n
	}
	n, err := strconv.Atoi(strings.NewReplacer(",", "", "_", "").Replace(text))
	require.NoError(t, err, text)
	return n << shift
}

const aNumber = `([\d,]+(?: [KM]iB)?)`

// What the texts, the comments and the packages say of a default limit is what the
// code has.
func TestDefaultLimitsAreThoseTold(t *testing.T) {
	source := func(path string) string {
		text, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(t, err)
		return string(text)
	}
	coded := make(map[string]int)
	for _, path := range []string{"akv/limits.go", "internal/wire/wire.go"} {
		for _, m := range regexp.MustCompile(`def\(&l\.(\w+), ([\d_<]+)\)`).FindAllStringSubmatch(source(path), -1) {
			coded[m[1]] = size(t, m[2])
		}
	}
	require.Len(t, coded, 15)
	told := 0
	check := func(where, field, number string) {
		told++
		require.Contains(t, coded, field, where)
		assert.Equal(t, coded[field], size(t, number), "%s: %s", where, field)
	}

	inText := regexp.MustCompile(`Limits\.(\w+)(?: allows)? \(` + aNumber + `\)`)
	for _, c := range ekm.Codes() {
		for _, m := range inText.FindAllStringSubmatch(c.Explain(), -1) {
			check(c.String(), m[1], m[2])
		}
	}
	assert.Greater(t, told, 20)
	for path, want := range map[string]int{"akv/limits.go": 15, "internal/wire/wire.go": 5} {
		told = 0
		for _, m := range regexp.MustCompile(`(?m)^\t(\w+) +int(?:64)? +// .*: `+aNumber+`(?: \(|$)`).FindAllStringSubmatch(source(path), -1) {
			check(path, m[1], m[2])
		}
		assert.Equal(t, want, told, path)
	}

	// Package aad's own are called like akv's in all texts.
	names := map[string]string{"MaxURL": "URL", "MaxRequest": "Request", "MaxReply": "Token"}
	told = 0
	for _, m := range regexp.MustCompile(`orDefault\(o\.(\w+), ([\d_<]+)\)`).FindAllStringSubmatch(source("aad/exchange.go"), -1) {
		check("aad/exchange.go", names[m[1]], m[2])
	}
	for _, m := range regexp.MustCompile(`(?m)^\t(Max\w+) +int // .*: `+aNumber+` \(`).FindAllStringSubmatch(source("aad/tokens.go"), -1) {
		check("aad/tokens.go", names[m[1]], m[2])
	}
	assert.Equal(t, 6, told)
	inList := regexp.MustCompile(`(InFlight|HeaderValue|Header|Body|Held)\b[^;.]*?` + aNumber + "\n?" + `[ /]*\(31`)
	told = 0
	_, wires, _ := strings.Cut(source("aad/tokens.go"), "// WireLimits bounds")
	wires, _, _ = strings.Cut(wires, "type WireLimits")
	for _, m := range inList.FindAllStringSubmatch(strings.ReplaceAll(wires, "\n// ", " "), -1) {
		check("aad.WireLimits", m[1], m[2])
	}
	assert.Equal(t, 5, told)
}
