package ekm

// throughGroup is why a right that was just given may not count yet: the groups stand
// in the token. Microsoft's page "Managed identity best practice recommendations",
// Limitation of using managed identities for authorization.
const throughGroup = "Through a group it counts from the identity's next token: within 24 hours for a managed identity, as Azure caches its tokens that long."

// hsmDomain is a part of the host of a managed HSM, in all clouds. An HSM has roles of
// its own: Microsoft's page "Local RBAC built-in roles for Managed HSM".
const (
	hsmDomain = ".managedhsm."
	hsmRole   = `Assign a local role of the managed HSM, as neither Azure's roles nor access policies count for its keys: az keyvault role assignment create --hsm-name NAME --role "Managed HSM Crypto User" --assignee OBJECT-ID --scope /keys (Managed HSM Crypto Officer to recover keys). ` + throughGroup
)

// vaultAdvice is about what a vault or a managed HSM answers. The names are those of
// its error bodies: Microsoft's pages "Azure Key Vault REST API error codes" and
// "Troubleshooting Azure Key Vault access policy issues", and TROUBLESHOOTING.md of
// its .NET SDK.
func vaultAdvice() []adviceRow {
	named := func(advice string, names ...string) adviceRow {
		return adviceRow{party: Vault, named: names, advice: advice}
	}
	rows := []adviceRow{
		{party: Vault, host: hsmDomain, named: []string{"ForbiddenByPolicy", "ForbiddenByRbac", "AccessDenied"}, advice: hsmRole},
		named("Give the identity key permissions: az keyvault set-policy --name VAULT --object-id OID --key-permissions get wrapKey unwrapKey (and backup, restore or rotate where used); the message names OID and permission. "+throughGroup,
			"ForbiddenByPolicy"),
		named("Assign the role Key Vault Crypto Service Encryption User (Crypto Officer for backup and rotation) on the vault: Access control (IAM), Add role assignment. It takes up to 10 minutes. "+throughGroup,
			"ForbiddenByRbac"),
		named("Add the client address in the message to the vault's firewall (Networking, Firewalls and virtual networks, or az keyvault network-rule add --name VAULT --ip-address ADDRESS), or let this machine's subnet or private endpoint in.",
			"ForbiddenByFirewall"),
		named("Connect through the vault's private endpoint, as public access is off: nslookup VAULT.vault.azure.net must give a private address on this machine. If it gives a public one, link the private DNS zone privatelink.vaultcore.azure.net to this network.",
			"ForbiddenByConnection"),
		named("Allow the operation on this version of the key: az keyvault key set-attributes --vault-name VAULT --name KEY --version VERSION --ops wrapKey unwrapKey. The list replaces the old one. A key on an elliptic curve (EC) never wraps: use an RSA key.",
			"KeyOperationForbidden"),
		named("Enable this version of the key again: az keyvault key set-attributes --vault-name VAULT --name KEY --version VERSION --enabled true. Databases and backups made with it need it even after a rotation.",
			"KeyDisabled"),
		named("Wrap with a newer version (az keyvault key rotate --vault-name VAULT --name KEY), or set a later end of this one: az keyvault key set-attributes ... --version VERSION --expires 2030-12-31T00:00:00Z. Unwrapping with the expired version still works, so keep it enabled: databases and backups need it.",
			"KeyExpired"),
		named("Wait until the key's activation date, or set an earlier one: az keyvault key set-attributes --vault-name VAULT --name KEY --version VERSION --not-before 2020-01-01T00:00:00Z. Until then the vault only unwraps with it. Permissions and roles are not the cause.",
			"KeyNotYetValid"),
		named("Read the message for who is refused, and give that identity get, wrapKey and unwrapKey on the vault; for a Microsoft service, allow trusted services under Networking. A role takes up to 10 minutes. "+throughGroup,
			"AccessDenied"),
		named("Wait until the deletion has finished, some seconds as a rule; then recover the key if it is still needed.",
			"ObjectIsBeingDeleted"),
		named("Recover the deleted key of this name: az keyvault key recover --vault-name VAULT --name KEY. Purge it only if no database and no backup needs it any more.",
			"ObjectIsDeletedButRecoverable"),
		named("Look for a key of the same name, present or deleted, in this vault; wait a moment if one was just deleted, and repeat.",
			"Conflict"),
		named("Wait and lower the rate: unwrap once and keep the result, use smaller or fewer keys, or spread the load over several vaults.",
			"Throttled"),
		named("Compare key name and version with the vault's list (az keyvault key list-versions --vault-name VAULT --name KEY). If it was deleted, recover it: az keyvault key recover. Never create a new key of the same name in its place.",
			"KeyNotFound"),
		named("Read the message for what the vault dislikes: key name, algorithm, a value of the wrong length, or a backup from another subscription or geography.",
			"BadParameter"),
		named("Wait and repeat: for some minutes the vault does not know the key that signed the token. This passes, and is known to happen in single regions.",
			"AKV10046"),
		named("Check what the token was asked for, as it is for another service: the resource option of the client, or the audience that the token source asks for. A vault wants https://vault.azure.net without a slash at the end.",
			"AKV10022"),
		named("Use an identity of the vault's own tenant, as the token comes from another one: az keyvault show --name VAULT --query properties.tenantId tells the vault's. A vault that moved to another subscription may still have its old tenant.",
			"AKV10032"),
	}
	for _, x := range []struct {
		code   Code
		host   string
		advice string
	}{
		{ErrorHttpOperationForbidden, hsmDomain, hsmRole},
		{SCPErrProviderError, "", "Check that the address is that of a real vault: its list of keys never ends, as its pages link to themselves or are all empty."},
		{ErrorHttpResponseCodeThrottled, "", "Wait as long as the error says, then lower the rate: unwrap once and keep the result, or spread the keys over several vaults."},
		{ErrorHttpResponseCodeClientError, "", "Read the message for what the vault dislikes; most often it is the key name, which has letters, digits and hyphens only. Without a message, look for a proxy that answers in the vault's place."},
		{ErrorHttpResponseCodeServerError, "", "Wait and repeat: the fault is inside the vault. If it stays, look at Azure's service health for the vault's region, and give the request id to Microsoft's support."},
		{ErrorHttpResourceNotFound, "", "Check that the host in the error is the vault that is meant; then compare key name and version with its list of keys, and look among its deleted keys."},
		{ErrorHttpOperationForbidden, "", "Read the message. Without one, look for a proxy that answers in the vault's place; else give the identity get, wrapKey and unwrapKey, or the role Key Vault Crypto Service Encryption User, and look at the vault's firewall and whether the key is enabled. A role takes up to 10 minutes. " + throughGroup},
		{ErrorUnknown, "", "Look for a proxy or portal that answers in the vault's place: a vault does not answer with this status. Redirects are not followed, as they would hand on what was sent."},
		{ErrorAKVDoesNotExist, "", "Look up the vault's name on this machine (nslookup VAULT.vault.azure.net). Check its spelling, the suffix of its cloud and the deleted vaults (az keyvault list-deleted); with a private endpoint, link the private DNS zone privatelink.vaultcore.azure.net to this network."},
	} {
		rows = append(rows, adviceRow{party: Vault, host: x.host, code: x.code, advice: x.advice})
	}
	return append(rows, adviceRow{
		party: Vault, phase: PhaseResolve,
		advice: "Test name resolution on this machine: nslookup VAULT.vault.azure.net. The DNS server failed or did not answer, so nothing is known about the vault itself. Check the DNS servers that this machine uses, and with a private endpoint their forwarding to Azure (168.63.129.16).",
	})
}

