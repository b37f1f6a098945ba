#!/usr/bin/env bash
# Fuzzes each target for its share of SECONDS, from the corpus that is kept. What is found goes to build/fuzz/found:
# move it to tests/fuzz/corpus/TARGET with its mend. By hand: ./run fuzz [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
targets=(frame hello lane)

command -v clang++ >/dev/null || {
  echo "fuzzing needs clang++ and its libFuzzer (apt-get install clang libclang-rt-dev)" >&2
  exit 1
}
mkdir -p build/fuzz/found
cmake --preset fuzz >build/fuzz/configure.log 2>&1 || { cat build/fuzz/configure.log >&2; exit 1; }
ninja -C build/fuzz muster_fuzz_frame muster_fuzz_hello muster_fuzz_lane >&2

for target in "${targets[@]}"; do
  mkdir -p "build/fuzz/corpus/$target"
  # New inputs go to the first folder, which is not kept.
  "build/fuzz/bin/muster_fuzz_$target" "build/fuzz/corpus/$target" "tests/fuzz/corpus/$target" \
    -max_total_time=$((seconds / ${#targets[@]})) -max_len=200000 -timeout=10 -rss_limit_mb=1024 \
    -artifact_prefix="build/fuzz/found/$target-" -print_final_stats=1 2>"build/fuzz/$target.log" ||
    { tail -60 "build/fuzz/$target.log" >&2; echo "fuzzing of $target found something: build/fuzz/found" >&2; exit 1; }
  printf 'fuzz %s: %s runs\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$target.log")"
done
