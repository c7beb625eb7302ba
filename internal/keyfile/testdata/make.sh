#!/bin/sh
# Makes the test files of this folder with the tools that operators use.
# Needs OpenSSL 3 with its legacy provider, keytool (JDK 17), python3 with
# "cryptography", and base64, iconv and unix line tools. Run it in this folder.
#
# New files mean a new key: thumbprints.txt is written anew with them, and
# nothing else in the tests names a thumbprint.
set -eu

PW=ekm-test-1
UMLAUT=Schlüssel-ß
EMOJI='key🔑pass'
days=36500
export LC_ALL=C.UTF-8

rm -rf work
mkdir work
trap 'rm -rf work' EXIT

# --- one RSA-2048 key, and root -> issuer -> leaf over it -------------------
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out work/root.key
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out work/issuer.key
openssl req -new -x509 -key work/root.key -subj '/O=ekm test only/CN=ekm test root' -days $days \
	-addext 'basicConstraints=critical,CA:TRUE' -out root.pem
cat >work/ca.ext <<'X'
basicConstraints=critical,CA:TRUE
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
X
cat >work/leaf.ext <<'X'
basicConstraints=CA:FALSE
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
X
openssl req -new -key work/issuer.key -subj '/O=ekm test only/CN=ekm test issuer' |
	openssl x509 -req -CA root.pem -CAkey work/root.key -days $days -extfile work/ca.ext -out issuer.pem
openssl req -new -key key.pem -subj '/O=ekm test only/CN=ekm test principal' |
	openssl x509 -req -CA issuer.pem -CAkey work/issuer.key -days $days -extfile work/leaf.ext -out leaf.pem
# The same key in an older certificate, as after a renewal that kept the key.
openssl req -new -x509 -key key.pem -subj '/O=ekm test only/CN=ekm test principal, old' -days 30000 -out old.pem
cat issuer.pem root.pem >work/ca.pem
cat leaf.pem issuer.pem root.pem >work/chain.pem
# Certificates and keys that do not fit: another RSA key, a small one, an EC one.
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out work/other.key
openssl req -new -x509 -key work/other.key -subj '/O=ekm test only/CN=ekm test stranger' -days $days -out stranger.pem
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out work/small.key
openssl req -new -x509 -key work/small.key -subj '/O=ekm test only/CN=ekm test small' -days $days -out work/small.pem
openssl req -new -x509 -key work/root.key -subj '/O=ekm test only/CN=ekm test ec' -days $days -out work/ec.pem
openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out work/pss.key
openssl req -new -x509 -key work/pss.key -subj '/O=ekm test only/CN=ekm test pss' -days $days -out work/pss.pem

# What "openssl x509 -fingerprint" says of them: the tests' independent oracle.
for f in leaf old issuer root stranger; do
	for h in sha1 sha256; do
		printf '%s %s %s\n' "$f" "$h" \
			"$(openssl x509 -in $f.pem -noout -fingerprint -$h | sed 's/.*=//')"
	done
done >thumbprints.txt

# --- PFX, OpenSSL ------------------------------------------------------------
p12() { # p12 name password options...
	name=$1 pass=$2
	shift 2
	openssl pkcs12 -export -inkey key.pem -in leaf.pem -passout "pass:$pass" -out "$name.pfx" "$@"
}
old='-provider default -provider legacy'
des='-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES'