// platformAdvice is about the endpoint on this machine that gives managed
// identities: Microsoft's page "How to use managed identities for Azure resources on
// an Azure VM to acquire an access token", error handling.
func platformAdvice() []adviceRow {
	row := func(code Code, advice string) adviceRow {
		return adviceRow{party: ManagedIdentity, code: code, advice: advice}
	}
	named := func(advice string, names ...string) adviceRow {
		return adviceRow{party: ManagedIdentity, named: names, advice: advice}
	}
	return []adviceRow{
		named("Assign the managed identity to this machine again: it was deleted, or moved to another tenant, since it was assigned. For a system-assigned one: Security, Identity in the portal, Off and then On; then give the new identity its role on the vault.",
			"AADSTS700016", "AADSTS7000229"),
		named("Check the cloud of the vault and the resource option: this identity's tenant does not know the service that the token was asked for.",
			"AADSTS500011", "AADSTS50001"),
		row(ErrorHttpSendRequest, "Check that this machine is one of Azure's, or has the Azure Arc agent: nothing answers at the identity endpoint in the error. In a container or a pod, let the address 169.254.169.254 pass, or use a workload identity. Elsewhere use an application."),
		row(ErrorHttpAttemptConnect, "Check that this machine is one of Azure's, or has the Azure Arc agent: it has no way to the identity endpoint in the error. In a container or a pod, let the address 169.254.169.254 pass."),
		row(ErrorAKVDoesNotExist, "Check the variable IDENTITY_ENDPOINT of the service: the host that it names is not known on this machine."),
		row(ErrorHttpResponseCodeUnauthorized, "Restart the service so that it reads IDENTITY_ENDPOINT and IDENTITY_HEADER anew (App Service), or add its account to the group himds (Azure Arc: sudo usermod -aG himds ACCOUNT; on Windows the group Hybrid agent extension applications) and restart it."),
		row(ErrorHttpResponseCodeClientError, "Assign the managed identity to this machine: Security, Identity in the portal, or az vm identity assign -g GROUP -n MACHINE --identities ID. With a user-assigned one compare the client id, object id or resource id; if there are several and none is named, name one. A new assignment takes some minutes."),
		row(ErrorHttpOperationForbidden, "Check where the program runs: Azure's identity endpoint does not answer 403. Docker Desktop, a proxy or a network policy answers for 169.254.169.254. Run on an Azure machine, let the address pass, or use an application or a workload identity."),
		row(ErrorHttpResourceNotFound, "Wait two minutes and repeat: the identity endpoint answers 404 while it is being updated. If it stays, check that this machine is an Azure machine with a managed identity (Security, Identity in the portal)."),
		row(ErrorHttpResponseCodeThrottled, "Wait a minute, then ask for fewer tokens: the identity endpoint of a machine allows about 20 requests a second for all its programs together. Share one client, which keeps its token."),
		row(ErrorHttpResponseCodeServerError, "Wait a minute and repeat. If it stays, restart the agent (Azure Arc: azcmagent check, then the service himds) or the machine, and look at Azure's service health for its region."),
		row(ErrorUnknown, "Check what answers at the host in the error: an identity endpoint does not answer with this status. Look for a portal or container network that redirects the address 169.254.169.254."),
		row(ErrorGetTokenFailedToGetToken, "Check this machine's clock and restart the agent that gives managed identities: its token has expired on arrival, or is not one."),
		row(ErrorGetTokenOutOfMemoryConvertResponseString, "Check what answers at the host in the error; raise Limits.Token only if the reply is a token."),
		row(ErrorGetTokenNotFound, "Check what answers at the host in the error: it is JSON, but no token. Restart the agent that gives managed identities."),
		row(ErrorGetTokenJsonParser, "Check what answers at the host in the error: it is not JSON. Look for a portal or container network that answers for the address 169.254.169.254."),
		row(ErrorGetTokenExtractToken, "Restart the agent that gives managed identities, and update it: the token in its reply cannot be read."),
	}
}

