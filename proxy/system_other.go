//go:build !windows

package proxy

import "golang.org/x/net/http/httpproxy"

// systemPlan is the environment's: no other setting reaches a service here.
func systemPlan() (*plan, error) {
	return configPlan("system (environment)", httpproxy.FromEnvironment())
}
