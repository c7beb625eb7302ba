package fakevault

import (
	"fmt"
	"net/http"
	"strings"
)

// fail is an error of the vault. inner, if set, becomes innererror, which is all lower case on the wire.
type fail struct {
	status  int
	code    string
	message string
	inner   string
}

type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Code       string      `json:"code"`
	Message    string      `json:"message"`
	InnerError *innerError `json:"innererror,omitempty"`
}

type innerError struct {
	Code string `json:"code"`
}

// throttledBody is a real one, 146 bytes (reported to AzureSignTool).
const throttledBody = `{"error":{"code":"Throttled","message":"Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"}}`

// errorReply writes the envelope. Managed HSM ends every message with the request id.
func (c *call) errorReply(f *fail) *reply {
	message := f.message
	if c.s.hsm {
		message += " (Activity ID: " + c.requestID + ")"
	}
	body := errorBody{Error: errorDetail{Code: f.code, Message: message}}
	if f.inner != "" {
		body.Error.InnerError = &innerError{f.inner}
	}
	rep := jsonReply(f.status, body)
	c.vaultHeader(rep)
	return rep
}

func badParameter(format string, args ...any) *fail {
	return &fail{http.StatusBadRequest, "BadParameter", fmt.Sprintf(format, args...), ""}
}

// invalidProperty is what the vault says to a member that it cannot read; the name in the middle is often missing.
func invalidProperty() *fail { return badParameter("Property  has invalid value\r\n") }

func (c *call) invalidName() *fail {
	if c.s.hsm {
		return badParameter("Invalid key identifier or name")
	}
	return badParameter("The request URI contains an invalid name: %s", c.name)
}

// keyNotFound is the 404 of a name, or of a name and version, that is not there.
func (c *call) keyNotFound() *fail {
	id := c.name
	if c.version != "" {
		id += "/" + c.version
	}
	if c.s.hsm {
		return &fail{http.StatusNotFound, "KeyNotFound", "Key not found: " + c.s.VaultURL() + "/keys/" + id, ""}
	}
	return &fail{http.StatusNotFound, "KeyNotFound", "A key with (name/id) " + id + " was not found in this key vault. If you recently deleted this key you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182", ""}
}

func (c *call) deletedKeyNotFound() *fail {
	if c.s.hsm {
		return &fail{http.StatusNotFound, "KeyNotFound", "Deleted key not found: " + c.s.VaultURL() + "/deletedkeys/" + c.name, ""}
	}
	return &fail{http.StatusNotFound, "KeyNotFound", "Deleted Key not found: " + c.name, ""}
}

func beingDeleted() *fail {
	return &fail{http.StatusConflict, "Conflict", "Key is currently being deleted.", "ObjectIsBeingDeleted"}
}

func deletedButRecoverable(name string) *fail {
	return &fail{http.StatusConflict, "Conflict", "Key " + name + " is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only be recovered or purged.", "ObjectIsDeletedButRecoverable"}
}

func restoreConflict(kid string) *fail {
	return &fail{http.StatusConflict, "Conflict", "There was a conflict restoring the key '" + kid + "'. This can happen if either: a second key with the same name was created after the first key was deleted; thus trying to restore a key whose name is already in use. To fix this, rename the second key to something else so that the restore works. The second probable cause of this exception is when multiple operations are performed in parallel against the key. To avoid this error, perform operations against a key in a sequential manner.", ""}
}

// Refusal says in whose name the vault answers 403.
type Refusal int

// The refusals; their names are those of the innererror.
const (
	ForbiddenByRbac       Refusal = iota + 1 // no role assignment
	ForbiddenByPolicy                        // no access policy
	ForbiddenByFirewall                      // client address not allowed
	ForbiddenByConnection                    // private link only
	KeyOperationForbidden                    // key_ops of the key
	AccessDenied                             // of a first-party service
)

