// Quickstart does the library's main job where you can watch it: challenge,
// token, key, wrap, unwrap, backup, rotation, and three failures on purpose with
// their codes and what to do about them.
//
// Without arguments it starts the bundled fake vault on a loopback port, over
// TLS, and uses that:
//
//	go run ./examples/quickstart
//
// Against a real vault, with a key that it may wrap, unwrap, back up and rotate:
//
//	AZURE_CLIENT_SECRET=... go run ./examples/quickstart -vault contoso -key tde -client 0000...
//
// It exits with status 1 if anything does not hold.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
)

func main() {
	var s setting
	flag.StringVar(&s.vault, "vault", os.Getenv("AZURE_KEYVAULT"), "vault name, host or https URL; empty: the bundled fake")
	flag.StringVar(&s.key, "key", "quickstart", "name of an RSA key in the vault")
	flag.StringVar(&s.client, "client", os.Getenv("AZURE_CLIENT_ID"), "the application's client id")
	flag.BoolVar(&s.rotate, "rotate", true, "rotate the key, which makes a new version of it")
	flag.Parse()
	s.secret = os.Getenv("AZURE_CLIENT_SECRET") // never a flag: other users see those

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout, s); err != nil {
		fmt.Fprintf(os.Stderr, "\nquickstart failed: %+v\n", err)
		if e, ok := errors.AsType[*ekm.Error](err); ok {
			fmt.Fprintf(os.Stderr, "\nWhat to do: %s\n", e.Advice())
		}
		os.Exit(1)
	}
}

// A setting is the vault to use, and who uses it.
type setting struct {
	vault, key, client, secret string
	rotate                     bool
	opts                       *akv.Options
	deny                       func(denied bool) // makes the vault forbid wrapping; only the fake can
}

func run(ctx context.Context, out io.Writer, s setting) error {
	if s.vault == "" {
		stop, err := s.useFake(out)
		if err != nil {
			return err
		}
		defer stop()
	}
	s.opts = watch(out, s.opts)
	cred, err := aad.NewClientSecret(s.client, s.secret)
	if err != nil {
		return err
	}
	client, err := akv.NewClient(s.vault, cred, s.opts)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := mainJob(ctx, out, client, s); err != nil {
		return err
	}
	return failures(ctx, out, client, s)
}

// mainJob takes a data key through the vault and back, across a rotation.
func mainJob(ctx context.Context, out io.Writer, client *akv.Client, s setting) error {
	step := func(format string, args ...any) { fmt.Fprintf(out, "  "+format+"\n", args...) }

	fmt.Fprintf(out, "\nThe main job\n")
	key, err := client.GetKey(ctx, s.key, "")
	if err != nil {
		return err
	}
	step("key fetched       %s, %s with %d bits, version %s", key.Name, key.Type, key.Bits, short(key.Version))

	dataKey := make([]byte, 32)
	_, _ = rand.Read(dataKey) // never fails, see crypto/rand
	wrapped, err := client.WrapKey(ctx, s.key, key.Version, akv.RSAOAEP256, dataKey)
	if err != nil {
		return err
	}
	step("data key wrapped  %d bytes became %d, by version %s", len(dataKey), len(wrapped.Value), short(key.Version))
	if err := unwrapEqual(ctx, client, s.key, key.Version, wrapped.Value, dataKey); err != nil {
		return err
	}
	step("unwrapped         and equal to what was wrapped")

	blob, err := client.BackupKey(ctx, s.key)
	if err != nil {
		return err
	}
	step("key backed up     %d bytes that only the service can read", len(blob))
	if !s.rotate {
		return nil
	}
	rotated, err := client.RotateKey(ctx, s.key)
	if err != nil {
		return err
	}
	if rotated.Version == key.Version {
		return errors.New("rotation made no new version")
	}
	step("key rotated       the newest version is now %s", short(rotated.Version))
	if err := unwrapEqual(ctx, client, s.key, key.Version, wrapped.Value, dataKey); err != nil {
		return err
	}
	step("unwrapped again   with the version that had wrapped it")
	return nil
}

func unwrapEqual(ctx context.Context, client *akv.Client, name, version string, wrapped, want []byte) error {
	got, err := client.UnwrapKey(ctx, name, version, akv.RSAOAEP256, wrapped)
	if err != nil {
		return err
	}
	if !bytes.Equal(got.Value, want) {
		return errors.New("what was unwrapped is not what was wrapped")
	}
	return nil
}

// failures provokes three failures and checks that each has its code.
func failures(ctx context.Context, out io.Writer, client *akv.Client, s setting) error {
	fmt.Fprintf(out, "\nThree failures on purpose\n")
	wrong, err := aad.NewClientSecret(s.client, "not-the-secret")
	if err != nil {
		return err
	}
	stranger, err := akv.NewClient(s.vault, wrong, s.opts)
	if err != nil {
		return err
	}
	defer stranger.Close()
	_, err = stranger.GetKey(ctx, s.key, "")
	if err := expect(out, "a wrong secret", err, ekm.ErrorGetTokenBadCredentials); err != nil {
		return err
	}
	_, err = client.GetKey(ctx, "no-such-key", "")
	if err := expect(out, "a missing key", err, ekm.ErrorHttpResourceNotFound); err != nil {
		return err
	}
	if s.deny == nil {
		fmt.Fprintf(out, "  a forbidden operation: only the fake vault can be told to forbid one\n")
		return nil
	}
	s.deny(true)
	defer s.deny(false)
	_, err = client.WrapKey(ctx, s.key, "", akv.RSAOAEP256, make([]byte, 32))
	return expect(out, "a forbidden operation", err, ekm.ErrorHttpOperationForbidden)
}

// expect prints a failure that was to happen, or returns why it is another one.
func expect(out io.Writer, what string, err error, want ekm.Code) error {
	e, ok := errors.AsType[*ekm.Error](err)
	if !ok || e.Code != want {
		return fmt.Errorf("%s: expected %v, got: %w", what, want, cmpErr(err))
	}
	fmt.Fprintf(out, "  %s\n    code    %v, to the database engine %d\n    said    %v\n    to do   %s\n",
		what, e.Code, ekm.ProviderCode(err), e, e.Advice())
	return nil
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("success")
	}
	return err
}

func short(version string) string {
	if len(version) > 8 {
		return version[:8] + "..."
	}
	return version
}
