// Package network holds tests alone, of the library's own transport over real
// connections: straight, and through proxies that must be installed, tinyproxy,
// squid and microsocks.
package network
