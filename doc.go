// Package ekm holds the error model of a client for the part of Azure Key Vault
// that a key encryption provider needs: get a key, wrap and unwrap with it, back
// it up. The model is that of Microsoft's SQL Server Connector: 145 documented
// codes, one integer per failure. The client itself is in package akv.
//
// The module is pure Go and uses neither cgo nor the Azure SDK. From nothing to
// the first unwrapped key:
//
//	cred, err := aad.NewClientSecret(clientID, secret)
//	client, err := akv.NewClient("contoso", cred, nil)
//	result, err := client.UnwrapKey(ctx, "tde", version, akv.RSAOAEP256, wrapped)
//
// The folders of the module, each using at most those above it:
//
//	.                  the codes and the error type
//	internal/b64       base64 in all the forms that servers write
//	internal/hidden    keeps secrets from being printed
//	internal/unseen    finds invisible characters in pasted text
//	internal/misplaced finds client secrets given in place of a name or an id
//	internal/clouds    the login hosts and vault domains of all clouds
//	internal/tlserr    whether TLS refused or the network below it failed
//	internal/flight    work that callers share
//	internal/keyfile   certificates and keys in files
//	challenge          the vault's 401 answer: where to log in, for what, and whether to trust it
//	jwk                a key in JSON: its id, its type, its public key
//	retry              whether and how long to wait before the next attempt
//	proxy              which proxy for which address
//	internal/wire      one HTTP exchange, bounded, each step with its own code
//	aad                proofs of identity, the token request, the token cache
//	akv                the vault client
//	internal/fakevault a vault, login endpoint and proxy for tests, hostile on demand
//	internal/nettest   listeners that reply, stop or break off, for tests
//	internal/soak      callers at work while faults happen
//	internal/matrix    each code reached, and the source read for where it is raised
//	examples           programs to start from; in examples/recipes examples to copy: key ids,
//	                   EC keys, managed HSM, a private CA, tests offline
//	interop            Microsoft's clients against the fake, and OpenTelemetry around ours
//	bench              comparisons with other clients
//	tools              linters
//
// The last three are modules of their own. internal/fakevault shares no code with the
// packages above it.
//
// # Errors
//
// Every failure is an [*Error] with exactly one [Code]; [CodeOf] reads it off any
// error, and errors.Is compares with it:
//
//	if errors.Is(err, ekm.ErrorHttpOperationForbidden) { ... }
//
// Each current code (3000, 3001, 3100 to 4000, 2049 to 2058) is raised at one
// place in the source, so a number leads to one step. [Code.Explain] says what
// happened. What to do next is [Error.Advice], which knows who failed and why, or
// [Code.Remedy] for who has nothing but the number.
// Printed with %v an Error is one line, with %+v a block of everything known;
// it is a JSON object for encoding/json and a group for log/slog.
//
// The codes from 3002 to 3077 are the numbers that connector 1.0.4.0 and older
// use; [Code.Legacy] leads to them. The codes 401 and 404 are HTTP statuses from
// the connector's event log. Neither is raised here.
//
// An EKM provider returns [ProviderCode] to the database engine: 0 for success, and
// for a failure the documented number itself, which the engine shows in its
// message. [Code.Provider] folds a code onto the results 0 to 7, for callers that
// know no other numbers.
//
// The 34 codes with OutOfMemory in their symbol are limits: Go cannot catch a
// failed allocation, so each stands for one buffer that would outgrow its
// documented limit, checked before the memory is taken. Where the limit can be
// set, the text names it: Limits.Body is the field Body of akv.Options.Limits.
//
// # Trust
//
// The server at the other end is not trusted. A secret or assertion goes only to
// an https login host that is on the list of known ones or was set by the caller,
// a token only to the vault's own host, and no token is asked for a resource
// outside the vault's own domain. Redirects are never followed. Everything read
// has a limit, and so has every wait.
//
// No Error holds a secret, assertion, token or key byte. It does hold tenant,
// application and key names, as the services report them.
//
// # Concurrency
//
// Everything in this package is a value that does not change, or a function of
// such values, and may be used by any number of goroutines at once.
//
// # Stability
//
// Numbers and symbols are Microsoft's and never change. The member names of an
// Error's JSON form are stable; new ones may be added. The wording of
// explanations, advice and error messages may change in any release: do not parse
// it. Before version 1.0.0 a minor release may change the Go API, and its notes
// say so.
package ekm
