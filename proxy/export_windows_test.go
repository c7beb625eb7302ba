package proxy

import "golang.org/x/sys/windows/registry"

// FromRegistry is a Selector for mode System with other roots than Windows' own.
func FromRegistry(user, machine registry.Key) *Selector {
	return settled(registryPlan(user, machine))
}
