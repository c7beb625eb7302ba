package aad_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/internal/fakevault"
	"github.com/akv-ekm/ekm/retry"
)

// imdsCounted answers as IMDS, by the time since the start, and counts.
type imdsCounted struct {
	start  time.Time
	count  atomic.Int64
	times  []time.Duration
	answer func(since time.Duration, n int64) (status int, body string)
}

func (i *imdsCounted) RoundTrip(r *http.Request) (*http.Response, error) {
	since := time.Since(i.start)
	i.times = append(i.times, since)
	status, body := i.answer(since, i.count.Add(1))
	return replyWith(r, status, nil, body), nil
}

const goodReply = `{"access_token":"good","expires_in":"3599","token_type":"Bearer"}`

func TestIMDSIsWaitedForWhileItIsUpdated(t *testing.T) {
	for _, status := range []int{404, 410} {
		platformEnvironment(t, nil)
		synctest.Test(t, func(t *testing.T) {
			imds := &imdsCounted{start: time.Now(), answer: func(since time.Duration, _ int64) (int, string) {
				if since < 60*time.Second {
					return status, `{"error":"updating","error_description":"IMDS is being updated"}`
				}
				return 200, goodReply
			}}
			token, err := tokensOf(t, managedIdentity(t, nil), imds).Get(t.Context(), demand())
			require.NoError(t, err)
			assert.Equal(t, "good", token.Reveal())
			assert.Less(t, time.Since(imds.start), 100*time.Second)
			assert.Equal(t, []time.Duration{0, 2e9, 6e9, 14e9, 30e9}, imds.times[:5], "the waits that are documented")
		})
		synctest.Test(t, func(t *testing.T) {
			imds := &imdsCounted{start: time.Now(), answer: func(time.Duration, int64) (int, string) {
				return status, `{"error":"updating","error_description":"IMDS is being updated"}`
			}}
			tokens := tokensOf(t, managedIdentity(t, nil), imds)
			_, err := tokens.Get(t.Context(), demand())
			e, ok := errors.AsType[*ekm.Error](err)
			require.True(t, ok)
			assert.Equal(t, status, e.Status)
			assert.Equal(t, ekm.ManagedIdentity, e.Party)
			assert.Equal(t, "IMDS is being updated", e.Message)
			assert.Equal(t, "updating", e.ServiceCode)
			assert.EqualValues(t, imds.count.Load(), e.Attempts, "all tries, not those of the last round")
			_, platform := tokens.Stats()
			assert.EqualValues(t, imds.count.Load()-1, platform.Retries)
			assert.GreaterOrEqual(t, time.Since(imds.start), 70*time.Second)
			assert.LessOrEqual(t, time.Since(imds.start), 100*time.Second)
		})
	}
	t.Run("not elsewhere", func(t *testing.T) {
		platformEnvironment(t, map[string]string{"IDENTITY_ENDPOINT": "http://localhost:41000/msi/token", "IDENTITY_HEADER": "the-header"})
		imds := &imdsCounted{answer: func(time.Duration, int64) (int, string) { return 404, "" }}
		_, err := tokensOf(t, managedIdentity(t, nil), imds).Get(t.Context(), demand())
		failureOf(t, err, ekm.ErrorHttpResourceNotFound)
		assert.EqualValues(t, 1, imds.count.Load())
	})
}

func TestIMDSRetries(t *testing.T) {
	platformEnvironment(t, nil)
	for _, c := range []struct {
		status int
		code   ekm.Code
		tries  int // 0: for as long as two minutes of waits allow
	}{
		{429, ekm.ErrorHttpResponseCodeThrottled, 0},
		{500, ekm.ErrorHttpResponseCodeServerError, 5},
		{503, ekm.ErrorHttpResponseCodeServerError, 0},
		{400, ekm.ErrorHttpResponseCodeClientError, 1},
		{401, ekm.ErrorHttpResponseCodeUnauthorized, 1},
		{403, ekm.ErrorHttpOperationForbidden, 1},
		{302, ekm.ErrorUnknown, 1},
	} {
		for _, times := range []int{2, -1} {
			t.Run(fmt.Sprintf("%d for %d", c.status, times), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := fakevault.New(fakevault.Options{})
					defer fake.Close()
					fake.Script(fakevault.Fault{Operation: fakevault.OpIMDS, Status: c.status, Times: times})
					begun := time.Now()
					tokens := tokensOf(t, managedIdentity(t, nil), fake.Transport())
					_, err := tokens.Get(t.Context(), demandOf(fake))
					_, platform := tokens.Stats()
					assert.EqualValues(t, fake.Count(fakevault.OpIMDS)-1, platform.Retries)
					if times > 0 && c.tries != 1 {
						require.NoError(t, err)
						assert.Equal(t, times+1, fake.Count(fakevault.OpIMDS))
						return
					}
					e := failureOf(t, err, c.code)
					assert.Equal(t, ekm.ManagedIdentity, e.Party)
					assert.Equal(t, c.status, e.Status)
					assert.Equal(t, fake.Count(fakevault.OpIMDS), e.Attempts)
					if c.tries == 0 {
						assert.Greater(t, time.Since(begun), time.Minute)
						assert.InDelta(t, 9, e.Attempts, 2, "waits that double, with jitter, up to a minute")
						return
					}
					assert.Equal(t, c.tries, e.Attempts)
				})
			})
		}
	}
}

