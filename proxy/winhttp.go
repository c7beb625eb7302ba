package proxy

import (
	"encoding/binary"
	"errors"
	"unicode/utf16"
)

// The flags of a connection that are heeded: use the proxy, use the script.
const (
	flagProxy  = 2
	flagScript = 4
)

// parseConnection reads WinHttpSettings and DefaultConnectionSettings, which share
// their layout but for the version: three little-endian numbers (version, counter,
// flags), then proxy, bypass list and script, each with its length before it.
// WinHttpSettings may end before the script. The strings are ASCII. Microsoft does
// not document it.
//
// The version is not looked at: 0x18, 0x28, 0x3C and 0x46 have been seen.
func parseConnection(blob []byte) (connection, error) {
	if len(blob) < 12 {
		return connection{}, errShort
	}
	flags, rest := binary.LittleEndian.Uint32(blob[8:]), blob[12:]
	var c connection
	var err error
	if c.server, rest, err = prefixed(rest); err != nil {
		return connection{}, err
	}
	if c.bypass, rest, err = prefixed(rest); err != nil {
		return connection{}, err
	}
	if flags&flagScript != 0 {
		if c.script, _, err = prefixed(rest); err != nil {
			return connection{}, err
		}
	}
	if flags&flagProxy == 0 {
		c.server, c.bypass = "", ""
	}
	return c, nil
}

var errShort = errors.New("the value is cut short")

func prefixed(b []byte) (s string, rest []byte, err error) {
	if len(b) < 4 {
		return "", nil, errShort
	}
	n, b := binary.LittleEndian.Uint32(b), b[4:]
	if uint64(n) > uint64(len(b)) {
		return "", nil, errShort
	}
	return string(b[:n]), b[n:], nil
}

// decodeText reads a string value: UTF-16, up to the first zero if it has one.
func decodeText(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
