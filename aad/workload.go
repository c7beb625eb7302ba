package aad

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/unseen"
)

// WorkloadIdentityOptions name the application and the file of a workload
// identity. What is empty is taken from the environment, as the workload identity
// webhook of AKS sets it.
type WorkloadIdentityOptions struct {
	ClientID  string // else AZURE_CLIENT_ID
	TokenFile string // else AZURE_FEDERATED_TOKEN_FILE
}

// NewWorkloadIdentity is an application that trusts another issuer's tokens, such
// as those that Kubernetes writes into a file (workload identity federation). The
// file is read for each exchange, as it changes within the hour. opts may be nil.
// The tenant is the one that the vault demands; AZURE_TENANT_ID is not needed.
//
// The error is 6 (SCPErrInvalidArgument) if client id or file are not known, or the
// client id cannot be one. A
// file that cannot be read fails the exchange, with 3304.
func NewWorkloadIdentity(opts *WorkloadIdentityOptions) (Credential, error) {
	w := &workload{}
	w.shown = w.describe
	if opts != nil {
		w.options = *opts
	}
	if w.options.ClientID == "" {
		w.options.ClientID = os.Getenv("AZURE_CLIENT_ID")
	}
	if w.options.TokenFile == "" {
		w.options.TokenFile = os.Getenv("AZURE_FEDERATED_TOKEN_FILE")
	}
	if w.options.ClientID == "" || w.options.TokenFile == "" {
		return nil, invalid("client id or token file of the workload identity is not given: neither in the options nor by AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE")
	}
	if why := clientIDFault(w.options.ClientID); why != nil {
		return nil, invalid("the workload identity's options, or AZURE_CLIENT_ID: %w", why)
	}
	return w, nil
}

type workload struct {
	shown
	options WorkloadIdentityOptions
	kept    cache
}

func (w *workload) cache() *cache { return &w.kept }

func (w *workload) fingerprint() [32]byte { return digest(w.options.ClientID, w.options.TokenFile) }

func (w *workload) token(ctx context.Context, x *exchange, demand challenge.Challenge) (Token, error) {
	federated, err := readToken(w.options.TokenFile)
	if err != nil {
		return Token{}, noToken(err, ekm.Local, "")
	}
	tok, err := w.exchange(ctx, x, demand, federated)
	if !refusedIdentity(err) {
		return tok, err
	}
	// The file may have been replaced between our reading and Entra's check.
	if again, readErr := readToken(w.options.TokenFile); readErr == nil && again != federated {
		return w.exchange(ctx, x, demand, again)
	}
	return tok, err
}

func (w *workload) exchange(ctx context.Context, x *exchange, demand challenge.Challenge, federated string) (Token, error) {
	return x.post(ctx, demand, func(context.Context) (url.Values, []string, error) {
		return assertionForm(w.options.ClientID, federated), []string{federated}, nil
	})
}

// readToken reads a federated token, which is short.
func readToken(path string) (string, error) {
	const limit = 32 << 10
	text, err := readFile(path, limit)
	if err != nil {
		return "", fmt.Errorf("the federated token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if why := unseen.Around(token); why != "" {
		return "", errors.New("the federated token's file holds something else: its text " + why)
	}
	if !credentials(token) {
		return "", errors.New("the federated token's file is empty, or holds something else")
	}
	return token, nil
}

// readFile reads a regular file of at most limit bytes: a pipe could keep its
// reader for ever.
//
// Its errors leave out the path, which may be the token or the secret itself, given
// where its file's name belongs.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if why := unseen.Around(path); why != "" && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; its path %s", withoutPath(err), why)
	}
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("it is longer than %d bytes, too long for what it should be", limit)
	}
	return text, withoutPath(err)
}

func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("it cannot be read: %w", e.Err)
	}
	return err
}