// A goroutine that is left behind would end the bubble with a failure.
func TestManagedIdentityCallerLeavesDuringWait(t *testing.T) {
	platformEnvironment(t, nil)
	for _, status := range []int{410, 429} {
		for name, c := range map[string]struct {
			limit func(context.Context) (context.Context, context.CancelFunc)
			after time.Duration
			cause error // nil: the service's own error
		}{
			"canceled": {func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(1500*time.Millisecond, cancel)
				return ctx, cancel
			}, 1500 * time.Millisecond, context.Canceled},
			"a deadline that the wait would outlast": {func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 1500*time.Millisecond)
			}, 0, nil},
		} {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					imds := &imdsCounted{start: time.Now(), answer: func(time.Duration, int64) (int, string) { return status, "" }}
					tokens := aad.NewTokens(managedIdentity(t, nil), &aad.Options{Transport: imds, Retry: retry.Policy{Base: 10 * time.Second}})
					defer tokens.Close()
					ctx, cancel := c.limit(t.Context())
					defer cancel()
					_, err := tokens.Get(ctx, demand())
					require.Error(t, err)
					assert.Equal(t, c.after, time.Since(imds.start))
					if c.cause != nil {
						assert.ErrorIs(t, err, c.cause)
					}
					e, ok := errors.AsType[*ekm.Error](err)
					require.True(t, ok)
					assert.Equal(t, status, e.Status, "what the service last said is told, too")
					synctest.Wait()
					time.Sleep(5 * time.Minute)
					assert.EqualValues(t, 1, imds.count.Load(), "nobody waits, nobody asks")

					imds.answer = func(time.Duration, int64) (int, string) { return 200, goodReply }
					_, err = tokens.Get(t.Context(), demand())
					assert.NoError(t, err, "one caller's end is nobody else's failure")
				})
			})
		}
	}
}

// Two callers wait for the same exchange; the one with a deadline leaves at it.
func TestManagedIdentityCallersWithTheirOwnDeadlines(t *testing.T) {
	platformEnvironment(t, nil)
	synctest.Test(t, func(t *testing.T) {
		imds := &imdsCounted{start: time.Now(), answer: func(since time.Duration, _ int64) (int, string) {
			if since < 20*time.Second {
				return 410, ""
			}
			return 200, goodReply
		}}
		tokens := tokensOf(t, managedIdentity(t, nil), imds)
		var group sync.WaitGroup
		group.Go(func() {
			_, err := tokens.Get(t.Context(), demand())
			assert.NoError(t, err)
			assert.Equal(t, 30*time.Second, time.Since(imds.start))
		})
		synctest.Wait() // the patient one has begun
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := tokens.Get(ctx, demand())
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, 5*time.Second, time.Since(imds.start))
		})
		group.Wait()
	})
}

func TestReplayIMDS(t *testing.T) {
	platformEnvironment(t, nil)
	t.Run("golden", func(t *testing.T) { replayIMDS(t, goldenIMDS) })
	dir := os.Getenv("EKM_RECORDINGS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "recordings")
	}
	f, err := os.Open(filepath.Join(dir, "azidentity-v1.0.0.jsonl"))
	if err != nil {
		t.Log("the recordings are not here (EKM_RECORDINGS names another folder): the golden row has run, what a real IMDS answered is NOT covered")
		return
	}
	defer f.Close()
	count := 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"uri":"http://169.254.169.254/`) {
			count++
			t.Run(fmt.Sprint("recorded ", count), func(t *testing.T) { replayIMDS(t, lines.Text()) })
		}
	}
	require.NoError(t, lines.Err())
	assert.Equal(t, 3, count)
}

func replayIMDS(t *testing.T, line string) {
	var r recordedIMDS
	require.NoError(t, json.Unmarshal([]byte(line), &r))
	require.NoError(t, json.Unmarshal(r.Response, &r.body))
	recorded, err := url.Parse(r.URI)
	require.NoError(t, err)
	want := recorded.Query()
	opts := &aad.ManagedIdentityOptions{ClientID: want.Get("client_id"), ObjectID: want.Get("object_id"), ResourceID: want.Get("mi_res_id")}
	if want.Has("mi_res_id") { // the recorded client's name of it; the documentation's is ours
		want["msi_res_id"] = want["mi_res_id"]
		want.Del("mi_res_id")
	}
	synctest.Test(t, func(t *testing.T) {
		tap := &wiretap{next: roundTrip(func(q *http.Request) (*http.Response, error) {
			header := make(http.Header)
			for name, value := range r.Header {
				if text, ok := value.(string); ok && name != "Content-Length" { // tokens were shortened since
					header.Set(name, text)
				}
			}
			return replyWith(q, r.Status, header, string(r.Response)), nil
		})}
		c := demand()
		c.Resource = want.Get("resource")
		token, err := tokensOf(t, managedIdentity(t, opts), tap).Get(t.Context(), c)
		require.NoError(t, err)
		assert.Equal(t, r.body["access_token"], token.Reveal())
		assert.Equal(t, r.body["expires_in"], fmt.Sprint(time.Until(token.Expires).Seconds()))
		seen := tap.requests()
		require.Len(t, seen, 1)
		assert.Equal(t, want, seen[0].URL.Query())
		assert.Equal(t, r.Method, seen[0].Method)
		assert.Equal(t, recorded.Host+recorded.Path, seen[0].URL.Host+seen[0].URL.Path)
		assert.Equal(t, r.Request["metadata"], seen[0].Header.Get("Metadata"))
	})
}
