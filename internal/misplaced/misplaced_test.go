package misplaced_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv-ekm/ekm/internal/misplaced"
)

func TestSecret(t *testing.T) {
	const digits, guid = "5eedf00dc11e4d008a11fa4e00000002", "5eedf00d-c11e-4d00-8a11-fa4e00000002"
	for s, want := range map[string]bool{
		"":                           false,
		"tde":                        false,
		digits:                       false, // a client id, or a version
		guid:                         false,
		digits + "0123456789abcdef":  false, // a digest
		guid + "-2026":               false, // a key's name
		"https://adfs.example/app/1": false, // a client id of AD FS
		digits + "Xyz7Q9":            true,
		guid + "Xyz7Q9":              true,
		"Abc8Q~ClientSecret":         true,
		digits + "Abc8Q~secret":      true,
		guid + "-Abc8Q~secret":       true,
	} {
		assert.Equal(t, want, misplaced.Secret(s), s)
	}
}
