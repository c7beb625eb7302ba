package aad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/hidden"
	"github.com/akv-ekm/ekm/internal/misplaced"
	"github.com/akv-ekm/ekm/internal/unseen"
	"github.com/akv-ekm/ekm/internal/wire"
	"github.com/akv-ekm/ekm/retry"
)

// A Source is a platform that gives managed identities.
type Source string

// The sources. The zero Source is the one that the environment tells of, IMDS if
// it tells of none.
const (
	IMDS       Source = "IMDS"        // virtual machines, scale sets, AKS nodes
	AppService Source = "App Service" // App Service, Functions, Container Apps
	Arc        Source = "Azure Arc"   // servers elsewhere, with the Arc agent
)

// ManagedIdentityOptions choose the source and the identity. The zero value is
// the machine's system-assigned identity, or the only user-assigned one.
type ManagedIdentityOptions struct {
	Source Source
	// One of these names a user-assigned identity.
	ClientID, ObjectID, ResourceID string
	// ArcKeyDirectory is where the Arc agent writes the files that prove that
	// somebody may read them; empty means the agent's own directory.
	ArcKeyDirectory string
}

// NewManagedIdentity is the identity that the platform gives to this machine or
// service. opts may be nil. The environment is read here, once: IDENTITY_ENDPOINT
// with IDENTITY_HEADER means App Service; with IMDS_ENDPOINT, or where the Arc
// agent is installed, it means Arc. No proxy is asked for the platform's endpoint, see [Options].
//
// The error is 6 (SCPErrInvalidArgument): more than one identity is named, or one at
// all with Arc; its id has blanks around it (ClientID and ObjectID: or in it),
// characters that nobody sees, or the form of a client secret; or the environment is
// that of a platform which is not supported (Service Fabric, Azure ML, Cloud Shell). Errors of exchanges have Party [ekm.ManagedIdentity].
func NewManagedIdentity(opts *ManagedIdentityOptions) (Credential, error) {
	m := &managed{}
	m.shown = m.describe
	if opts != nil {
		m.options = *opts
	}
	named := 0
	for _, id := range [...]struct {
		field, value string
		unseen       func(string) string
	}{
		{"ClientID", m.options.ClientID, unseen.Anywhere},
		{"ObjectID", m.options.ObjectID, unseen.Anywhere},
		{"ResourceID", m.options.ResourceID, unseen.Around}, // names of groups in it have other rules
	} {
		if id.value != "" {
			named++
		}
		if why := id.unseen(id.value); why != "" {
			return nil, invalid("ManagedIdentityOptions.%s %s", id.field, why)
		}
		if misplaced.Secret(id.value) {
			return nil, invalid("ManagedIdentityOptions.%s %s", id.field, likeSecret)
		}
	}
	if named > 1 {
		return nil, invalid("more than one of ClientID, ObjectID and ResourceID is given")
	}
	if err := m.choose(); err != nil {
		return nil, err
	}
	return m, nil
}

type managed struct {
	shown
	options  ManagedIdentityOptions
	endpoint string
	header   hidden.Value[string] // App Service's secret
	kept     cache
}

func (m *managed) cache() *cache { return &m.kept }

func (m *managed) fingerprint() [32]byte {
	return digest(string(m.options.Source), m.options.ClientID, m.options.ObjectID, m.options.ResourceID)
}

// choose finds the source and its endpoint.
func (m *managed) choose() error {
	endpoint, header := os.Getenv("IDENTITY_ENDPOINT"), os.Getenv("IDENTITY_HEADER")
	if m.options.Source == "" {
		switch {
		case endpoint != "" && header != "" && os.Getenv("IDENTITY_SERVER_THUMBPRINT") != "":
			return invalid("the managed identity of Service Fabric is not supported")
		case endpoint != "" && header != "":
			m.options.Source = AppService
		case os.Getenv("MSI_ENDPOINT") != "":
			return invalid("the managed identities of Azure ML and Cloud Shell are not supported")
		case endpoint != "" && os.Getenv("IMDS_ENDPOINT") != "" || arcAgent():
			m.options.Source = Arc
		default:
			m.options.Source = IMDS
		}
	}
	switch m.options.Source {
	case IMDS:
		m.endpoint = "http://169.254.169.254/metadata/identity/oauth2/token"
	case AppService:
		if endpoint == "" || header == "" {
			return invalid("App Service is chosen, but IDENTITY_ENDPOINT and IDENTITY_HEADER are not set")
		}
		m.endpoint, m.header = endpoint, hidden.New(header)
	case Arc:
		if m.endpoint = endpoint; endpoint == "" {
			m.endpoint = "http://127.0.0.1:40342/metadata/identity/oauth2/token"
		}
		if m.options.ClientID+m.options.ObjectID+m.options.ResourceID != "" {
			return invalid("Azure Arc has the machine's own identity alone: ClientID, ObjectID and ResourceID do not go with it")
		}
		if !loopback(m.endpoint) {
			return invalid("the Azure Arc agent's endpoint is not on this machine")
		}
	default:
		return invalid("Source is no source of managed identities: there are %s, %s and %s", IMDS, AppService, Arc)
	}
	return nil
}

func loopback(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.User == nil && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost")
}