p12 openssl3 $PW
p12 openssl3-nopass ''
p12 openssl3-chain $PW -certfile work/ca.pem
p12 openssl3-umlaut "$UMLAUT"
p12 openssl3-emoji "$EMOJI"
p12 openssl3-600k $PW -iter 600000
p12 openssl-legacy $PW -legacy
p12 openssl-legacy-nopass '' -legacy
p12 openssl-legacy-chain $PW -legacy -certfile work/ca.pem
p12 openssl-legacy-emoji "$EMOJI" -legacy
p12 3des-sha1 $PW $des -macalg sha1
p12 3des-sha1-nopass '' $des -macalg sha1
p12 3des-sha1-chain $PW $des -macalg sha1 -certfile work/ca.pem
p12 3des-sha256 $PW $des -macalg sha256
p12 3des-emoji "$EMOJI" $des -macalg sha1
p12 aes256-sha1 $PW -macalg sha1
p12 aes128-sha256 $PW -keypbe AES-128-CBC -certpbe AES-128-CBC
p12 aes192-sha384 $PW -keypbe AES-192-CBC -certpbe AES-192-CBC -macalg sha384
p12 aes256-sha512 $PW -macalg sha512
p12 aes256-sha224 $PW -macalg sha224
p12 pbes2-3des $PW -keypbe DES-EDE3-CBC -certpbe DES-EDE3-CBC
p12 cert-plain $PW -certpbe NONE
p12 nomac $PW -nomac
p12 nomac-keyonly $PW -nomac -certpbe NONE
p12 plain '' -nomac -certpbe NONE -keypbe NONE
p12 plain-mac $PW -certpbe NONE -keypbe NONE
p12 rc2-128 $PW $old -keypbe PBE-SHA1-RC2-128 -certpbe PBE-SHA1-RC2-128 -macalg sha1
p12 rc4-128 $PW $old -keypbe PBE-SHA1-RC4-128 -certpbe PBE-SHA1-RC4-128 -macalg sha1
p12 two-leaves $PW -certfile old.pem
# The two shapes of Windows' Export-PfxCertificate, as the pieces are known:
# provider name, machine keyset and key usage attributes, 2000 rounds.
win='-iter 2000 -LMK -keyex -name te-3f1c'
p12 windows-3des $PW $des -macalg sha1 $win -CSP 'Microsoft RSA SChannel Cryptographic Provider'
p12 windows-aes $PW -keypbe AES-256-CBC -certpbe AES-256-CBC -macalg sha256 $win -CSP 'Microsoft Software Key Storage Provider'
openssl pkcs12 -export -inkey work/root.key -in work/ec.pem -passout pass:$PW -out ec.pfx
openssl pkcs12 -export -inkey work/root.key -in work/ec.pem -passout pass:$PW -legacy -out ec-legacy.pfx
openssl pkcs12 -export -inkey work/small.key -in work/small.pem -passout pass:$PW -out rsa1024.pfx
openssl pkcs12 -export -inkey work/pss.key -in work/pss.pem -passout pass:$PW -out rsa-pss.pfx
openssl pkcs12 -export -nokeys -in leaf.pem -passout pass:$PW -out no-key.pfx
openssl pkcs12 -export -nocerts -inkey key.pem -passout pass:$PW -out no-cert.pfx
# The vault's own download: base64 of a PFX with an empty password, chain included.
openssl pkcs12 -export -inkey key.pem -in leaf.pem -certfile work/ca.pem -passout pass: $des -macalg sha1 |
	base64 -w 0 >vault.b64

# --- PFX, keytool ------------------------------------------------------------
kt() { # kt file javaopts...: imports openssl3-chain.pfx the way an operator does
	out=$1
	shift
	keytool "$@" -importkeystore -noprompt -srckeystore openssl3-chain.pfx -srcstoretype PKCS12 -srcstorepass $PW \
		-destkeystore "$out" -deststoretype PKCS12 -deststorepass $PW
}
kt keytool.p12 2>/dev/null
kt keytool-legacy.p12 -J-Dkeystore.pkcs12.legacy 2>/dev/null
# A trusted root beside the key, and a store with two private keys.
cp keytool.p12 keytool-trusted.p12
keytool -importcert -noprompt -alias 0root -file root.pem -keystore keytool-trusted.p12 -storepass $PW 2>/dev/null
cp keytool.p12 two-keys.p12
keytool -genkeypair -alias second -keyalg EC -groupname secp256r1 -dname CN=second -validity $days \
	-keystore two-keys.p12 -storepass $PW 2>/dev/null
keytool -importkeystore -noprompt -srckeystore keytool.p12 -srcstorepass $PW \
	-destkeystore keytool.jks -deststoretype JKS -deststorepass $PW 2>/dev/null

# --- PFX, python cryptography ------------------------------------------------
python3 - "$PW" <<'X'
import sys
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12, load_pem_private_key, BestAvailableEncryption
rd = lambda n: open(n, 'rb').read()
key = load_pem_private_key(rd('key.pem'), None)
leaf, issuer, root = (x509.load_pem_x509_certificate(rd(n)) for n in ('leaf.pem', 'issuer.pem', 'root.pem'))
open('python.pfx', 'wb').write(pkcs12.serialize_key_and_certificates(
    b'principal', key, leaf, [root, issuer], BestAvailableEncryption(sys.argv[1].encode())))
X

# --- not a PFX ---------------------------------------------------------------
openssl x509 -in leaf.pem -outform DER -out leaf.cer
openssl crl2pkcs7 -nocrl -certfile work/chain.pem -outform DER -out chain.p7b

