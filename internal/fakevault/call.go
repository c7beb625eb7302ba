package fakevault

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
)

// Operation names what a request asks for, in [Fault], [Entry] and [Server.Deny].
type Operation string

// The operations. A request that is none of them has the empty operation.
const (
	OpCreate            Operation = "create"
	OpImport            Operation = "import"
	OpGet               Operation = "get"
	OpList              Operation = "list"
	OpVersions          Operation = "versions"
	OpUpdate            Operation = "update"
	OpRotate            Operation = "rotate"
	OpWrap              Operation = "wrapKey"
	OpUnwrap            Operation = "unwrapKey"
	OpEncrypt           Operation = "encrypt"
	OpDecrypt           Operation = "decrypt"
	OpSign              Operation = "sign"
	OpVerify            Operation = "verify"
	OpBackup            Operation = "backup"
	OpRestore           Operation = "restore"
	OpDelete            Operation = "delete"
	OpGetDeleted        Operation = "getDeleted"
	OpListDeleted       Operation = "listDeleted"
	OpRecover           Operation = "recover"
	OpPurge             Operation = "purge"
	OpGetRotationPolicy Operation = "getRotationPolicy"
	OpSetRotationPolicy Operation = "setRotationPolicy"
	OpRandom            Operation = "random"

	OpToken      Operation = "token"      // Entra's token endpoint, v1 and v2
	OpIMDS       Operation = "imds"       // managed identity of a virtual machine
	OpAppService Operation = "appService" // managed identity of App Service and Functions
	OpArc        Operation = "arc"        // managed identity of an Azure Arc server
)

type party int

const (
	partyNone party = iota
	partyVault
	partyEntra
	partyIMDS
	partyAppService
	partyArc
)

// call is one request on its way through the server.
type call struct {
	s    *Server
	r    *http.Request
	ctx  context.Context
	body []byte

	inProcess bool // came by the in-process transport
	party     party
	op        Operation
	name      string // key name as the client wrote it, unescaped
	version   string
	requestID string
	caller    *claims  // of the verified token
	faults    []string // names of the scripted faults that were applied
}

const imdsHost = "169.254.169.254"

// authorityAliases are the hosts of one cloud, as the discovery document of Entra lists them.
func authorityAliases() [][]string {
	return [][]string{
		{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"},
		{"login.partner.microsoftonline.cn", "login.chinacloudapi.cn"},
		{"login.microsoftonline.us", "login.usgovcloudapi.net"},
		{"login.microsoftonline.de"},
	}
}

// authorityHosts are the hosts at which Entra is played: all of the cloud that the configured host belongs to.
func authorityHosts(configured string) []string {
	for _, row := range authorityAliases() {
		if slices.Contains(row, configured) {
			return row
		}
	}
	return []string{configured}
}

// Hosts lists every host name that the server plays, without ports.
func (s *Server) Hosts() []string {
	return slices.Concat([]string{hostOnly(s.opts.VaultHost)}, s.entraHosts, []string{imdsHost, "localhost", "127.0.0.1", "::1"})
}

func (s *Server) plays(host string) bool {
	return host == s.opts.VaultHost || host == imdsHost || isLoopback(host) || slices.Contains(s.entraHosts, host) ||
		host == hostOnly(s.opts.VaultHost)
}

// hostOnly is host in lower case, without port and brackets.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

func isLoopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// classify finds party and operation. It runs before authentication, because faults are matched by operation.
func (c *call) classify() {
	host, path := hostOnly(c.r.Host), c.r.URL.Path
	lower := strings.ToLower(path)
	switch {
	case host == hostOnly(c.s.opts.VaultHost):
		c.party = partyVault
	case host == imdsHost:
		c.party = partyIMDS
	case isLoopback(host) && lower == "/metadata/identity/oauth2/token":
		c.party = partyArc
	case isLoopback(host) && lower == "/msi/token":
		c.party = partyAppService
	case isLoopback(host) && (strings.HasPrefix(lower, "/keys") || strings.HasPrefix(lower, "/deletedkeys") || lower == "/rng"):
		c.party = partyVault
	case isLoopback(host) && strings.Contains(lower, "/oauth2/"):
		c.party = partyEntra
	case slices.Contains(c.s.entraHosts, host):
		c.party = partyEntra
	}
	switch c.party {
	case partyVault:
		c.route()
	case partyEntra:
		if strings.HasSuffix(lower, "/token") {
			c.op = OpToken
		}
	case partyIMDS:
		c.op = OpIMDS
	case partyAppService:
		c.op = OpAppService
	case partyArc:
		c.op = OpArc
	}
}
