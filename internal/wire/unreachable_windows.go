package wire

import "syscall"

// noWay are the failures of a machine without a network: WSAENETDOWN,
// WSAENETUNREACH and WSAEHOSTUNREACH of Microsoft's page "Windows Sockets Error
// Codes". Package syscall's names are of its own making on Windows.
var noWay = [...]error{syscall.Errno(10050), syscall.Errno(10051), syscall.Errno(10065)}
