#!/bin/sh
# Every test of the suite that makes a ring, with the C core under ASan and UBSan.
set -eu
cd "$(dirname "$0")/.."
python=${RINGNET_SANITIZED:-$(sh tests/build_sanitized.sh)}
# Bounds of memory: what was freed stays in ASan's quarantine, of 256 MiB unless it is told another.
memory="gigabyte or what_they_sent_back"
$python -m pytest -q -n 4 -k "(io_uring or core_faults) and not ($memory)" tests tests/core_faults.py
exec ${python% *} ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=8 "${python##* }" \
	-m pytest -q -k "io_uring and ($memory)" tests
