#!/usr/bin/env bash
# SPDX-FileCopyrightText: The caddy-dpop authors
# SPDX-License-Identifier: Apache-2.0
#
# A DPoP client of two programs, jose (C) and curl: reads calls from standard input and
# writes the answers, see call_test.go.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

new_key() {
	jose jwk gen -i "{\"alg\":\"$ALG\"}" -o "$work/$1.jwk"
	jose jwk pub -i "$work/$1.jwk" -o "$work/$1.pub"
}

hash_of() { printf %s "$1" | openssl dgst -sha256 -binary | jose b64 enc -I-; }

# prove <key> <method> <url> <token> <nonce> <tweak>
prove() {
	local claims now
	now=$(date +%s)
	[ "$6" != old ] || now=$((now - 600))
	claims="\"jti\":\"$(openssl rand -hex 16)\",\"htm\":\"$2\",\"htu\":\"${3%%\?*}\",\"iat\":$now"
	if [ -n "$4" ] && [ "$6" != no-ath ]; then
		claims+=",\"ath\":\"$(hash_of "$4")\""
	fi
	[ -z "$5" ] || claims+=",\"nonce\":\"$5\""
	printf '{%s}' "$claims" | jose jws sig -I- -c -k "$work/$1.jwk" \
		-s "{\"protected\":{\"typ\":\"dpop+jwt\",\"alg\":\"$ALG\",\"jwk\":$(cat "$work/$1.pub")}}"
}

get_token() {
	curl -sS --user "$CLIENT_ID:$CLIENT_SECRET" -H "DPoP: $(prove own POST "$TOKEN_ENDPOINT" '' '' '')" \
		--data-urlencode grant_type=client_credentials --data-urlencode "resource=$RESOURCE" \
		--data-urlencode "scope=$SCOPE" "$TOKEN_ENDPOINT" |
		sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p'
}

field() { tr -d '\r' <"$work/head" | sed -n "s/^$1: //Ip" | head -n 1; }

new_key own
new_key foreign
token=$(get_token)
second=$(get_token)
nonce=

# Tabs would be merged as white space, so another separator stands in for them.
tr '\t' '\037' | while IFS=$'\037' read -r name method url send_method send_url tweak body; do
	key=own
	[ "$tweak" != foreign ] || key=foreign
	for _ in 1 2; do
		arguments=(-sS --path-as-is -o /dev/null -D "$work/head" -X "$send_method")
		[ -z "$body" ] || arguments+=(--data-binary "$body")
		case $tweak in
		bearer) arguments+=(-H "Authorization: Bearer $token") ;;
		other-token) arguments+=(-H "Authorization: DPoP $second") ;;
		*) arguments+=(-H "Authorization: DPoP $token") ;;
		esac
		if [ "$tweak" != bearer ]; then
			arguments+=(-H "DPoP: $(prove "$key" "$method" "$url" "$token" "$nonce" "$tweak")")
		fi
		times=1
		[ "$tweak" != again ] || times=2
		for ((i = 0; i < times; i++)); do
			curl "${arguments[@]}" "$send_url"
			status=$(sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$work/head")
			printf 'answer\t%s\t%s\t%s\t%s\n' "$name" "$status" "$(field X-Reason)" "$(field WWW-Authenticate)"
		done
		fresh=$(field DPoP-Nonce)
		nonce=${fresh:-$nonce}
		[ "$status" = 401 ] && [ -n "$fresh" ] || break
	done
done
