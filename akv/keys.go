package akv

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"strings"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/internal/b64"
	"github.com/akv-ekm/ekm/jwk"
)

// A Key is one version of a key: its id, split into vault, name and version, its
// attributes and its public half.
type Key = jwk.Key

// A KeyItem is what a list tells of a key or of a version of one.
type KeyItem = jwk.Item

// GetKey gets a version of a key; an empty version is the newest one.
//
// Codes of its own: 3400 to 3412; 3112 if there is no such key, 3113 without
// the permission; 3 (SCPErrNotSupported) for kinds and sizes of keys that
// package jwk does not know. 3412 is also for an answer about another key, or
// about one of another vault, see [Options.IDHost].
func (c *Client) GetKey(ctx context.Context, name, version string) (*Key, error) {
	k := c.call(opGetKey(), name, version)
	path, err := k.versionPath(name, version, "")
	return k.forKey(ctx, path, nil, err)
}

// RotateKey makes a new version of a key, by the key's rotation policy or at
// once like its newest version, and returns it. Codes are those of GetKey.
func (c *Client) RotateKey(ctx context.Context, name string) (*Key, error) {
	k := c.call(opRotateKey(), name, "")
	path, err := k.keyPath(name, "/rotate")
	return k.forKey(ctx, path, nil, err)
}

// forKey makes a call that is answered with a key, unless err forbids it.
func (k *call) forKey(ctx context.Context, path string, body []byte, err error) (*Key, error) {
	var key Key
	if err == nil {
		k.body = body
		key, err = k.parsed(ctx, path)
	}
	if err = k.told(ctx, key.ID, err); err != nil {
		return nil, err
	}
	return &key, nil
}

// parsed is the key that the call is answered with.
func (k *call) parsed(ctx context.Context, path string) (Key, error) {
	if err := k.start(path, ""); err != nil {
		return Key{}, err
	}
	bundle, err := k.do(ctx)
	if err != nil {
		return Key{}, err
	}
	key, err := k.asked().Parse(bundle)
	return key, k.explain(err)
}

// Keys lists the vault's keys, without versions, in the vault's order. It asks
// for pages as the loop goes on. An error ends the list; it is yielded with a
// zero KeyItem. Codes of its own: 3400 to 3406 and 3412, 3102 if a page's link to
// the next one leads away from the vault, and 7 (SCPErrProviderError) if the pages
// do not end.
func (c *Client) Keys(ctx context.Context) iter.Seq2[KeyItem, error] {
	return c.list(ctx, opListKeys(), "", "/keys", nil)
}

// KeyVersions lists the versions of a key like [Client.Keys].
func (c *Client) KeyVersions(ctx context.Context, name string) iter.Seq2[KeyItem, error] {
	path, err := opKeyVersions().keyPath(name, "/versions")
	return c.list(ctx, opKeyVersions(), name, path, err)
}

// list yields the keys of the vault, or the versions of the key name. With invalid,
// what is wrong with that, it yields nothing else.
func (c *Client) list(ctx context.Context, op operation, name, path string, invalid error) iter.Seq2[KeyItem, error] {
	return func(yield func(KeyItem, error) bool) {
		links := linked{limit: c.opts.Limits.Pages}
		for next := ""; ; {
			k := c.call(op, name, "")
			page, err := jwk.Page{}, invalid
			if err == nil {
				page, err = k.page(ctx, path, next, &links)
			}
			err = k.told(ctx, "", err)
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if err != nil {
				yield(KeyItem{}, err)
				return
			}
			if next = page.Next; next == "" {
				return
			}
		}
	}
}

// linked watches the pages of a list, which a broken vault would go on with for
// ever. Single empty pages are usual.
type linked struct {
	limit, pages, items, empty int
	seen                       map[uint64]bool // hashes of links
	seed                       maphash.Seed
}

// fault takes note of a page with so many items and its link to the next one, and
// returns what is wrong with the list, or "".
func (l *linked) fault(items int, next string) string {
	const emptyInARow = 1000
	if l.seen == nil {
		l.seen, l.seed = make(map[uint64]bool), maphash.MakeSeed()
	}
	l.pages++
	l.items += items
	if l.empty++; items > 0 {
		l.empty = 0
	}
	link := maphash.String(l.seed, next)
	why := ""
	switch {
	case next == "":
	case l.seen[link]:
		why = "the vault's pages link back to one that has been read"
	case l.empty > emptyInARow:
		why = "the vault goes on sending empty pages"
	case l.pages >= l.limit:
		why = "the list has more pages than Limits.Pages allows"
	}
	l.seen[link] = true
	if why == "" {
		return ""
	}
	return fmt.Sprintf("%s: %d pages with %d keys came", why, l.pages, l.items)
}

// unending returns the error of a list whose pages do not end, for the reason why, or nil
// if why is empty.
func (k *call) unending(why string) error {
	if why == "" {
		return nil
	}
	return k.explain(k.answered(&ekm.Error{Code: ekm.SCPErrProviderError, Party: ekm.Vault, Err: errors.New(why)}, k.answer))
}

