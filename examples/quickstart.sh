#!/bin/sh
# Install ringnet and run the HTTP example, shown answering. Debian or Ubuntu, as root or with sudo.
# Serves until Ctrl-C; with --once it stops after the answer.
set -eu
cd "$(dirname "$0")/.."
as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
$as_root apt-get install -y -qq gcc libc6-dev liburing-dev python3-dev python3-venv curl >/dev/null
venv=${RINGNET_VENV:-.venv}
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check '.[examples]'
"$venv/bin/python" examples/http_server.py tcp://127.0.0.1:8080 &
server=$!
trap 'kill "$server" 2>/dev/null' INT TERM
curl --silent --include --retry 20 --retry-delay 1 --retry-connrefused \
	http://127.0.0.1:8080/
[ "${1:-}" != --once ] || kill "$server"
wait "$server"