// proxyAdvice is about the proxy in between. Its status is its own, not that of
// the host behind it.
func proxyAdvice() []adviceRow {
	row := func(status int, phase Phase, advice string) adviceRow {
		return adviceRow{party: Proxy, status: status, phase: phase, advice: advice}
	}
	return []adviceRow{
		row(407, "", "Give the proxy a user and password, with special characters percent-encoded: HTTPS_PROXY=http://USER:PASSWORD@PROXY:8080. Only basic authentication works; for NTLM or Kerberos run a relay such as cntlm or px on this machine and name that as the proxy."),
		row(403, "", "Ask whoever runs the proxy to allow CONNECT from this machine to port 443 of login.microsoftonline.com and *.vault.azure.net, or the hosts of your cloud. The proxy refused; the host behind it was not asked."),
		row(0, PhaseResolve, "Correct the proxy's name (HTTPS_PROXY, the proxy option, or netsh winhttp show proxy): name resolution on this machine does not find it. Restart the service afterwards, as the settings are read once."),
		row(0, PhaseDial, "Check the proxy's address and port (HTTPS_PROXY, the proxy option, or netsh winhttp show proxy), and that this machine may connect to it: Test-NetConnection PROXY -Port PORT. Restart the service afterwards, as the settings are read once."),
		row(0, PhaseTLS, "Check whether the proxy speaks TLS at all: most want http:// in their own address, for https requests too. If it does, trust the root CA that its certificate is from."),
		row(0, PhaseProxy, "Look in the proxy's log for this machine's CONNECT requests: the proxy hung up, did not answer, or could not reach the host behind it. Try it with curl -v -x http://PROXY:PORT https://login.microsoftonline.com as the service account."),
	}
}

