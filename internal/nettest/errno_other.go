//go:build !windows

package nettest

import "syscall"

// What the system says of a connection.
const (
	ConnRefused     = syscall.ECONNREFUSED
	ConnReset       = syscall.ECONNRESET
	NetDown         = syscall.ENETDOWN
	NetUnreachable  = syscall.ENETUNREACH
	HostUnreachable = syscall.EHOSTUNREACH
)
