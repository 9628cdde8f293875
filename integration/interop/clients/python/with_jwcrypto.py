# SPDX-FileCopyrightText: The caddy-dpop authors
# SPDX-License-Identifier: Apache-2.0
"""jwcrypto: some releases write a kid into the jwk of their own accord."""

import json
import os

from jwcrypto import jwk, jws

from client import drive

KINDS = {
    "ES256": {"kty": "EC", "crv": "P-256"},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
    "PS256": {"kty": "RSA", "size": 2048},
    "RS256": {"kty": "RSA", "size": 2048},
}


def make():
    alg = os.environ["ALG"]
    key = jwk.JWK.generate(**KINDS[alg])

    def prove(claims):
        header = {"typ": "dpop+jwt", "alg": alg, "jwk": key.export_public(as_dict=True)}
        proof = jws.JWS(json.dumps(claims))
        proof.add_signature(key, alg, json.dumps(header))
        return proof.serialize(compact=True)

    return prove


drive(make)
