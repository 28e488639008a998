#!/bin/sh
# The C core's command block with anything in it, under ASan and UBSan: see fuzz_commands.c.
#     sh tests/fuzz.sh [SECONDS [SEED]]
set -eu
cd "$(dirname "$0")/.."
mkdir -p build
gcc -std=gnu11 -O1 -g -Wall -Wextra -Werror -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined -Iuring/core tests/fuzz/fuzz_commands.c \
	tests/fuzz/fuzz_seeds.c uring/core/*.c \
	-luring -o build/fuzz_commands
exec build/fuzz_commands "$@"
