package main

import (
	"net/http"
	"testing"
)

func BenchmarkWarmWrapKey(b *testing.B) {
	for _, c := range append([]contender{baseline()}, signingIn()...) {
		b.Run(c.name, warm(c))
	}
}

func BenchmarkColdWrapKey(b *testing.B) {
	for _, c := range signingIn() {
		b.Run(c.name, cold(c))
	}
}

// What the benchmarks measure must be right, and be the same.
func TestContenders(t *testing.T) {
	cases := []struct {
		contender
		cold int64 // requests of the first call
	}{
		{baseline(), 1},
		{contender{"akv", ours}, 3},
		{contender{"azkeys", func(rt http.RoundTripper) (wrapper, error) { return official(rt, true) }}, 5},
		{contender{"azkeys without instance discovery", func(rt http.RoundTripper) (wrapper, error) { return official(rt, false) }}, 4},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			server := newCanned()
			wrap, err := c.contender.cold(server)
			if err != nil {
				t.Fatal(err)
			}
			for i := range int64(2) {
				got, err := wrap(t.Context(), dek())
				if err == nil {
					err = sameKey(got)
				}
				if err != nil {
					t.Fatal(err)
				}
				if n := server.requests.Load(); n != c.cold+i {
					t.Errorf("after call %d: %d requests, want %d", i+1, n, c.cold+i)
				}
			}
		})
	}
}