// page gets one page: the first, or the one that next links to, verbatim but for
// the host, where [Options.IDHost] is another name of the vault's. The exchange
// sends nothing to any host but the vault's own, wherever next leads. The page may
// be good and the list end with it in an error, which links finds.
func (k *call) page(ctx context.Context, path, next string, links *linked) (jwk.Page, error) {
	if err := k.start(path, k.client.reached(next)); err != nil {
		return jwk.Page{}, err
	}
	body, err := k.do(ctx)
	if err != nil {
		return jwk.Page{}, err
	}
	page, err := k.asked().ParsePage(body)
	if err != nil {
		return jwk.Page{}, k.explain(err)
	}
	return page, k.unending(links.fault(len(page.Items), page.Next))
}

// wireValue is the request and the reply that carry bytes in base64url.
type wireValue struct {
	KID   string `json:"kid"`
	Value string `json:"value"`
}

// BackupKey backs up all versions of a key into a blob that only the service can
// read, and only restore in the same subscription and geography.
//
// Codes of its own: 3500 to 3506; 3112 if there is no such key, 3113 without the
// permission.
func (c *Client) BackupKey(ctx context.Context, name string) ([]byte, error) {
	k := c.call(opBackupKey(), name, "")
	blob, err := k.backup(ctx)
	return blob, k.told(ctx, "", err)
}

func (k *call) backup(ctx context.Context) ([]byte, error) {
	path, err := k.keyPath(k.key, "/backup")
	if err != nil {
		return nil, err
	}
	if err := k.start(path, ""); err != nil {
		return nil, err
	}
	body, err := k.do(ctx)
	if err != nil {
		return nil, err
	}
	_, blob, err := k.value(body)
	return blob, err
}

// RestoreKey restores a backup made by [Client.BackupKey], under the key's old
// name and with all its versions, and returns the newest one. The vault answers
// 400 (3110) to a blob that it cannot read, 409 (3110) if a key of that name
// exists. Other codes are those of GetKey; 6 (SCPErrInvalidArgument) if backup is
// empty or longer than Limits.Backup allows.
func (c *Client) RestoreKey(ctx context.Context, backup []byte) (*Key, error) {
	k := c.call(opRestoreKey(), "", "")
	if n, limit := bodySize("", backup), c.opts.Limits.Backup; len(backup) == 0 || n > limit {
		err := k.invalid("the backup has %d bytes; it may not be empty, and its request of %d bytes not longer than %d (Limits.Backup)", len(backup), n, limit)
		return k.forKey(ctx, "", nil, err)
	}
	return k.forKey(ctx, "/keys/restore", valueBody("", backup), nil)
}

// value reads a reply that carries bytes, and who made them.
func (k *call) value(body []byte) (kid string, value []byte, err error) {
	codes := k.family.codes()
	var w wireValue
	err = json.Unmarshal(body, &w)
	mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if err != nil && !(ok && mistyped.Field != "") {
		return "", nil, k.undecodable(codes.json, "the reply is not the JSON that was expected")
	}
	// Padding alone decodes to nothing. The last step of each family finds that: for
	// a backup decoding, for the others the reply's members.
	nothing := strings.Trim(w.Value, "=") == ""
	why := ""
	switch {
	case err != nil || w.Value == "" || nothing && k.family != backupFamily:
		why = "the reply has no value"
	case k.family != backupFamily && !k.asked().Names(w.KID):
		// Or nobody knows which.
		why = "another key, or another version, or a key of another vault, than the one asked for has done it"
	}
	if why != "" {
		return "", nil, k.undecodable(codes.member, why)
	}
	if value, err = b64.Decode(w.Value); err != nil || nothing {
		return "", nil, k.undecodable(codes.decode, "the reply's value is not base64url")
	}
	return w.KID, value, nil
}

// asked is what the reply must be about.
func (k *call) asked() jwk.Asked {
	return jwk.Asked{Hosts: k.client.hosts, Name: k.key, Version: k.version}
}

// undecodable is an answer of the vault's that makes no sense. Its text is ours:
// a decoder's own would quote what may be key bytes.
func (k *call) undecodable(code ekm.Code, text string) error {
	return k.explain(&ekm.Error{Code: code, Party: ekm.Vault, Phase: ekm.PhaseDecode, Err: errors.New(text)})
}

// valueBody is {"alg":"...","value":"..."}; alg is one of ours, and base64url
// needs no escaping.
func valueBody(alg Algorithm, value []byte) []byte {
	b := make([]byte, 0, bodySize(alg, value))
	b = append(b, '{')
	if alg != "" {
		b = append(b, `"alg":"`...)
		b = append(b, alg...)
		b = append(b, `",`...)
	}
	b = append(b, `"value":"`...)
	b = base64.RawURLEncoding.AppendEncode(b, value)
	return append(b, `"}`...)
}

// bodySize is the length of a valueBody, before it is made.
func bodySize(alg Algorithm, value []byte) int {
	n := len(`{"value":""}`) + base64.RawURLEncoding.EncodedLen(len(value))
	if alg != "" {
		n += len(`"alg":"",`) + len(alg)
	}
	return n
}
