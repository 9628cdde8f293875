# SPDX-FileCopyrightText: The caddy-dpop authors
# SPDX-License-Identifier: Apache-2.0
"""What the Python clients share: reads calls, sends requests, writes the answers.

See call_test.go. Only the standard library; the proofs come from the caller.
"""

import base64
import hashlib
import http.client
import json
import os
import sys
import time
import urllib.parse
import uuid


def claims(method, url, token, nonce, tweak):
    """Returns the claims of a proof."""
    out = {
        "jti": str(uuid.uuid4()),
        "htm": method,
        "htu": url.split("?")[0],
        "iat": int(time.time()) - (600 if tweak == "old" else 0),
    }
    if token and tweak != "no-ath":
        digest = hashlib.sha256(token.encode()).digest()
        out["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if nonce:
        out["nonce"] = nonce
    return out


def send(method, url, headers, body):
    """Sends one request with the bytes of its URL as they are."""
    parts = urllib.parse.urlsplit(url)
    conn = http.client.HTTPConnection(parts.netloc, timeout=30)
    target = parts.path + ("?" + parts.query if parts.query else "")
    conn.request(method, target, body=body or None, headers=headers)
    res = conn.getresponse()
    text = res.read().decode()
    conn.close()
    return res, text


def get_token(prove):
    url = os.environ["TOKEN_ENDPOINT"]
    form = urllib.parse.urlencode({
        "grant_type": "client_credentials",
        "client_id": os.environ["CLIENT_ID"],
        "client_secret": os.environ["CLIENT_SECRET"],
        "resource": os.environ["RESOURCE"],
        "scope": os.environ["SCOPE"],
    })
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    headers["DPoP"] = prove(claims("POST", url, None, None, ""))
    _, text = send("POST", url, headers, form)
    return json.loads(text)["access_token"]


def drive(make):
    """Makes all calls. make() returns a function from claims to a proof, with a new key."""
    own, stranger = make(), make()
    token, second = get_token(own), get_token(own)
    nonce = None
    for line in sys.stdin:
        name, method, url, send_method, send_url, tweak, body = line.rstrip("\n").split("\t")
        prove = stranger if tweak == "foreign" else own
        for _ in range(2):
            headers = {"Authorization": "DPoP " + (second if tweak == "other-token" else token)}
            headers["DPoP"] = prove(claims(method, url, token, nonce, tweak))
            if tweak == "bearer":
                headers = {"Authorization": "Bearer " + token}
            for _ in range(2 if tweak == "again" else 1):
                res, _ = send(send_method, send_url, headers, body)
                print("answer", name, res.status, res.getheader("X-Reason", ""),
                      res.getheader("WWW-Authenticate", ""), sep="\t")
            fresh = res.getheader("DPoP-Nonce")
            nonce = fresh or nonce
            if res.status != 401 or not fresh:
                break
