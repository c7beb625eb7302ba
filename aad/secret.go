package aad

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/hidden"
)

type clientSecret struct {
	shown
	id    string
	value hidden.Value[string]
	kept  cache
}

// NewClientSecret is an application with a client secret: the application's
// client id and the secret's value, not the secret's id. The error, 3800, says
// what is wrong with either one.
func NewClientSecret(clientID, secret string) (Credential, error) {
	c := &clientSecret{id: clientID, value: hidden.New(secret)}
	c.shown = c.describe
	if why := c.fault(); why != nil {
		return nil, &ekm.Error{Code: ekm.ErrorSecretAuthParamsGetRequestBody, Party: ekm.Local, Time: time.Now(), Err: why}
	}
	return c, nil
}

func (c *clientSecret) fault() error {
	value := c.value.Reveal()
	switch {
	case c.id == "":
		return errors.New("the client id is empty")
	case strings.TrimSpace(c.id) != c.id:
		return errors.New("the client id has blanks around it")
	case !credentials(c.id):
		return errors.New("the client id holds characters that no client id has")
	case value == "":
		return errors.New("the client secret is empty")
	case strings.TrimSpace(value) != value:
		return errors.New("the client secret has blanks or a line break around it")
	}
	return nil
}

func (c *clientSecret) cache() *cache { return &c.kept }

func (c *clientSecret) fingerprint() [32]byte { return digest(c.id, c.value.Reveal()) }

func (c *clientSecret) token(ctx context.Context, x *exchange, demand challenge.Challenge) (Token, error) {
	return x.post(ctx, demand, func(context.Context) (url.Values, []string, error) {
		value := c.value.Reveal()
		return url.Values{"client_id": {c.id}, "client_secret": {value}}, []string{value}, nil
	})
}
