#!/usr/bin/env bash
# Builds Caddy with this checkout the way xcaddy does, without and with the
# Redis store, and tries both: modules, a configuration through the admin API,
# a refused request.
set -euo pipefail
root=$1
work=$2
caddy=v2.11.9
module=github.com/caddy-dpop/caddy-dpop

# with_xcaddy OUTPUT ARGUMENT...
with_xcaddy() {
	local output=$1
	shift
	"$work/xcaddy" build $caddy --output "$output" "$@"
}

# by_hand OUTPUT PACKAGE...: the steps of xcaddy v0.4.6, where it cannot be had: a
# module that imports Caddy and the plugin, with the plugin replaced.
by_hand() {
	local output=$1 dir
	shift
	dir=$(mktemp -d "$work/build.XXXX")
	{
		echo 'package main'
		echo 'import caddycmd "github.com/caddyserver/caddy/v2/cmd"'
		printf 'import _ "%s"\n' github.com/caddyserver/caddy/v2/modules/standard "$@"
		echo 'func main() { caddycmd.Main() }'
	} >"$dir/main.go"
	(
		cd "$dir"
		go mod init caddy >/dev/null 2>&1
		go mod edit -replace "$module=$root" -require "$module@v0.0.0"
		go get "github.com/caddyserver/caddy/v2@$caddy" "$module@v0.0.0" >/dev/null 2>&1
		go mod tidy -e >/dev/null 2>&1
		CGO_ENABLED=0 go build -o "$output" -trimpath -ldflags "-w -s" -tags nobadger,nomysql,nopgx .
	)
}

mkdir -p "$work/xcaddy-src"
(
	cd "$work/xcaddy-src"
	[ -e go.mod ] || go mod init scratch >/dev/null 2>&1
	go get github.com/caddyserver/xcaddy@v0.4.6 >/dev/null 2>&1 &&
		go build -o "$work/xcaddy" github.com/caddyserver/xcaddy/cmd/xcaddy
) || echo "xcaddy cannot be had from this module proxy: taking its steps by hand"

cd "$root"
if [ -x "$work/xcaddy" ]; then
	with_xcaddy "$work/caddy" --with $module@v0.0.0=.
	with_xcaddy "$work/caddy-redis" --with $module@v0.0.0=. --with $module/redis --replace $module=.
else
	by_hand "$work/caddy" $module
	by_hand "$work/caddy-redis" $module $module/redis
fi
"$work/caddy" list-modules | grep -qx http.handlers.dpop
"$work/caddy-redis" list-modules | grep -qx http.dpop.replay.redis
"$work/caddy-redis" list-modules | grep -qx http.handlers.dpop
if "$work/caddy" list-modules | grep -q -e http.dpop.replay.redis -e dpop_dev_issuer; then
	echo "the default build contains the Redis store or the development issuer"
	exit 1
fi

# The JSON form through the admin API.
cat >"$work/site.json" <<JSON
{
  "admin": {"listen": "localhost:22019"},
  "storage": {"module": "file_system", "root": "$work/storage"},
  "apps": {"http": {"servers": {"api": {
    "listen": ["127.0.0.1:28080"],
    "routes": [{"handle": [
      {"handler": "dpop",
       "issuers": [{"issuer": "https://auth.example.com", "audience": ["https://api.example.com"]}],
       "public_urls": ["https://api.example.com"]},
      {"handler": "static_response", "body": "reached"}]}]}}}}
}
JSON
echo '{"admin": {"listen": "localhost:22019"}}' >"$work/empty.json"
"$work/caddy" run --config "$work/empty.json" 2>"$work/caddy.log" &
pid=$!
trap 'kill $pid 2>/dev/null || true' EXIT
for _ in $(seq 100); do
	curl -fs localhost:22019/config/ >/dev/null 2>&1 && break
	sleep 0.1
done
curl -fsS -H 'Content-Type: application/json' --data-binary "@$work/site.json" localhost:22019/load
status=$(curl -s -o /dev/null -w '%{http_code}' 127.0.0.1:28080/)
[ "$status" = 401 ] || {
	echo "expected 401 from the loaded configuration, got $status"
	exit 1
}
echo "modules, POST /load and a refused request: as they should be"
