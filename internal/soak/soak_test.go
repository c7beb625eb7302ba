package main

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The same in virtual time, without TLS.
func TestSoak(t *testing.T) {
	fake := newVault()
	defer fake.Close()
	synctest.Test(t, func(t *testing.T) {
		near := roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(10 * time.Millisecond)
			return fake.Transport().RoundTrip(r)
		})
		r, err := soak(t.Context(), fake, near, time.Minute)
		require.NoError(t, err)
		t.Log(r)
		assert.NoError(t, r.fault())
		assert.Greater(t, r.faults, uint64(30))
		assert.Greater(t, r.calm, uint64(60*limit*8/10))
	})
}