// Deny makes these operations answer 403 ForbiddenByRbac, all operations of the vault if none is given.
func (s *Server) Deny(ops ...Operation) { s.DenyAs(ForbiddenByRbac, ops...) }

// DenyAs makes these operations answer 403 with the given refusal, all operations of the vault if none is given.
func (s *Server) DenyAs(why Refusal, ops ...Operation) {
	if len(ops) == 0 {
		ops = []Operation{""}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range ops {
		s.refused[op] = why
	}
}

// Allow takes Deny back for these operations, or altogether if none is given.
func (s *Server) Allow(ops ...Operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(ops) == 0 {
		clear(s.refused)
	}
	for _, op := range ops {
		delete(s.refused, op)
	}
}

// denied is the 403 that Deny asked for. The texts are real, but for ForbiddenByConnection, of which only the beginning
// is known.
func (c *call) denied() *fail {
	c.s.mu.Lock()
	why := c.s.refused[c.op]
	if why == 0 {
		why = c.s.refused[""]
	}
	c.s.mu.Unlock()
	caller := "appid=" + c.caller.Appid + ";oid=" + c.caller.Oid + ";iss=" + c.caller.Iss
	vault := c.s.opts.Vault + ";location=" + c.s.opts.Region
	forbidden := func(message, inner string) *fail { return &fail{http.StatusForbidden, "Forbidden", message, inner} }
	switch why {
	case ForbiddenByRbac:
		return forbidden("Caller is not authorized to perform action on resource.\r\n"+
			"If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\n"+
			"Caller: "+caller+"\r\nAction: '"+rbacAction(c.op)+"'\r\n"+
			"Resource: '/subscriptions/"+c.s.opts.Subscription+"/resourcegroups/fake/providers/microsoft.keyvault/vaults/"+c.s.opts.Vault+"/keys/"+c.name+"'\r\n"+
			"Assignment: (not found)\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\nVault: "+vault+"\r\n", "ForbiddenByRbac")
	case ForbiddenByPolicy:
		return forbidden("The user, group or application '"+caller+"' does not have keys "+strings.ToLower(string(c.op))+
			" permission on key vault '"+vault+"'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287", "ForbiddenByPolicy")
	case ForbiddenByFirewall:
		return forbidden("Client address is not authorized and caller is not a trusted service.\r\nClient address: 203.0.113.7\r\nCaller: "+
			caller+"\r\nVault: "+vault, "ForbiddenByFirewall")
	case ForbiddenByConnection:
		return forbidden("Public network access is disabled and request is not from a trusted service nor via an approved private link.\r\nCaller: "+
			caller+"\r\nVault: "+vault, "ForbiddenByConnection")
	case KeyOperationForbidden:
		return notPermitted(c.op)
	case AccessDenied:
		return forbidden("Access denied to first party service. Caller: "+caller, "AccessDenied")
	}
	return nil
}

// notPermitted is the 403 of an operation that key_ops does not list (Azure SDK troubleshooting guide).
func notPermitted(op Operation) *fail {
	return &fail{http.StatusForbidden, "Forbidden", "Operation " + string(op) + " is not permitted on this key.", "KeyOperationForbidden"}
}

// rbacAction is the data action that a 403 names, as Azure's built-in roles for Key Vault list them.
func rbacAction(op Operation) string {
	verb := map[Operation]string{
		OpWrap: "wrap/action", OpUnwrap: "unwrap/action", OpEncrypt: "encrypt/action", OpDecrypt: "decrypt/action",
		OpSign: "sign/action", OpVerify: "verify/action", OpCreate: "create/action", OpImport: "import/action",
		OpBackup: "backup/action", OpRestore: "restore/action", OpRecover: "recover/action", OpPurge: "purge/action",
		OpRotate: "rotate/action", OpUpdate: "update/action", OpDelete: "delete",
	}[op]
	if verb == "" {
		verb = "read"
	}
	return "Microsoft.KeyVault/vaults/keys/" + verb
}
