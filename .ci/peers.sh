# Installs what the integration tests talk to. Sourced by .ci/run; harmless
# where everything is there already.

apt_packages=(
	redis-server # replay redis
	chromium     # the demo page and CORS
	spin gcc libc6-dev
	python3-jwcrypto python3-authlib
	jose curl openssl
	prometheus # the dashboard and the alert rules; brings promtool
	default-jdk-headless
)

# Where Node.js is there already, in whatever form, that one is used.
command -v node >/dev/null && command -v npm >/dev/null || apt_packages+=(nodejs npm)

if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	missing=()
	for package in "${apt_packages[@]}"; do
		# Of a package that was removed dpkg still knows the configuration.
		[[ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" == *" installed" ]] || missing+=("$package")
	done
	if [ ${#missing[@]} -gt 0 ]; then
		apt-get update -qq
		(
			# No server starts by itself, on its usual port, beside the tests' own.
			# Containers have such a policy already.
			policy=/usr/sbin/policy-rc.d
			if [ ! -e "$policy" ]; then
				trap 'rm -f "$policy"' EXIT
				printf '#!/bin/sh\nexit 101\n' >"$policy"
				chmod 755 "$policy"
			fi
			DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
		)
	fi
fi

npm ci --prefix integration/node --no-audit --no-fund --loglevel=error
