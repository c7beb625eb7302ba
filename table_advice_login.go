package ekm

import "strconv"

// The numbers are those that a daemon can meet: a program that asks for a token in
// its own name (OAuth 2.0 client credentials) with a client secret, a certificate or
// a federated token. They come from Microsoft's page "Microsoft Entra authentication
// and authorization error codes", the workload identity federation pages, and
// public issues of Azure/azure-workload-identity, Azure/login and the MSAL libraries.
//
// Left out of the page's 300 are those that such a program does not meet:
//
//   - users and their sessions, passwords, consent and second factors: 16xxx, 5005x
//     to 5008x, 50097 to 50180 but for 50128, 50131 and 50166, 65xxx but for 650052
//     and 650057, 120xxx, 130xxx, 1000000 to 1000104: nobody signs in
//   - browsers, redirects and SAML: 50011, 501xxx, 700054, 75xxx, 76xxx, 900971:
//     no page is shown
//   - codes, refresh tokens and devices that wait for one: 54005, 70000, 70008, 70016
//     to 70019, 70043, 700082, 700084, 90119, 90120: none is used
//   - on-premises agents and Kerberos: 80xxx, 81xxx: nothing is asked of them
//   - what our own request is never like, such as two resources in one scope (700022),
//     a resource for the v2 endpoint (901002), another grant type (70003), a regional
//     endpoint for Microsoft's own (100007)
//   - faults with no way out but support: they have the row of their status
//
// Kept in spite of that are 50034, 135011 and 7000114, which were reported where a
// token source or a proxy for requests acts for somebody else.

// entra is a row about one or more numbers of the login endpoint.
func entra(advice string, numbers ...int) adviceRow {
	named := make([]string, len(numbers))
	for i, n := range numbers {
		named[i] = "AADSTS" + strconv.Itoa(n)
	}
	return adviceRow{party: Authority, named: named, advice: advice}
}

// with makes the row one about this kind of credential.
func (r adviceRow) with(kind CredentialKind) adviceRow {
	r.credential = kind
	return r
}

// federationAdvice is about tokens of another issuer (workload identity). It does not
// mention what such an identity does not have: client secrets, certificates, and
// credentials in SQL Server.
func federationAdvice() []adviceRow {
	return []adviceRow{
		entra("Compare issuers: the message shows the token's, and az ad app federated-credential list --id CLIENT_ID (az identity federated-credential list for a managed identity) the trusted one. They must be equal, a slash at the end included. A rebuilt cluster has a new issuer. A change takes some minutes.",
			700211),
		entra("Use one audience in the federated credential and in the token: api://AzureADTokenExchange, with USGov or China at its end in those clouds. In Kubernetes it is the audience of the projected service account token. The message shows the audience that was sent.",
			700212),
		entra("Compare subjects: the message shows the token's, and az ad app federated-credential list --id CLIENT_ID (az identity federated-credential list for a managed identity) the trusted one. In Kubernetes it is system:serviceaccount:NAMESPACE:ACCOUNT. A change takes some minutes.",
			700213, 7002137),
		entra("Correct the letter case of the federated credential's subject: it must be that of the token, which the message shows. Since 2024 upper and lower case count.",
			7002138),
		entra("Compare issuer, subject and audience of the federated credential with the token's, which the message shows: az ad app federated-credential list --id CLIENT_ID lists what is trusted. Slashes at the end and letter case count. A change takes some minutes.",
			70021),
		entra("Add a federated credential for the token's issuer and subject: az ad app federated-credential create --id CLIENT_ID --parameters FILE, or az identity federated-credential create for a managed identity. If there is one, check that AZURE_CLIENT_ID names that application, and wait some minutes.",
			70025),
		entra("Use a token of an issuer outside Entra ID, such as a Kubernetes cluster. Of Entra ID's own tokens only those of a managed identity serve as federated tokens, asked for with the audience api://AzureADTokenExchange.",
			700222, 700226, 700229),
		entra("Allow this issuer in the tenant's policy for workload identity federation, or have its administrator do so: the policy forbids federation, or this issuer, or a claim is missing that it demands. The message tells which.",
			700223, 700236, 700238, 7002381),
		entra("Open the token issuer to the internet: the login endpoint has to read ISSUER/.well-known/openid-configuration and the keys that it names, and could not. Test both addresses from outside your network, and their TLS.",
			90061, 50166, 501661, 900612),
		entra("Check that the token file is the newest of the issuer that the federated credential names: the login endpoint knows no key of that issuer which made this signature. After a rotation of the cluster's signing keys wait some minutes.",
			50013),
		entra("Check that the token file is being renewed, and set this machine's clock: the federated token is outside its time, and the message shows both times. In Kubernetes restart the pod if its file is old.",
			700024).with(CredentialFederated),
		entra("Check AZURE_CLIENT_ID (in AKS the annotation azure.workload.identity/client-id): no application and no managed identity of the vault's tenant has this client id. An application of another tenant needs az ad sp create --id CLIENT_ID in the vault's.",
			700016, 700011, 70001).with(CredentialFederated),
		entra("Check that the token file holds one whole token of the issuer that the federated credential names, and that AZURE_CLIENT_ID is the application that trusts it.",
			50012, 50027, 50120, 70002, 700021, 700023, 700027, 700030, 1000502,
			7000110, 7000214, 7000215, 7000222, 7000232, 7000274, 7000277).with(CredentialFederated),
	}
}

