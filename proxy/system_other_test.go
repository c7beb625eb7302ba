//go:build !windows

package proxy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv-ekm/ekm/proxy"
)

func TestSystemIsEnvironment(t *testing.T) {
	environment(t, map[string]string{"HTTPS_PROXY": "http://p:1", "NO_PROXY": "h.example"})
	s := proxy.New(proxy.Settings{Mode: proxy.System, URL: "http://unused", NoProxy: "unused"})
	assert.Equal(t, `system (environment): https through http://p:1, http direct, except "h.example"`, s.String())
	assert.Equal(t, "http://p:1", ask(t, s, "https://other.example"))
	assert.Empty(t, ask(t, s, "https://h.example"))

	environment(t, map[string]string{"HTTPS_PROXY": "ftp://u:geheim@p"})
	assert.Contains(t, refused(t, proxy.New(proxy.Settings{Mode: proxy.System}), "https://h.example"), "system (environment): ")
}
