package aad_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm/aad"
)

// While IMDS is being updated each try is told of, and at the end how many there were.
func TestLogOfIMDSBeingUpdated(t *testing.T) {
	platformEnvironment(t, nil)
	synctest.Test(t, func(t *testing.T) {
		imds := &imdsCounted{start: time.Now(), answer: func(since time.Duration, _ int64) (int, string) {
			if since < 5*time.Second {
				return 404, `{"error":"updating"}`
			}
			return 200, goodReply
		}}
		var log bytes.Buffer
		asked := 0
		tokens := aad.NewTokens(managedIdentity(t, nil), &aad.Options{
			Transport: imds, SuccessLevel: slog.LevelWarn,
			Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Wrap: func(next http.RoundTripper) http.RoundTripper {
				return roundTrip(func(r *http.Request) (*http.Response, error) {
					asked++
					return next.RoundTrip(r)
				})
			},
		})
		defer tokens.Close()
		_, err := tokens.Get(t.Context(), demand())
		require.NoError(t, err)
		assert.Equal(t, 3, asked, "through the wrapper")

		lines := []json.RawMessage{}
		for line := range strings.Lines(log.String()) {
			_, line, _ = strings.Cut(line, `,"level"`) // the time
			lines = append(lines, json.RawMessage(`{"level"`+line))
		}
		all, err := json.Marshal(lines)
		require.NoError(t, err)
		const tried = `{"level":"DEBUG","msg":"operation tried again","operation":"acquireToken","code":3112,"symbol":"ErrorHttpResourceNotFound",
			"party":"managed identity","host":"169.254.169.254","status":404,"service":"updating",`
		assert.JSONEq(t, `[`+tried+`"try":1,"wait":2},`+tried+`"try":2,"wait":4},
			{"level":"WARN","msg":"operation succeeded","operation":"acquireToken","code":3000,"symbol":"ErrorSuccess","credential":"managed identity",
			"party":"managed identity","host":"169.254.169.254","status":200,"attempts":3,"duration":6}]`, string(all))
	})
}
