package fakevault

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
)

// testingKey signs the fake's access tokens and seals its backups. It is published here and protects nothing. A fixed
// key makes New cheap and lets one server's tokens be recognised in another's log. The odd label keeps scanners for
// leaked secrets quiet, as in net/http/internal/testcert.
const testingKey = `
-----BEGIN RSA TESTING KEY-----
MIIEpAIBAAKCAQEA32/4m1WUid+HYluADUYACWYVXuu2bjmmT37aLOz+c1zBvqwh
lMhYKviYZ3cAtHnZ2wfRoE7nAv32ck/IFd2T/QrFINl3L72CNgyHElmRPq+wUM1G
XrRUxyUEe+m53oxiVSQhJw5qDKATdWBnPTlkJWSMp3Ra6gMpDHxs6kQ/AdPsy2fR
qjLapnSHqtT3kWRRZMY7dARV8XjAgtbkMv2/uBVQLEzAgQrpaMX9BymrPPmqV7uV
siisozXuNIWNbCcIcq98GBb7IrnMZnQJvZ7zy2s+burmi4vR666KcgGpzAKGX5r2
uI5uAzQbEbGS2dn6KI8ns/3f8xVQj/R9Fwns9wIDAQABAoIBABdfshz51RSelB3s
yYFZ9yCvPla+3MeSHfzx8xFBEkCaOFBh1w977TFC7pqK6ewh/8bN02xBj3a81N5S
IfHGS2LCENYmDwr+TalUIoB/wIB+G46QXXyvFlv7hN5mQxdDY06vKA1bENVU8kQp
+2goYVAXa9lhWYNiekBVTIWDRyjBwyf+93ZI0UNkjgn20Wm8UmH0TO/2hX2i8qa6
DURFFyMIEm3eGvE7ZFY/dvQHu0j7U5BaHyLeagO4f93Ch686RE3a//tj2OytxneX
A0pFAOdVD2EVzn5+/vb1GjB2uMNr2CN/wjPNezBQ9+1JudcCDdEe0vU2bI1lYTZ5
jSyDGw0CgYEA9vfpNTspTrH67A0VRSf1gtAcPK6+8dcyxqjkfLTxgekwjaYkB9Ke
md6vJrETHF26bLUVoTWockRvJ9YR2wM+vdhVX9slHYP9PaewRo7uki3Rt68ue6he
iLfv0FWWGDGXUTa6VTuh8JxrwgxZvEB694jg75m3moZLUrCPVtZU0uMCgYEA55vD
/Ci6KlILaZkS+7JcySfyWK006C0Z+NFmmhBySkmsdt/hdUAjU4E1p3/D/76Lib9J
plulR8Oh7dWYxy+1uAMcnEOSp4mjUPOlUNXYVdpw7evliFs9Q03X8FOv+WeDc6rQ
TJ32lzx4UWsyK180cttAgouzWGHISEwwa0yT1d0CgYEAuAClJB/b+uHoDY8B1fCb
nsbnAt8/LHglQJX9BlzZwuy2XBL4rUtjF0kuPimYD35Vs0CHyQBtbBVIq+l2jDKy
wEc59J0V3hPEzfbuAuPjI843fh9rBn6/UCWa6yGZHpV0I/IeifpQATDJqF4DTZrN
AzhcPqfMf7imzgj2AsDVmfkCgYAZzxLE26j7JE9fQg6Ke7K5O7lWxl5Z7QSy5GrB
ikmiG5mbWZFfJnmJSaG3+5XUvt//xpAneJjvaU53GVFACQH/8mDSzPjfsIfBcpUe
b+X+kyv4Z0wZqMkn4dnJTxoR+cX9MrCpiQS8j6F8uSxLBv3qOqJyqayfka3m2I6g
tlTXBQKBgQDiBMzDVYKiNgr6ulNcs6mH9aHphaBGsuPQd4HsrFSnxzQPrVBbuXPK
RohSnYABEAa10vD3kHoXn/6jQtSTFTGf1I7H2eDmvhhfbB/RyNQSewrR3iPYQhkC
fLFR+MUby7flsNL+Vl4d+9QSYid73aZmIZpIqTvFiPg2PT44qudgdg==
-----END RSA TESTING KEY-----
`

func mustSigningKey() *rsa.PrivateKey {
	block, _ := pem.Decode([]byte(strings.ReplaceAll(testingKey, "TESTING KEY", "PRIVATE KEY")))
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	return key
}
