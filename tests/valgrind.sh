#!/bin/sh
# The C core under valgrind: reads and writes outside of memory, and values that were never set.
# Its rings are what valgrind cannot look into; the contract suite's send, close and order parts.
set -eu
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { apt-get update -qq && apt-get install -y -qq valgrind >/dev/null; }
log=build/valgrind.log
mkdir -p build
PYTHONMALLOC=malloc valgrind --quiet --error-exitcode=99 --log-file="$log" \
	--suppressions=tests/valgrind.supp --num-callers=30 \
	"${RINGNET_VENV:-.venv}/bin/python" -m pytest -q -p no:cacheprovider --timeout 300 \
	-k "io_uring and not 5.19 and not 6.0 and not megabytes and not 20000 and not slow_reader" \
	tests/test_contract_order.py tests/test_contract_send.py || { tail -60 "$log"; exit 1; }