# --- PEM ---------------------------------------------------------------------
cat key.pem work/chain.pem >pkcs8.pem
cat work/chain.pem key.pem >cert-first.pem
cat root.pem issuer.pem key.pem leaf.pem >shuffled.pem
openssl rsa -in key.pem -traditional -out work/pkcs1.key
cat work/pkcs1.key leaf.pem >pkcs1.pem
sed 's/$/\r/' pkcs8.pem >crlf.pem
{ printf '\357\273\277' && cat pkcs8.pem; } >bom.pem
{ printf '\377\376' && iconv -t UTF-16LE pkcs8.pem; } >utf16le.pem
{ printf '\376\377' && iconv -t UTF-16BE pkcs8.pem; } >utf16be.pem
openssl pkcs12 -in windows-3des.pfx -passin pass:$PW -noenc -out bag-attributes.pem
{ cat pkcs8.pem && printf '\n \t\n\032\0\0\0'; } >trailing.pem
openssl x509 -in leaf.pem -trustout -addtrust clientAuth -out work/trusted.pem
cat key.pem work/trusted.pem >trusted.pem
cat key.pem leaf.pem | awk '{printf "%s\\n", $0}' >escaped.pem
cat key.pem leaf.pem | tr '\n' ' ' >oneline.pem

enc() { # enc name options...: PKCS#8, encrypted, with the certificate
	name=$1
	shift
	openssl pkcs8 -topk8 -in key.pem -passout pass:$PW -out work/enc.key "$@"
	cat work/enc.key leaf.pem >"$name.pem"
}
enc enc-default
enc enc-hmac-sha1 -v2 aes-128-cbc -v2prf hmacWithSHA1
enc enc-hmac-sha224 -v2 aes-192-cbc -v2prf hmacWithSHA224
enc enc-hmac-sha384 -v2 aes-256-cbc -v2prf hmacWithSHA384
enc enc-hmac-sha512 -v2 aes-256-cbc -v2prf hmacWithSHA512
enc enc-3des -v2 des3
enc enc-600k -iter 600000
enc enc-pbe-3des -v1 PBE-SHA1-3DES
enc enc-scrypt -scrypt
enc enc-md5-des $old -v1 PBE-MD5-DES
openssl rsa -in key.pem -traditional -aes256 -passout pass:$PW -out work/dek.key
cat work/dek.key leaf.pem >dek-aes256.pem
openssl rsa -in key.pem -traditional -des3 -passout pass:$PW -out work/dek.key
cat work/dek.key leaf.pem >dek-des3.pem

cat key.pem stranger.pem >wrong-cert.pem
cat key.pem old.pem leaf.pem >two-leaves.pem
cat key.pem work/other.key leaf.pem >two-keys.pem
cat work/root.key work/ec.pem >ec-pkcs8.pem
openssl ec -in work/root.key -out work/sec1.key
cat work/sec1.key work/ec.pem >ec-sec1.pem
cat work/small.key work/small.pem >rsa1024.pem
openssl pkey -in key.pem -pubout -out public.pem
ssh-keygen -q -t ed25519 -N '' -C test -f work/ssh
cp work/ssh openssh.pem

# --- legacy keys ---------------------------------------------------------------
openssl rsa -in key.pem -outform MSBLOB -out key.msblob
openssl rsa -in key.pem -pubout -outform MSBLOB -out public.msblob
openssl rsa -in work/small.key -outform MSBLOB -out rsa1024.msblob
openssl rsa -in key.pem -outform PVK -pvk-none -out none.pvk
openssl rsa -in key.pem -outform PVK -pvk-weak -passout pass:$PW $old -out weak.pvk
openssl rsa -in key.pem -outform PVK -pvk-strong -passout pass:$PW $old -out strong.pvk
openssl rsa -in key.pem -traditional -outform DER -out pkcs1.der
openssl pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out pkcs8.der
openssl pkcs8 -topk8 -in key.pem -passout pass:$PW -outform DER -out pkcs8-enc.der
openssl pkcs8 -topk8 -nocrypt -in work/root.key -outform DER -out ec.der
openssl pkey -in key.pem -pubout -outform DER -out public.der
# A DSS blob holds keys of 1024/160 bits only.
openssl genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -pkeyopt dsa_paramgen_q_bits:160 -out work/dsa.par 2>/dev/null
openssl genpkey -paramfile work/dsa.par -out work/dsa.key
openssl dsa -in work/dsa.key -outform MSBLOB -out dsa.msblob

chmod 644 -- *.*
chmod 755 make.sh
