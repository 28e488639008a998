#!/bin/sh
# The C core under valgrind, in parts of the contract suite: a report with one of its files in it is
# red. (What valgrind says of the interpreter alone is the interpreter's.)
set -eu
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { apt-get update -qq && apt-get install -y -qq valgrind >/dev/null; }
log=build/valgrind.log
mkdir -p build
PYTHONMALLOC=malloc valgrind --quiet --log-file="$log" --num-callers=30 \
	"${RINGNET_VENV:-.venv}/bin/python" -m pytest -q -p no:cacheprovider --timeout 300 \
	-k "io_uring and not 5.19 and not 6.0 and not slow_reader" \
	tests/test_contract_order.py tests/test_contract_send.py
if grep -E '(accept|buffers|commands|packets|ring|setup|slots|stage)\.c:|/_ring\.' "$log"; then
	echo "valgrind has something to say: see $log"
	exit 1
fi
echo "valgrind says nothing of the C core"
