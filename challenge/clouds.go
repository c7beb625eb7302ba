package challenge

// loginHost reports whether host is a login host of Microsoft Entra ID. Each row is
// one cloud's set of aliases with its source.
func loginHost(host string) bool {
	switch host {
	case "login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net", "login-us.microsoftonline.com":
		// Public: the aliases in /common/discovery/instance.
	case "login.partner.microsoftonline.cn", "login.chinacloudapi.cn":
		// China, operated by 21Vianet: the same.
	case "login.microsoftonline.us", "login.usgovcloudapi.net":
		// US Government: the same.
	case "login.microsoftonline.de":
		// Germany, closed in 2021: the same. Microsoft still owns the name.
	case "login.sovcloud-identity.fr", "login.sovcloud-identity.de", "login.sovcloud-identity.sg":
		// Bleu (France), Delos (Germany) and Government of Singapore, since January 2026:
		// AzureAuthorityHosts in the reference of Azure.Identity.
	default:
		return false
	}
	return true
}
