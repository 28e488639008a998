#!/bin/sh
# The C core under valgrind: a report with one of its files in it is red. (What valgrind says of the
# interpreter alone is the interpreter's.)
#     sh tests/valgrind.sh              every test that makes a ring
#     sh tests/valgrind.sh FILE...      those of some files
# The core waits in nanosleep(2) here: see uring_sleep_wait.c. Left out: rings of older kernels, which
# run the same lines with other flags; bounds of memory, which are of plain runs; ten thousand
# connections, for the time they take; programs under a filter of seccomp; and running out of
# descriptors, of which valgrind keeps some for itself and lets no limit be set back.
set -eu
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { apt-get update -qq && apt-get install -y -qq valgrind >/dev/null; }
venv=${RINGNET_VALGRIND_VENV:-.venv-valgrind}
mkdir -p build
rm -f build/valgrind.*.log
object=$PWD/build/uring_sleep_wait.o
gcc -std=gnu11 -O1 -g -fPIC -Wall -Wextra -Werror -c tests/uring/uring_sleep_wait.c -o "$object"
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check cffi pytest pytest-timeout pytest-xdist \
	hypothesis httptools redis dnspython
forget_builds() { rm -rf build/temp.* build/lib.* build/bdist.*; } # setuptools would use them again
forget_builds
CFLAGS="-g -O1" LDFLAGS="$object -Wl,--wrap=io_uring_submit_and_wait_timeout,--wrap=submit_and_wait_idly" \
	"$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps .
forget_builds
others="epoll or kqueue or select or perf or docs or pages or test_layers or simulation or parsers or memory"
others="$others or runTest or megabytes_back or test_pool" # as in sanitize.sh
others="$others or pausing_in_turn or through_a_bridge"
left_out="5.19 or 6.0 or gigabyte or what_they_sent_back or ten_thousand or seccomp or descriptors"
[ $# -gt 0 ] || set -- tests
failed=0
PYTHONMALLOC=malloc RINGNET_PATIENCE=10 valgrind --quiet --log-file=build/valgrind.%p.log \
	--num-callers=30 --fair-sched=yes --trace-children=yes --trace-children-skip='/usr/*,/bin/*' \
	"$venv/bin/python" -m pytest -q -n 2 -p no:cacheprovider -p no:hypothesispytest --assert=plain \
	--timeout 500 -o faulthandler_timeout=0 \
	-k "not ($others or $left_out)" "$@" || failed=1
ours=$(basename -s .c -a uring/core/*.c | paste -sd '|')
if grep -E "($ours)\.c:|/_ring\." build/valgrind.*.log; then
	echo "valgrind has something to say: see build/valgrind.*.log"
	exit 1
fi
echo "valgrind says nothing of the C core"
exit $failed
