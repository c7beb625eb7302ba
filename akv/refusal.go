package akv

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/wire"
)

// wireError is Key Vault's error body. innererror is in lower case on the wire,
// whatever the documentation prints.
type wireError struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Inner   struct {
			Code string `json:"code"`
		} `json:"innererror"`
	} `json:"error"`
}

// refused is the error for a vault's answer other than the wanted one.
func (c *Client) refused(r *wire.Request, resp *wire.Response) *ekm.Error {
	e := c.wire.Refusal(r, resp)
	var w wireError
	kind := resp.Header.Get("Content-Type")
	if kind == "" {
		kind = http.DetectContentType(resp.Body)
	}
	kind, _, _ = strings.Cut(kind, ";")
	switch {
	case json.Unmarshal(resp.Body, &w) == nil:
		e.ServiceCode = r.Clean(w.Error.Code, 100)
		e.InnerCode = r.Clean(w.Error.Inner.Code, 100)
		e.Message = r.Clean(w.Error.Message, 512)
	case strings.EqualFold(kind, "text/html"):
		e.Message = fmt.Sprintf("the answer is an HTML page of %d bytes, from something in front of the vault", len(resp.Body))
	case strings.EqualFold(kind, "text/plain"):
		e.Message = r.Clean(string(resp.Body), 200)
	}
	return e
}
