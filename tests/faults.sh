#!/bin/sh
# The contract suite and tests of the engine on faults, beneath every backend: see faults.py.
#     sh tests/faults.sh [SEED]      a number, or `new` for one that nobody has tried
# io_uring runs with the C core under ASan and UBSan, and with kqueue; the others beside it.
# From the seed: what a system does in passing (faults.py, uring_faults.c), log handlers that raise
# (faults.py), one chosen allocation of Python that fails (test_chosen_allocations.py). In every run:
# packets that are taken in part (cut_packets.py), the nth thing that the C core asks for refused
# (uring_refusals.c, core_faults.py), a probe that passes and a ring that fails (test_ring_limits.py).
set -eu
cd "$(dirname "$0")/.."
RINGNET_FAULTS=${1:-21}
[ "$RINGNET_FAULTS" != new ] || RINGNET_FAULTS=$(date +%s)
export RINGNET_FAULTS RINGNET_PATIENCE=2
mkdir -p build
rm -f build/asan.*
echo "seed $RINGNET_FAULTS; replay: sh tests/faults.sh $RINGNET_FAULTS"
python=${RINGNET_SANITIZED:-$(sh tests/build_sanitized.sh)}
engine="tests/engine/connection/test_flow_control.py tests/engine/connection/test_action_again.py
	tests/engine/connection/test_ends_and_errors.py tests/engine/reactor/test_event_handlers.py
	tests/engine/connection/test_writing.py tests/engine/connection/test_connection_control.py
	tests/engine/dialing/test_dial_attempts.py tests/engine/dialing/test_clients.py
	tests/engine/server/test_engine_echo.py tests/engine/reactor/test_chosen_allocations.py
	tests/engine/reactor/test_scarce_memory.py tests/engine/reactor/test_any_exception.py
	tests/engine/datagrams/test_short_packets.py tests/engine/connection/test_harder_ends.py
	tests/engine/datagrams/test_refused_datagrams.py tests/engine/connection/test_reset_after_end.py"
# The bounds of a gigabyte and of an address space are of plain memory; what is measured needs no
# faults; short reads are single receives, which may wait in a thread.
plain="not gigabyte and not error_queue and not slows_the_peer and not any_kind and not 5.19 and not 6.0"
plain="$plain and not leaves_its_line and not without_memory" # a line break would be no expression of pytest's
${RINGNET_VENV:-.venv}/bin/python -m pytest -q -n 2 --timeout 100 -k "(epoll or select) and $plain" \
	tests/contract $engine >build/faults.log 2>&1 &
others=$!
failed=0
$python -m pytest -q -n 2 --timeout 100 \
	-k "(io_uring or kqueue or core_faults or ring_that_fails) and $plain" \
	tests/contract $engine tests/uring/core_faults.py tests/uring/test_ring_limits.py || failed=1
wait $others || failed=1
cat build/faults.log build/asan.* 2>/dev/null || true
exit $failed
