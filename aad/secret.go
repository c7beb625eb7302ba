package aad

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/challenge"
	"github.com/akv-ekm/ekm/internal/hidden"
	"github.com/akv-ekm/ekm/internal/misplaced"
	"github.com/akv-ekm/ekm/internal/unseen"
)

type clientSecret struct {
	shown
	id    string
	value hidden.Value[string]
	kept  cache
}

// NewClientSecret is an application with a client secret: the application's
// client id and the secret's value, not the secret's id. The error, 3800, says
// what is wrong with either one: it is empty, has blanks around it, or has
// characters that nobody sees, such as the byte order mark at the start of a file; or
// the client id has the form of a secret.
func NewClientSecret(clientID, secret string) (Credential, error) {
	why := clientIDFault(clientID)
	if why == nil {
		why = secretFault(secret)
	}
	if why != nil {
		return nil, &ekm.Error{Code: ekm.ErrorSecretAuthParamsGetRequestBody, Party: ekm.Local, Credential: ekm.CredentialSecret, Time: time.Now(), Err: why}
	}
	c := &clientSecret{id: clientID, value: hidden.New(secret)}
	c.shown = c.describe
	return c, nil
}

// clientIDFault says what is wrong with the client id of an application, for every
// kind of credential. It is a GUID for Entra ID, but not for AD FS. Credentials show
// their client id, so a secret in its place has to be refused, and stays out of the error.
func clientIDFault(id string) error {
	switch why := unseen.Around(id); {
	case id == "":
		return errors.New("the client id is empty")
	case why != "":
		return errors.New("the client id " + why)
	case !credentials(id):
		return errors.New("the client id holds characters that no client id has")
	case misplaced.Secret(id):
		return errors.New("the client id " + likeSecret)
	}
	return nil
}

// likeSecret continues a sentence that begins with the name of an id.
const likeSecret = "has the form of a client secret: was the secret given in its place?"

// secretFault says what is wrong with the value of a client secret, no part of which
// gets into the error. [ParseSecret] makes the same checks with a code of its own.
func secretFault(value string) error {
	switch why := unseen.Around(value); {
	case value == "":
		return errors.New("the client secret is empty")
	case why != "":
		return errors.New("the client secret " + why)
	case quotes(value) != "":
		return errors.New("the client secret " + quotes(value))
	case secretID(value):
		return errSecretID
	}
	return nil
}

// quotes says what is wrong with a text that still has the quotes of an environment file
// around it, or returns "".
func quotes(s string) string {
	const typographic = "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2039\u203a"
	switch {
	case strings.Trim(s, typographic) != s:
		return "has typographic quotes around it, as a word processor makes them: take them away"
	case len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0]:
		return "is in quotes: take them away"
	}
	return ""
}

var errSecretID = errors.New("the client secret is a secret's id, not its value: the value is shown only once, when the secret is made")

// secretID reports a GUID with its hyphens. One without is taken for a value.
func secretID(s string) bool { return len(s) != 32 && uuid.Validate(s) == nil }

func (c *clientSecret) cache() *cache { return &c.kept }

func (c *clientSecret) fingerprint() [32]byte { return digest(c.id, c.value.Reveal()) }

func (c *clientSecret) token(ctx context.Context, x *exchange, demand challenge.Challenge) (Token, error) {
	return x.post(ctx, demand, func(context.Context) (url.Values, []string, error) {
		value := c.value.Reveal()
		return url.Values{"client_id": {c.id}, "client_secret": {value}}, []string{value}, nil
	})
}