// loginAdvice is about what the login endpoint names.
func loginAdvice() []adviceRow {
	return []adviceRow{
		entra("Upload this certificate: App registrations, the application, Certificates & secrets, Certificates (or az ad app credential reset --id CLIENT_ID --cert @FILE --append); or use the one that is there. Compare the thumbprint in the message.",
			700027),
		entra("Upload this certificate to the application (App registrations, Certificates & secrets, Certificates), or use the one that is there: the signature is not by a key that the application has.",
			50012, 70002).with(CredentialCertificate),
		entra("Use a certificate whose subject name and issuer the application accepts, and which belongs to the same cloud as the login host. For trust by subject name send the chain, leaf first.",
			700030),
		entra("Create a new certificate and upload it to the application (App registrations, Certificates & secrets, Certificates): this one has been revoked. Ask why before you replace it.",
			7000214, 7000277),
		entra("Create a new certificate and upload it to the application (App registrations, Certificates & secrets, Certificates): this one is outside its time. Check this machine's clock as well.",
			1000502, 7000274),
		entra("Check that key, certificate and thumbprint belong together: the login endpoint does not understand the assertion that they made.",
			50027, 50120),
		entra("Use one application for both: the client id in the assertion is not the one in the request.",
			700021, 7000110),
		entra("Use tenant and login host of the vault's own cloud: the assertion is addressed to another login endpoint than the one that got it.",
			700023),
		entra("Set this machine's clock: the assertion is outside its time, and the message shows the server's.",
			700024),

		entra("Set the client secret again: take the column Value, not Secret ID, from App registrations, Certificates & secrets. It is shown only once; az ad app credential reset --id CLIENT_ID --append makes a new one. In SQL Server: ALTER CREDENTIAL with SECRET = client id without hyphens, then the value, on every server.",
			7000215, 70002),
		entra("Create a new client secret, as this one has expired: App registrations, Certificates & secrets, or az ad app credential reset --id CLIENT_ID --append. Set it with ALTER CREDENTIAL on every server and every node of an availability group that uses it.",
			7000222),
		entra("Use the managed identity itself, or the client id of an application: this client id is a managed identity's, which has no client secret. In SQL Server: CREATE CREDENTIAL with IDENTITY = 'Managed Identity'.",
			7000232),
		entra("Set \"Allow public client flows\" to No (App registrations, the application, Authentication): a public client may not prove its identity.",
			700025),

		entra("Check the client id: no application of the vault's tenant has it. SECRET begins with the application (client) id without hyphens, not with an object id; the value follows directly. An application of another tenant needs az ad sp create --id CLIENT_ID in the vault's.",
			700016, 700011, 70001).with(CredentialSecret),
		entra("Check the client id: no application of the vault's tenant has it. Use the application (client) id, not an object id. An application of another tenant needs az ad sp create --id CLIENT_ID in the vault's.",
			700016, 700011, 70001),
		entra("Create the application's service principal in the vault's tenant, as an administrator there: az ad sp create --id CLIENT_ID. The application exists, but in another tenant only.",
			7000229),
		entra("Enable the application: Enterprise applications, the application, Properties, \"Enabled for users to sign-in\" Yes. An administrator has disabled it; ask why first.",
			7000112),
		entra("Use an application's or identity's own token, not one on behalf of somebody else: look at the token source, and at any gateway that asks for tokens in this program's place.",
			7000114),
		entra("Check the client id and the tenant: the login endpoint looked for an account that the tenant does not have. Use the application (client) id of an application in the vault's tenant.",
			50034),
		entra("Enable the device in the Entra admin center (Devices, All devices), or have an administrator do so: the machine that the token was asked from is disabled there.",
			135011),

		entra("Find the policy: Entra admin center, Sign-in logs, Service principal sign-ins, tab Conditional Access. Have an administrator exclude this service principal from it, or add this machine's public address to the trusted locations. A new secret or role does not help.",
			53003, 530032, 50131).with(CredentialSecret),
		entra("Find the policy: Entra admin center, Sign-in logs, Service principal sign-ins, tab Conditional Access. Have an administrator exclude this service principal from it, or add this machine's public address to the trusted locations.",
			53003, 530032, 50131),
		entra("Add this tenant to the header Restrict-Access-To-Tenants that your proxy sends, or have whoever runs the proxy do so: it restricts the tenants that may be used from this network.",
			50002, 500021, 500022),

		entra("Check the tenant and the cloud: this login endpoint does not know the tenant. With a vault in a sovereign cloud, use its full host name, such as VAULT.vault.usgovcloudapi.net.",
			90002, 90019, 900023, 50049, 50059, 50128),
		entra("Use the login host of the cloud that application and vault belong to, such as login.microsoftonline.us: tenant and login host are of different clouds.",
			90038, 90051, 900382, 900383, 900384, 900432),
		entra("Give the tenant itself in the authority option, not common, organizations or consumers.",
			50194, 90124, 90130, 9001023),
		entra("Check the tenant: it has been deleted or blocked. If it should be there, have its administrator open a support case.",
			5000224),
		entra("Check the vault's cloud and the resource option: the tenant does not know the service that the token was asked for. A tenant that never had a vault needs az ad sp create --id cfa8b339-82a2-471a-a3c9-0fc0be7a4093, which is Azure Key Vault.",
			500011, 500014, 50001, 650052, 650057),
		entra("Correct the resource option: it has to be the vault's service, such as https://vault.azure.net, without a path.",
			70011, 28002, 28003, 1002012),
		entra("Look for a proxy that strips or changes request bodies, and let the login host pass it untouched: the request arrived without its proof of identity.",
			7000218),
		entra("Look for a proxy that strips or changes request bodies, and let the login host pass it untouched: a field of the request is missing or garbled. The message names it. Check that the client id is not empty.",
			90014, 900144, 90004, 90023, 900561, 9002313),

		entra("Stop the callers that repeat the same failing login, correct the credential, and wait some minutes: the login endpoint saw a loop.",
			50196),
		entra("Wait some minutes and ask for fewer tokens: the login endpoint limits the whole tenant. Share one client, so that its token is used again.",
			90055),
		entra("Wait a minute and repeat: the login endpoint reports a passing fault of its own.",
			90033, 90006, 90012, 90024, 90041, 90090, 90091, 50033),
	}
}

