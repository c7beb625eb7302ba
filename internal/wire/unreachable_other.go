//go:build !windows

package wire

import "syscall"

// noWay are the failures of a machine without a network.
var noWay = [...]error{syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTUNREACH}
