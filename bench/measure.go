package main

import (
	"context"
	"testing"
)

// dek is what is wrapped: a key of 256 bits.
func dek() []byte { return []byte("0123456789abcdef0123456789abcdef") }

// warm measures a call of a client that has signed in.
func warm(c contender) func(*testing.B) {
	return func(b *testing.B) {
		wrap, err := c.cold(newCanned())
		if err != nil {
			b.Fatal(err)
		}
		ctx, key := context.Background(), dek()
		got, err := wrap(ctx, key)
		if err == nil {
			err = sameKey(got)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := wrap(ctx, key); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// cold measures the making of a client and its first call.
func cold(c contender) func(*testing.B) {
	return func(b *testing.B) {
		ctx, key, server := context.Background(), dek(), newCanned()
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			n++
			wrap, err := c.cold(server)
			if err == nil {
				_, err = wrap(ctx, key)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(server.requests.Load())/float64(n), "requests/op")
	}
}
