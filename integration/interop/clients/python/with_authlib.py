# SPDX-FileCopyrightText: The caddy-dpop authors
# SPDX-License-Identifier: Apache-2.0
"""Authlib: its jwt.encode insists on typ JWT, so the proof is a JWS made by hand."""

import json
import os

from authlib.jose import ECKey, JsonWebSignature, OKPKey, RSAKey

from client import drive


def generate(alg):
    if alg == "ES256":
        # This release writes a coordinate that begins with a zero octet without
        # it, which RFC 7518, section 6.2.1.2, forbids and nobody else reads: one
        # key in 128 cannot be used with it.
        while True:
            key = ECKey.generate_key("P-256", is_private=True)
            public = key.as_dict(is_private=False)
            if len(public["x"]) == len(public["y"]) == 43:
                return key
    if alg == "EdDSA":
        return OKPKey.generate_key("Ed25519", is_private=True)
    return RSAKey.generate_key(2048, is_private=True)


def make():
    alg = os.environ["ALG"]
    key = generate(alg)
    signer = JsonWebSignature([alg])

    def prove(claims):
        header = {"typ": "dpop+jwt", "alg": alg, "jwk": key.as_dict(is_private=False)}
        return signer.serialize_compact(header, json.dumps(claims).encode(), key).decode()

    return prove


drive(make)