// token asks the platform. While IMDS is being updated it answers 404 or 410, for
// up to 70 seconds: Microsoft's page "How to use managed identities to acquire an
// access token", error handling.
func (m *managed) token(ctx context.Context, x *exchange, demand challenge.Challenge) (Token, error) {
	updating := 70 * time.Second
	if budget := x.policy.Budget; budget > 0 {
		updating = min(updating, budget)
	}
	wait := 2 * time.Second
	failed, last := 0, error(nil)
	for waited := time.Duration(0); ; waited += wait {
		if waited > 0 {
			x.direct.Retried(ctx, failed, last, wait)
		}
		tok, err := m.once(ctx, x, demand)
		e, ok := errors.AsType[*ekm.Error](err)
		if last = err; ok {
			failed += e.Attempts
		}
		if !ok || m.options.Source != IMDS || e.Status != http.StatusNotFound && e.Status != http.StatusGone || x.policy.Attempts == 1 {
			return tok, err
		}
		if waited > 0 {
			wait *= 2
		}
		if wait = min(wait, updating-waited); wait <= 0 {
			return tok, err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return tok, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return tok, err
		}
	}
}

func (m *managed) once(ctx context.Context, x *exchange, demand challenge.Challenge) (Token, error) {
	r := m.request(demand)
	if len(r.URL) > x.maxURL {
		return Token{}, x.tooLongURL(r)
	}
	resp, err := x.platform(ctx, r, x.policy, m.options.Source == Arc)
	if err == nil && resp.Status == http.StatusUnauthorized {
		if r.Authorization, err = m.arcProof(x, r, resp); err == nil {
			// The file is good for one request.
			resp, err = x.platform(ctx, r, retry.Policy{Attempts: 1}, false)
		}
	}
	if err != nil {
		return Token{}, err
	}
	return x.read(r, resp, x.now())
}

// request is the platform's form of asking; each has its own names for things.
func (m *managed) request(demand challenge.Challenge) *wire.Request {
	version, resourceID := "2018-02-01", "msi_res_id"
	r := &wire.Request{Op: opAcquireToken, Party: ekm.ManagedIdentity, Method: http.MethodGet}
	switch m.options.Source {
	case AppService:
		version, resourceID = "2019-08-01", "mi_res_id"
		header := m.header.Reveal()
		r.Header = http.Header{"X-Identity-Header": {header}}
		r.Secrets = []string{header}
	case Arc:
		version = "2020-06-01"
		r.Header = http.Header{"Metadata": {"true"}}
	default:
		r.Header = http.Header{"Metadata": {"true"}}
	}
	query := url.Values{"api-version": {version}, "resource": {demand.Resource}}
	for name, value := range map[string]string{"client_id": m.options.ClientID, "object_id": m.options.ObjectID, resourceID: m.options.ResourceID} {
		if value != "" {
			query.Set(name, value)
		}
	}
	r.URL = m.endpoint + "?" + query.Encode()
	return r
}

// platform makes an exchange with the platform's endpoint, past any proxy.
func (x *exchange) platform(ctx context.Context, r *wire.Request, p retry.Policy, challenged bool) (*wire.Response, error) {
	return x.direct.Send(ctx, x.direct.Call(p, true), r, func(resp *wire.Response) error {
		if resp.Status == http.StatusOK || challenged && resp.Status == http.StatusUnauthorized {
			return nil
		}
		e := x.refused(r, resp)
		// App Service has a form of its own.
		var said struct {
			Message string `json:"message"`
		}
		if e.Message == "" && json.Unmarshal(resp.Body, &said) == nil {
			e.Message = r.Clean(said.Message, 512)
		}
		return e
	})
}

// arcProof answers the Arc agent's challenge: "Basic realm=<file>", where being
// able to read the file is the proof. Which files it may name is checked, since
// whoever listens on the port could ask for any other.
func (m *managed) arcProof(x *exchange, r *wire.Request, resp *wire.Response) (string, error) {
	refuse := func(err error) (string, error) {
		e := x.refused(r, resp)
		e.Err = err
		return "", e
	}
	_, path, found := strings.Cut(resp.Header.Get("WWW-Authenticate"), "Basic realm=")
	if !found {
		return refuse(errors.New("the Arc agent's challenge names no file"))
	}
	path = strings.Trim(strings.TrimSpace(path), `"`)
	dir := m.options.ArcKeyDirectory
	if dir == "" {
		dir = arcKeyDirectory()
	}
	if !inFolder(path, dir) || filepath.Ext(path) != ".key" {
		return refuse(fmt.Errorf("the Arc agent's challenge names a file that is no .key file in %s", dir))
	}
	const limit = 4096
	var key []byte
	info, err := os.Lstat(path)
	if err == nil && info.Mode().IsRegular() {
		key, err = readFile(path, limit)
	}
	if err != nil || !credentials(string(key)) {
		return "", noToken(errors.New("the Arc agent's key file cannot be read, or is no regular file with a key of at most 4096 bytes; is the account "+
			"a member of the himds group (on Windows, of Administrators or of Hybrid agent extension applications)?"), ekm.Local, "")
	}
	r.Secrets = append(r.Secrets, string(key))
	return "Basic " + string(key), nil
}

// inFolder reports whether path names a file that lies in dir itself. On Windows a
// name has neither case nor one kind of slash, and may have parts that lead
// elsewhere: a device, or a stream behind a colon.
func inFolder(path, dir string) bool {
	path, dir = filepath.FromSlash(path), filepath.Clean(dir)
	folder := filepath.Dir(path)
	same := folder == dir || runtime.GOOS == "windows" && lower(folder) == lower(dir)
	return same && filepath.Clean(path) == path && filepath.IsLocal(filepath.Base(path))
}

// lower folds the case of ASCII alone, of which every file system says the same.
func lower(path string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, path)
}

// arcAgent reports whether the Arc agent is installed: a service may lack the
// variables that it sets.
func arcAgent() bool {
	path := "/opt/azcmagent/bin/himds"
	if runtime.GOOS == "windows" {
		path = filepath.Join(os.Getenv("ProgramFiles"), "AzureConnectedMachineAgent", "himds.exe")
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func arcKeyDirectory() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("ProgramData"), "AzureConnectedMachineAgent", "Tokens")
	}
	return "/var/opt/azcmagent/tokens"
}
