// Package fakevault plays Azure Key Vault (or a Managed HSM), Microsoft Entra ID and the managed identity endpoints,
// offline and in one process. It is small, strict, and hostile on demand: it refuses what the services refuse, with
// their words, and misbehaves as a script tells it to, never at random, so that a failure repeats.
//
// It is written from the services' documentation and from recorded exchanges, and shares no code with the client in
// this module: what both got wrong in the same way would not be found.
//
// # Beginning
//
//	s := fakevault.New(fakevault.Options{})     // one vault, one tenant, one application
//	s.CreateKey("main", 0)                      // RSA, Options.KeyBits
//	client := &http.Client{Transport: s.Transport()}
//	client.Get(s.VaultURL() + "/keys/main?api-version=7.4")    // 401 with the challenge
//
// [Server.Transport] serves every host without a socket. It works in a testing/synctest bubble, where a wait of a
// minute takes no time. [Server.Listen] serves real connections: TLS and HTTP/2, with a CA of its own, and a transport
// that finds https://fakevault.vault.azure.net there. The server is an [http.Handler], too, that goes by the Host
// header; requests to a loopback address go by their path.
//
// # Who is played
//
//	Options.VaultHost            keys, deletedkeys, rng. A host below managedhsm.* is a Managed HSM.
//	Options.AuthorityHost        /{tenant}/oauth2/v2.0/token and /{tenant}/oauth2/token, discovery documents;
//	                             the other hosts of its cloud as well
//	169.254.169.254              IMDS
//	localhost, any port          App Service (/msi/token), Azure Arc (/metadata/identity/oauth2/token)
//
// All other hosts do not exist: the transports fail as a name without an address does.
//
// # What is checked
//
// Every call of the vault needs a bearer token that this server's Entra signed, for the vault's resource, of its tenant,
// within its time. Entra checks secrets ([Server.AddApp], [Server.ExpireSecret]), assertions signed with a certificate
// ([Server.AddCertificate], [Server.AddKeyThumbprint]) and tokens of a federated issuer ([Server.AddFederated]). Keys
// are real, and so is the arithmetic; [Server.PrivateKey] is for tests that check it.
//
// # Making trouble
//
//	s.Deny(fakevault.OpUnwrap)            403 ForbiddenByRbac; DenyAs has the other kinds
//	s.DisableKey("main", "")              403 KeyDisabled
//	s.RevokeTokens()                      401 for all tokens so far; RevokeTokensWithClaims sends a claims challenge
//	Options.Throttle                      429 by the documented weights
//	Options.DeleteLag, EmptyPages         slow deletion, empty pages
//	s.Script(fakevault.Fault{...})        anything else, at the n-th request of a kind:
//
//	s.Script(
//		fakevault.Fault{Operation: fakevault.OpToken, Times: 2, Status: 503},           // twice, then well again
//		fakevault.Fault{Operation: fakevault.OpUnwrap, Skip: 1, Kind: fakevault.Cut, Bytes: 20}, // the second one
//		fakevault.Fault{Operation: fakevault.OpRotate, Kind: fakevault.Abort, Applied: true},    // done, but no answer
//	)
//
// The first fault that matches a request and is not used up is applied to it, and no other.
//
// # What a client did
//
// [Server.Journal] lists the requests: operation, host, path, names of parameters, status, but no secret. [Server.Count]
// counts them.
//
// # What is not played
//
// P-256K and symmetric keys, secure key release, attestation, automatic rotation, the end of the retention of deleted
// keys, subject-name/issuer authentication (x5c), interactive sign-in, Service Fabric and Cloud Shell identities. Where
// no real text of an error was found the source says so.
package fakevault