// localAdvice is about this machine, where the code alone does not say enough.
func localAdvice() []adviceRow {
	noToken := func(kind CredentialKind, advice string) adviceRow {
		return adviceRow{party: Local, credential: kind, code: ErrorGetTokenFailedToGetToken, advice: advice}
	}
	return []adviceRow{
		// The remedies of these three also think of Microsoft's connectors.
		{
			party: Local, code: SCPErrFailure,
			advice: "Allow the call more time, or start fewer calls at once: its time was up while it waited for its turn, or for a token that another call was fetching.",
		},
		{
			party: Local, code: SCPErrNotSupported,
			advice: "Use an RSA or RSA-HSM key of 2048, 3072 or 4096 bits, with RSA1_5, RSA-OAEP or RSA-OAEP-256; EC keys do not wrap. The key that proves the identity has to be RSA as well.",
		},
		{
			party: Local, code: SCPErrPasswordTooShort,
			advice: "Set SECRET with ALTER CREDENTIAL to the client id without hyphens directly followed by the secret's value.",
		},
		// Only who has a SECRET is told about it: aad.ParseSecret's errors are about a
		// client secret, and others with this code are not.
		{
			party: Local, credential: CredentialSecret, code: SCPErrInvalidArgument,
			advice: "Correct what the error names: SECRET is the client id without hyphens, directly followed by the secret's value.",
		},
		{
			party: Local, code: SCPErrInvalidArgument,
			advice: "Correct the argument that the error names.",
		},
		noToken(CredentialFederated, "Check the file that AZURE_FEDERATED_TOKEN_FILE names: it must be there, hold one token and be readable for the service account. In AKS the pod needs the label azure.workload.identity/use: \"true\" and a service account with the annotation azure.workload.identity/client-id."),
		noToken(CredentialManaged, "Add the service account to the group himds (sudo usermod -aG himds ACCOUNT; on Windows the group Hybrid agent extension applications) and restart the service: it may not read the file with which Azure Arc proves who asks."),
		noToken(CredentialSource, "Look at the cause, which is the token source's own error. If it says that the token has expired, set this machine's clock."),
		noToken("", "Look at the cause. If it names a file, see that it is there and that the service account may read it."),
		{
			party: Local, phase: PhasePrepare, code: ErrorHttpSendRequest,
			advice: "Allow the call more time, or start fewer calls at once: its time was up before anything was sent.",
		},
	}
}

// transportAdvice is about the way there and back, whoever is at its end. It names
// nobody: the host in the error does.
func transportAdvice() []adviceRow {
	return []adviceRow{
		{code: ErrorHttpAttemptConnect, advice: "Check interfaces, default route and VPN of this machine: it has no way to the host in the error. Test it as the service account: Test-NetConnection HOST -Port 443."},
		{phase: PhaseDial, advice: "Open port 443 to the host in the error for this machine: firewall, network security group, route. Test it as the service account: Test-NetConnection HOST -Port 443, or curl -v https://HOST. If only a proxy leads outside, set HTTPS_PROXY for the service."},
		{phase: PhaseTLS, advice: "Find out who answers: openssl s_client -connect HOST:443 -servername HOST. If it is a proxy or firewall that inspects TLS, trust its root CA, on this machine or in akv.Options.RootCAs, or exempt the host from inspection. If the dates are at fault, set this machine's clock."},
		{phase: PhaseWrite, advice: "Repeat the operation: the connection broke, or the time was up, while the request was being sent. If it fails again, look for a proxy or firewall that closes connections."},
		{code: ErrorHttpGetResponseCode, advice: "Repeat the operation: no usable answer came. If it fails again, look for idle timeouts of proxies and firewalls on the way, and check that the host in the error is the right one."},
		{code: ErrorHttpQueryHeader, advice: "Look for a proxy or inspection device on the way that changes replies, and let the host in the error pass it untouched."},
		{code: ErrorHttpQueryHeaderUpdateBufferLength, advice: "Look for a proxy or inspection device on the way that rewrites the length of replies, and let the host in the error pass it untouched."},
		{code: ErrorHttpQueryHeaderOutOfMemoryCopyHeader, advice: "Find out which server or proxy sends so long a header value; raise Limits.HeaderValue only if it is a proper one."},
		{code: ErrorHttpQueryHeaderOutOfMemoryReallocBuffer, advice: "Find out which server or proxy adds so many headers; raise Limits.Header only if they are proper ones."},
		{code: ErrorHttpReadData, advice: "Repeat the operation: the reply broke off. If it fails again, look for a proxy, firewall or weak line between this machine and the host in the error."},
		{code: ErrorHttpGetResponseOutOfMemoryCreateTempBuffer, advice: "Check that the host in the error answers and not a proxy's page; raise Limits.Body only for a proper reply."},
		{code: ErrorHttpGetResponseOutOfMemoryAppendResponse, advice: "Check that the host in the error answers and not a proxy's download; raise Limits.Body only for a proper reply."},
		{code: ErrorHttpGetResponseOutOfMemoryGetResultString, advice: "Start fewer operations at once, or raise Limits.Held."},
	}
}

// otherAdvice is each party's row for everything else.
func otherAdvice() []adviceRow {
	return []adviceRow{
		{party: Vault, advice: "Read message and cause in the error; give the request id to Microsoft's support if they do not help. The vault is the party that failed."},
		{party: Authority, advice: "Read message and cause in the error; give the trace id to Microsoft's support if they do not help. The login endpoint is the party that failed."},
		{party: ManagedIdentity, advice: "Check that this machine has a managed identity (Security, Identity in the portal) and that its identity endpoint can be reached; then read message and cause in the error."},
		{party: Proxy, advice: "Check the proxy's address, its login and its log, and whether the service account may use it."},
		{party: Local, advice: "Look at the cause in the error: the failure is on this machine."},
	}
}
