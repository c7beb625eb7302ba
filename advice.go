package ekm

// serviceAdvice is what an operator should do about a cause that the service
// itself named: an AADSTS number of the login endpoint, or an error code of the
// vault. It is empty for every other code. It only words advice: nothing in this
// library decides by these codes, as Microsoft may change them.
func serviceAdvice(code string) string {
	if advice := loginAdvice(code); advice != "" {
		return advice
	}
	return vaultAdvice(code)
}

func loginAdvice(code string) string {
	switch code {
	case "AADSTS7000215":
		return "Set the client secret again and take the secret's value, not its id; the value is shown only once, so create a new secret if it is lost."
	case "AADSTS7000222":
		return "Create a new client secret in the app registration, as this one has expired, and set it with ALTER CREDENTIAL on every server that uses it."
	case "AADSTS7000218":
		return "Supply a client secret or a certificate: the request reached the login endpoint without either. Check that no proxy strips request bodies."
	case "AADSTS7000112":
		return "Enable the application in the tenant's enterprise applications, or use another one: an administrator has disabled it."
	case "AADSTS700016":
		return "Check the client id: no application of the vault's tenant has it. Leave no hyphens in SECRET, and use the application (client) id, not an object id."
	case "AADSTS90002":
		return "Check the tenant and the cloud: this login endpoint does not know the tenant. With a vault in a sovereign cloud, use its full host name."
	case "AADSTS500011":
		return "Check the vault's cloud and the resource option: the tenant does not know the service that the token was asked for."
	case "AADSTS700021":
		return "Use one application for both: the client id in the assertion is not the one in the request."
	case "AADSTS700023":
		return "Use tenant and login host of the vault's own cloud: the assertion is addressed to another login endpoint than the one that got it."
	case "AADSTS700024":
		return "Set this machine's clock: the assertion is outside its time, and the message shows the server's. With a federated token file, check that it is being renewed."
	case "AADSTS700027":
		return "Add this certificate to the app registration, or use the one that is there: compare the thumbprint in the message with those in the portal."
	case "AADSTS50027":
		return "Check that key, certificate and thumbprint belong together: the login endpoint cannot make sense of the assertion."
	case "AADSTS70021":
		return "Compare issuer, subject and audience of the federated credential in the app registration with the token's; after a change, wait some minutes."
	case "AADSTS50196":
		return "Stop the callers that repeat the same failing login, correct the credential, and wait some minutes: the login endpoint saw a loop."
	case "AADSTS90055":
		return "Wait some minutes and ask for fewer tokens: the login endpoint limits the whole tenant. Share one client, so that its token is used again."
	case "AADSTS90033":
		return "Wait a minute and repeat: the login endpoint reports a passing fault of its own."
	}
	return ""
}

func vaultAdvice(code string) string {
	switch code {
	case "ForbiddenByPolicy":
		return "Add the permission that the message names to the vault's access policy for this identity: get, wrapKey and unwrapKey at least, and backup or restore where used."
	case "ForbiddenByRbac":
		return "Assign the role Key Vault Crypto Service Encryption User on the vault to this identity (Crypto Officer for backup and rotation); a new assignment takes some minutes."
	case "ForbiddenByFirewall":
		return "Add the client address in the message to the vault's firewall, or let this machine's subnet or private endpoint in."
	case "ForbiddenByConnection":
		return "Connect through the vault's private endpoint: public access is off. Check that its name resolves to a private address on this machine."
	case "KeyOperationForbidden":
		return "Allow the operation in the key's permitted operations (key_ops: wrapKey, unwrapKey), or use a key that has them."
	case "KeyDisabled":
		return "Enable this version of the key again; databases and backups made with it need it even after a rotation."
	case "AccessDenied":
		return "Read the message for who is refused, and grant that identity get, wrapKey and unwrapKey on the vault; for a Microsoft service, allow trusted services."
	case "ObjectIsBeingDeleted":
		return "Wait until the deletion has finished, some seconds as a rule; then recover the key if it is still needed."
	case "ObjectIsDeletedButRecoverable":
		return "Recover the deleted key of this name; purge it only if no database and no backup needs it any more."
	case "Conflict":
		return "Look for a key of the same name, present or deleted, in this vault; wait a moment if one was just deleted, and repeat."
	case "Throttled":
		return "Wait and lower the rate: unwrap once and keep the result, use smaller or fewer keys, or spread the load over several vaults."
	case "KeyNotFound":
		return "Compare key name and version with the vault's list, look among its deleted keys and recover it there; never create a new key of the same name in its place."
	case "BadParameter":
		return "Read the message for what the vault dislikes: key name, algorithm, a value of the wrong length, or a backup from another subscription or geography."
	}
	return ""
}
