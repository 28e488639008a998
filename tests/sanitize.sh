#!/bin/sh
# The contract suite of the io_uring backend, with the C core under ASan and UBSan.
set -eu
cd "$(dirname "$0")/.."
python=${RINGNET_SANITIZED:-$(sh tests/build_sanitized.sh)}
exec $python -m pytest -q -k '(io_uring and not 6.0) or core_faults' tests/core_faults.py tests/test_contract_*.py
