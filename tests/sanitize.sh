#!/bin/sh
# The contract suite of the io_uring backend, with the C core under ASan and UBSan.
set -eu
cd "$(dirname "$0")/.."
venv=${RINGNET_SANITIZE_VENV:-.venv-sanitize}
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check pytest pytest-timeout hypothesis
forget_builds() { rm -rf build/temp.* build/lib.* build/bdist.*; } # setuptools would use them again
forget_builds
CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -g" \
	"$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall .
forget_builds
LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 \
	exec "$venv/bin/python" -m pytest -q -k io_uring tests/test_contract_*.py
