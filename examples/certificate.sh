#!/bin/sh
# A certificate to try content credentials with: chain.pem and sign.key, into the folder that is named (default: this one).
#     sh examples/certificate.sh && s2f-edge infer clip.wav --c2pa-certificate chain.pem --c2pa-key sign.key
# ca.pem is its issuer: s2f-edge provenance --trust ca.pem, or S2F_C2PA_TRUST=ca.pem
set -eu
cd "${1:-.}"
umask 077
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -days 3650 -subj '/O=Example studio/CN=Example root' -out ca.pem
openssl ecparam -name prime256v1 -genkey -noout -out sign.key
openssl req -new -key sign.key -subj '/O=Example studio/CN=Example signer' -out sign.csr
printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature \
    extendedKeyUsage=emailProtection subjectKeyIdentifier=hash authorityKeyIdentifier=keyid > sign.ext
openssl x509 -req -in sign.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile sign.ext -out sign.pem
cat sign.pem ca.pem > chain.pem
