package main

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRunAgainstTheFake(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, setting{key: "quickstart", rotate: true}))
	for _, line := range []string{
		"challenge found", "key fetched", "data key wrapped", "unwrapped  ", "key backed up", "key rotated", "unwrapped again",
		"3303 ErrorGetTokenBadCredentials", "3112 ErrorHttpResourceNotFound", "3113 ErrorHttpOperationForbidden", "to do",
	} {
		assert.Contains(t, out.String(), line)
	}
}

func TestRunSaysWhatDoesNotHold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, run(ctx, io.Discard, setting{key: "quickstart"}), context.Canceled)
	assert.Error(t, run(t.Context(), io.Discard, setting{vault: "contoso"}), "a real vault needs a client id and a secret")
}
