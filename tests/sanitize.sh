#!/bin/sh
# Every test of the suite that makes a ring, with the C core under ASan and UBSan.
set -eu
cd "$(dirname "$0")/.."
python=${RINGNET_SANITIZED:-$(sh tests/build_sanitized.sh)}
# By the name of a test or its file: what runs on another backend, and what has nothing to do with one.
others="epoll or kqueue or select or perf or docs or pages or test_layers or simulation or parsers or memory"
others="$others or runTest or megabytes_back or test_pool"
# Page faults are counted of plain memory.
others="$others or pausing_in_turn or through_a_bridge"
# Bounds of memory: what was freed stays in ASan's quarantine, of 256 MiB unless it is told another.
bounds="gigabyte or what_they_sent_back or what_they_received_back"
rm -f build/asan.*
failed=0
$python -m pytest -q -n 4 -k "not ($others or $bounds)" tests tests/uring/core_faults.py || failed=1
${python% *} ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=8 "${python##* }" \
	-m pytest -q -k "($bounds) and not ($others)" tests || failed=1
cat build/asan.* 2>/dev/null || true
exit $failed
