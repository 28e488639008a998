#!/bin/sh
# The C core's command block with what libFuzzer makes of its coverage, under ASan and UBSan.
#     sh tests/libfuzzer.sh [SECONDS]    120 by default
# Installs clang and its run-time library where they are missing. What reached new code is kept in
# build/corpus for the next run; an input that fails stays in build/ and is printed with its path:
# build/libfuzzer PATH replays it.
set -eu
cd "$(dirname "$0")/.."
find_clang() {
	clang=$(command -v clang || command -v clang-14) || return 1
	ls "$("$clang" -print-runtime-dir)"/libclang_rt.fuzzer* >/dev/null 2>&1
}
find_clang || {
	echo "installing clang and its run-time library"
	apt-get update -qq && apt-get install -y -qq clang libclang-rt-14-dev >/dev/null
	find_clang
}
mkdir -p build/corpus
"$clang" -std=gnu11 -O1 -g -Wall -Wextra -Werror -fsanitize=fuzzer,address,undefined \
	-fno-sanitize-recover=undefined -Iuring/core \
	tests/fuzz/fuzz_commands.c uring/core/*.c -luring -o build/libfuzzer
exec build/libfuzzer -max_total_time="${1:-120}" -max_len=4096 -timeout=20 -print_final_stats=1 \
	-artifact_prefix=build/ build/corpus
