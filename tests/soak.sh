#!/usr/bin/env bash
# What takes too long for every change: sanitizers over all folders, then the faults of the system tests again and
# again. By hand, before a release: ./run soak [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-20}

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

# libtorch and Arrow are not built with sanitizers. Our side of them is clean under the address sanitizer; the thread
# sanitizer would take their own locks, which it cannot see, for races.
say "asan: build and unit tests"
cmake --preset asan -DMUSTER_WITH_TORCH=ON -DMUSTER_WITH_ARROW=ON >/dev/null
ninja -C build/asan
# The sandbox forbids what the sanitizer needs (files under /proc, memory without limit): without those tests.
ctest --test-dir build/asan --output-on-failure --no-tests=error -LE sandbox

say "tsan: build and unit tests"
cmake --preset tsan -DMUSTER_WITH_TORCH=OFF -DMUSTER_WITH_ARROW=OFF >/dev/null
ninja -C build/tsan
ctest --test-dir build/tsan --output-on-failure --no-tests=error

say "collectives: contract, hostile peers and faults, $rounds rounds under asan"
for ((round = 1; round <= rounds; ++round)); do
  MUSTER_FAULT_ROUNDS=20 build/asan/bin/muster_collective_test --gtest_brief=1 --gtest_shuffle --gtest_random_seed="$round"
done

say "fuzzing, ${MUSTER_FUZZ_SECONDS:-1800} s"
tests/fuzz/fuzz.sh "${MUSTER_FUZZ_SECONDS:-1800}"

say "collectives: ranks as processes, killed, stopped and cut off, ${MUSTER_FAULT_ROUNDS:-2000} times"
cmake --preset release >/dev/null
ninja -C build/release muster_collective_test
# Most of a round is waiting for time limits: four at once.
quarter=$((${MUSTER_FAULT_ROUNDS:-2000} / 4))
faults=()
for ((part = 0; part < 4; ++part)); do
  MUSTER_FAULT_FIRST=$((part * quarter + 1)) MUSTER_FAULT_ROUNDS=$quarter \
    build/release/bin/muster_collective_test --gtest_brief=1 --gtest_filter='Processes.*' &
  faults+=($!)
done
for each in "${faults[@]}"; do wait "$each"; done
say "collectives: 10,000 strangers, and more bytes than 32 bits count (10 GB of memory)"
MUSTER_STRANGERS=10000 build/release/bin/muster_collective_test --gtest_filter='Stranger.cannot_keep_members_out_by_a_flood'
MUSTER_LARGE=1 build/release/bin/muster_collective_test --gtest_filter='Above2GiB.*'

say "system: killed and frozen processes, $rounds rounds"
cmake --preset release >/dev/null
ninja -C build/release
for ((round = 1; round <= rounds; ++round)); do
  MUSTER_BIN="$PWD/build/release/bin" python3 -m pytest -q tests/system -k "kill or crash or silence or interrupt"
done
say "soak passed"
