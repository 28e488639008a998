#!/bin/sh
# A virtual environment whose C core has ASan, UBSan and the faults of uring_faults.c (off unless
# RINGNET_FAULTS is set). Prints the command that runs Python in it.
set -eu
cd "$(dirname "$0")/.."
venv=${RINGNET_SANITIZE_VENV:-.venv-sanitize}
objects="$PWD/build/uring_chance.o $PWD/build/uring_faults.o $PWD/build/uring_refusals.o"
wrapped="io_uring_submit io_uring_submit_and_get_events io_uring_submit_and_wait_timeout
	submit_and_wait_idly io_uring_queue_init_params io_uring_queue_exit io_uring_register_buf_ring
	calloc malloc mmap eventfd close"
options="-Wl"
for name in $wrapped; do options="$options,--wrap=$name"; done
mkdir -p build
for name in uring_chance uring_faults uring_refusals; do
	gcc -std=gnu11 -O1 -g -fPIC -Wall -Wextra -Werror -c "tests/uring/$name.c" -o "build/$name.o"
done
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check cffi pytest pytest-timeout pytest-xdist hypothesis \
	httptools redis dnspython >&2
forget_builds() { rm -rf build/temp.* build/lib.* build/bdist.*; } # setuptools would use them again
forget_builds
CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -g" LDFLAGS="$objects $options" \
	"$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps . >&2
forget_builds
# What they find is in build/asan.*: a worker of the tests takes what it says with it.
report="log_path=$PWD/build/asan"
echo "env LD_PRELOAD=$(gcc -print-file-name=libasan.so) UBSAN_OPTIONS=print_stacktrace=1:$report" \
	"ASAN_OPTIONS=detect_leaks=0:$report $venv/bin/python"
