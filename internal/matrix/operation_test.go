package matrix_test

import (
	"strings"

	"github.com/akv-ekm/ekm"
	"github.com/akv-ekm/ekm/akv"
	"github.com/akv-ekm/ekm/internal/fakevault"
)

// A family is one hundred of the codes, by what goes wrong; see the table in
// package akv. A code that is 0 is not in the family.
type family struct {
	op   string
	fake fakevault.Operation
	run  func(s *scene, change func(*akv.Options)) error

	reply, path, header, request, value ekm.Code // budgets
	empty, json, member, decode         ekm.Code // of the reply
	limit                               func(*akv.Limits) *int
}

// common are the rows that all families have.
func (f family) common() []scenario {
	budget := func(code ekm.Code, how, says string, limit func(*akv.Limits) *int, n int) scenario {
		return scenario{code: code, how: how, op: f.op, party: ekm.Local, says: says, run: func(s *scene) error {
			return f.run(s, func(o *akv.Options) { *limit(&o.Limits) = n })
		}}
	}
	const kid = `"kid":"https://fakevault.vault.azure.net/keys/tde/1"`
	tooLong := f.replying(f.reply, "a reply over its limit, set to 20 bytes", "the limit is 20", "")
	tooLong.run = func(s *scene) error {
		s.answers(f.fake, 200, strings.Repeat(" ", 21))
		return f.run(s, func(o *akv.Options) { *f.limit(&o.Limits) = 20 })
	}
	all := []scenario{
		tooLong,
		budget(f.path, "Limits.Path is 8 bytes", "the limit is 8", func(l *akv.Limits) *int { return &l.Path }, 8),
		budget(f.header, "Limits.Authorization is 20 bytes", "the limit is 20", func(l *akv.Limits) *int { return &l.Authorization }, 20),
		budget(f.request, "Limits.Request is 10 bytes", "the limit is 10", func(l *akv.Limits) *int { return &l.Request }, 10),
		budget(f.value, "Limits.Value is 10 bytes", "the limit is 10", func(l *akv.Limits) *int { return &l.Value }, 10),
		f.replying(f.empty, "a reply without a body", "has no body", ""),
		f.replying(f.json, "a login page in place of JSON", "not the JSON", "<html>"),
		f.replying(f.json, "JSON cut off", "not the JSON", `{"value":"AA`),
		f.replying(f.member, "a reply without the value", "no value", `{`+kid+`}`),
		f.replying(f.decode, "a value that is not base64", "not base64url", `{`+kid+`,"value":"*"}`),
	}
	var rows []scenario
	for _, r := range all {
		if r.code != 0 {
			rows = append(rows, r)
		}
	}
	return rows
}

// replying is a row whose reply, with status 200, has the body text.
func (f family) replying(code ekm.Code, how, says, text string) scenario {
	return scenario{
		code: code, how: how, op: f.op, party: ekm.Vault, phase: ekm.PhaseDecode, status: 200, says: says,
		run: func(s *scene) error {
			s.answers(f.fake, 200, text)
			return f.run(s, nil)
		},
	}
}

func getKeyScenarios() []scenario {
	f := family{
		op: "getKey", fake: fakevault.OpGet, run: (*scene).get,
		reply: ekm.ErrorGetKeyByNameOutOfMemoryConvertResponseString,
		path:  ekm.ErrorGetKeyByNameOutOfMemoryConcatPath, header: ekm.ErrorGetKeyByNameOutOfMemoryConcatHeader,
		empty: ekm.ErrorGetKeyByNameNoResponse, json: ekm.ErrorGetKeyByNameJsonParser,
		limit: func(l *akv.Limits) *int { return &l.Key },
	}
	const kid, kty, e = `"kid":"https://fakevault.vault.azure.net/keys/tde/1"`, `"kty":"RSA"`, `"e":"AQAB"`
	n := `"n":"` + strings.Repeat("-", 341) + `w"` // 2048 bits, odd
	key := func(members ...string) string { return `{"key":{` + strings.Join(members, ",") + `}}` }
	return append(
		f.common(),
		f.replying(ekm.ErrorGetKeyByNameExtractKeyNode, "a reply without the key", "no key object", `{}`),
		f.replying(ekm.ErrorGetKeyByNameExtractKeyId, "a key without kid", "no kid", key(kty, n, e)),
		f.replying(ekm.ErrorGetKeyByNameExtractKeyType, "a key without kty", "no kty", key(kid, n, e)),
		f.replying(ekm.ErrorGetKeyByNameExtractKeyN, "an RSA key without n", "has no n", key(kid, kty, e)),
		f.replying(ekm.ErrorGetKeyByNameBase64DecodeN, "an n that is not base64", "n is not base64url", key(kid, kty, `"n":"*"`, e)),
		f.replying(ekm.ErrorGetKeyByNameExtractKeyE, "an RSA key without e", "has no e", key(kid, kty, n)),
		f.replying(ekm.ErrorGetKeyByNameBase64DecodeE, "an even e", "e is not base64url of a number", key(kid, kty, n, `"e":"Ag"`)),
		f.replying(ekm.ErrorGetKeyByNameExtractKeyUri, "a kid that is a secret's URL", "not the URL of a key",
			key(`"kid":"https://fakevault.vault.azure.net/secrets/tde/1"`, kty, n, e)),
		f.replying(ekm.ErrorGetKeyByNameExtractKeyUri, "another key than was asked for", "not of the one asked for",
			key(`"kid":"https://fakevault.vault.azure.net/keys/other/1"`, kty, n, e)),
		f.replying(ekm.ErrorGetKeyByNameExtractKeyUri, "a key of that name in another vault", "of another vault than the one asked",
			key(`"kid":"https://other.vault.azure.net/keys/tde/1"`, kty, n, e)),
		f.replying(ekm.SCPErrNotSupported, "a symmetric key", "not supported", key(kid, `"kty":"oct-HSM"`)),
	)
}

