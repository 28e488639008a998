#!/bin/sh
# Install what the tests need, then run them. Debian or Ubuntu, as root or with sudo.
set -eu
cd "$(dirname "$0")/.."
as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
$as_root apt-get install -y -qq gcc libc6-dev liburing-dev python3-dev python3-venv \
	curl wrk redis-tools redis-server socat dnsutils iproute2 nftables >/dev/null
venv=${RINGNET_VENV:-.venv}
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps .
"$venv/bin/pip" install --quiet --disable-pip-version-check '.[test]'
exec "$venv/bin/python" -m pytest -n 4 "$@" # they mostly wait