// loginStatusAdvice is about the login endpoint where it names nothing known.
func loginStatusAdvice() []adviceRow {
	row := func(code Code, advice string) adviceRow {
		return adviceRow{party: Authority, code: code, advice: advice}
	}
	return []adviceRow{
		row(ErrorGetTokenBadCredentials, "Compare issuer, subject and audience of the federated credential with those of the token in the file (az ad app federated-credential list --id CLIENT_ID), and check that the file is renewed and this machine's clock is right.").with(CredentialFederated),
		row(ErrorGetTokenBadCredentials, "Check that the certificate is registered with the application (App registrations, Certificates & secrets, Certificates) and has not expired, and this machine's clock.").with(CredentialCertificate),
		row(ErrorGetTokenBadCredentials, "Check the secret's expiry date (App registrations, Certificates & secrets). Set a new one with ALTER CREDENTIAL on every server and every node of an availability group: SECRET is the client id without hyphens, directly followed by the secret's value.").with(CredentialSecret),
		row(ErrorGetTokenBadCredentials, "Read the message for what the login endpoint has against the credential; check its expiry date in the app registration, and this machine's clock."),
		row(ErrorHttpResponseCodeUnauthorized, "Look for a proxy or gateway that answers in place of the login endpoint: Entra ID always gives a reason with a 401, and there is none."),
		row(ErrorHttpResponseCodeThrottled, "Wait as long as the error says, then ask for fewer tokens: the login endpoint limits their rate. Share one client, so that its token is used again."),
		row(ErrorHttpResponseCodeClientError, "Read the message. Check AZURE_CLIENT_ID, and that the application or managed identity is in the vault's tenant.").with(CredentialFederated),
		row(ErrorHttpResponseCodeClientError, "Read the message. Check the client id (SECRET begins with it, without hyphens, and the secret's value follows directly), and that its application is in the vault's tenant.").with(CredentialSecret),
		row(ErrorHttpResponseCodeClientError, "Read the message. Check the client id, and that its application is in the vault's tenant. Without a message, look for a proxy that answers in place of the login endpoint."),
		row(ErrorHttpResponseCodeServerError, "Wait and repeat: the fault is inside the login endpoint. If it stays, look at Entra ID's service health and give the trace id to Microsoft's support."),
		row(ErrorHttpResourceNotFound, "Check the authority option: the login host has no token endpoint at this address. With AD FS or Azure Stack, set the V1 option."),
		row(ErrorHttpOperationForbidden, "Look for a proxy or firewall that answers in place of the login endpoint, and let the host in the error pass it: Entra ID does not answer 403 to a token request."),
		row(ErrorUnknown, "Look for a proxy or portal that answers in place of the login endpoint: it does not answer with this status. Redirects are not followed, as they would hand on what was sent."),
		row(ErrorAKVDoesNotExist, "Test name resolution on this machine: nslookup HOST with the login host in the error. Its name is not known: the DNS server is wrong or blocks it, or the authority option is misspelt."),
		{
			party: Authority, phase: PhaseResolve,
			advice: "Test name resolution on this machine: nslookup HOST with the login host in the error. The DNS server failed or did not answer. Check the DNS servers that this machine uses.",
		},
		row(ErrorGetTokenOutOfMemoryConvertResponseString, ErrorGetTokenOutOfMemoryConvertResponseString.Remedy()),
		row(ErrorGetTokenFailedToGetToken, "Read the cause. If the token has expired already, set this machine's clock. Else look for a proxy that answers in place of the login endpoint."),
		row(ErrorGetTokenNotFound, ErrorGetTokenNotFound.Remedy()),
		row(ErrorGetTokenJsonParser, ErrorGetTokenJsonParser.Remedy()),
		row(ErrorGetTokenExtractToken, ErrorGetTokenExtractToken.Remedy()),
	}
}
