# Installs what the integration tests talk to. Sourced by .ci/run; harmless
# where everything is there already.

apt_packages=(
	redis-server # replay redis
	chromium     # the demo page and CORS
	spin gcc libc6-dev
	python3-jwcrypto python3-authlib
	jose curl openssl
	default-jdk-headless
)

# Where Node.js is there already, in whatever form, that one is used.
command -v node >/dev/null && command -v npm >/dev/null || apt_packages+=(nodejs npm)

if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	missing=()
	for package in "${apt_packages[@]}"; do
		dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
	done
	if [ ${#missing[@]} -gt 0 ]; then
		apt-get update -qq
		# A server that starts by itself would be in the way of the tests' own.
		RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
	fi
fi

npm ci --prefix integration/node --no-audit --no-fund --loglevel=error