func backupScenarios() []scenario {
	f := family{
		op: "backupKey", fake: fakevault.OpBackup, run: (*scene).backup,
		reply: ekm.ErrorBackupKeyOutOfMemoryConvertResponseString,
		path:  ekm.ErrorBackupKeyOutOfMemoryConcatPath, header: ekm.ErrorBackupKeyOutOfMemoryConcatHeader,
		empty: ekm.ErrorBackupKeyNoResponse, json: ekm.ErrorBackupKeyJsonParser,
		member: ekm.ErrorBackupKeyExtractValue, decode: ekm.ErrorBackupKeyBase64DecodeValue,
		limit: func(l *akv.Limits) *int { return &l.Backup },
	}
	return append(f.common(), f.replying(f.decode, "a value of padding alone", "not base64url", `{"value":"="}`))
}

func wrapScenarios() []scenario {
	f := family{
		op: "wrapKey", fake: fakevault.OpWrap, run: (*scene).wrap,
		reply: ekm.ErrorWrapKeyOutOfMemoryConvertResponseString,
		path:  ekm.ErrorWrapKeyOutOfMemoryConcatPath, header: ekm.ErrorWrapKeyOutOfMemoryConcatHeader,
		request: ekm.ErrorWrapKeyOutOfMemoryConcatBody, value: ekm.ErrorWrapKeyOutOfMemoryConvertEncodedBody,
		empty: ekm.ErrorWrapKeyNoResponse, json: ekm.ErrorWrapKeyJsonParser,
		member: ekm.ErrorWrapKeyExtractValue, decode: ekm.ErrorWrapKeyBase64DecodeValue,
		limit: func(l *akv.Limits) *int { return &l.Result },
	}
	return append(
		f.common(),
		f.replying(f.member, "a value that another key has wrapped", "another key, or another version",
			`{"kid":"https://fakevault.vault.azure.net/keys/other/1","value":"AA"}`),
		f.replying(f.member, "a value that another vault's key has wrapped", "a key of another vault",
			`{"kid":"https://other.vault.azure.net/keys/tde/1","value":"AA"}`),
		f.replying(f.member, "a value of padding alone", "no value", `{"kid":"https://fakevault.vault.azure.net/keys/tde/1","value":"="}`),
		scenario{
			code: ekm.ErrorWrapKeyBase64EncodeKey, how: "a key to wrap of no bytes", op: f.op, party: ekm.Local, says: "its length is 0",
			run: func(s *scene) error {
				_, err := s.client(nil).WrapKey(s.Context(), "tde", "", akv.RSAOAEP256, nil)
				return err
			},
		},
	)
}

func unwrapScenarios() []scenario {
	f := family{
		op: "unwrapKey", fake: fakevault.OpUnwrap, run: (*scene).unwrap,
		reply: ekm.ErrorUnwrapKeyOutOfMemoryConvertResponseString,
		path:  ekm.ErrorUnwrapKeyOutOfMemoryConcatPath, header: ekm.ErrorUnwrapKeyOutOfMemoryConcatHeader,
		request: ekm.ErrorUnwrapKeyOutOfMemoryConcatBody, value: ekm.ErrorUnwrapKeyOutOfMemoryConvertEncodedBody,
		empty: ekm.ErrorUnwrapKeyNoResponse, json: ekm.ErrorUnwrapKeyJsonParser,
		member: ekm.ErrorUnwrapKeyExtractValue, decode: ekm.ErrorUnwrapKeyBase64DecodeValue,
		limit: func(l *akv.Limits) *int { return &l.Result },
	}
	return append(
		f.common(),
		f.replying(f.member, "a key that another key has unwrapped", "another key, or another version",
			`{"kid":"https://fakevault.vault.azure.net/keys/other/1","value":"AA"}`),
		f.replying(f.member, "a value of padding alone", "no value", `{"kid":"https://fakevault.vault.azure.net/keys/tde/1","value":"="}`),
		f.replying(f.member, "a key that another vault's key has unwrapped", "a key of another vault",
			`{"kid":"https://other.vault.azure.net/keys/tde/1","value":"AA"}`),
		scenario{
			code: ekm.ErrorUnwrapKeyBase64EncodeKey, how: "a wrapped key of no bytes", op: f.op, party: ekm.Local, says: "its length is 0",
			run: func(s *scene) error {
				_, err := s.client(nil).UnwrapKey(s.Context(), "tde", "", akv.RSAOAEP256, nil)
				return err
			},
		},
	)
}
