// Package proxies holds tests alone, of the library's own transport through real
// proxies: tinyproxy, squid and microsocks, which must be installed.
package proxies
