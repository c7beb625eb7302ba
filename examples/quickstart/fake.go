package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// useFake starts the bundled vault and Entra ID on a loopback port and points s
// at them. The transport it gives dials that port for every host name, so that
// names and certificates are checked as they would be on the network.
func (s *setting) useFake(out io.Writer) (stop func(), err error) {
	fake := fakevault.New(fakevault.Options{})
	listener, err := fake.Listen()
	if err != nil {
		return nil, err
	}
	fake.CreateKey(s.key, 2048)
	s.vault, s.client, s.secret = fake.VaultURL(), fake.ClientID(), fake.ClientSecret()
	s.opts = &akv.Options{Transport: listener.Transport()}
	s.deny = func(denied bool) {
		if denied {
			fake.Deny(fakevault.OpWrap)
		} else {
			fake.Allow(fakevault.OpWrap)
		}
	}
	fmt.Fprintf(out, "A fake vault listens on %s, with TLS; it plays %s and %s.\n", listener.Addr, fake.VaultHost(), fake.AuthorityHost())
	return func() { _ = listener.Close() }, nil
}

// watch makes the client's requests visible by a round tripper around its own,
// which is how tracing and metrics are added too.
func watch(out io.Writer, opts *akv.Options) *akv.Options {
	if opts == nil || opts.Transport == nil {
		return opts // a real vault: leave the library its own transport
	}
	watched := *opts
	watched.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := opts.Transport.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "    %-4s %s%s: %d\n", r.Method, r.URL.Host, r.URL.Path, resp.StatusCode)
		if c, err := challenge.Parse(resp.Header); err == nil {
			fmt.Fprintf(out, "         challenge found: log in at %s for %s\n", c.Authority, c.Resource)
		}
		return resp, nil
	})
	return &watched
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
