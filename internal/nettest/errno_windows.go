package nettest

import "syscall"

// What the system says of a connection, by Microsoft's page "Windows Sockets Error
// Codes". Package syscall's ECONNREFUSED and the like are names of its own making
// here, which no socket ever returns.
const (
	ConnRefused     = syscall.Errno(10061)
	ConnReset       = syscall.WSAECONNRESET
	NetDown         = syscall.Errno(10050)
	NetUnreachable  = syscall.Errno(10051)
	HostUnreachable = syscall.Errno(10065)
)
