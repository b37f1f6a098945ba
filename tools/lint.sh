#!/usr/bin/env bash
# clang-tidy with the checks of .clang-tidy; any finding is a failure. Run by ./run lint; by hand:
#   tools/lint.sh              what differs from main, or is not committed
#   tools/lint.sh all          everything
#   tools/lint.sh src/auth     these folders or files
# Needs a configured build folder (MUSTER_LINT_BUILD, default build/release): it says how each file is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${MUSTER_LINT_BUILD:-build/release}

command -v clang-tidy >/dev/null || {
  echo "clang-tidy is not installed: apt-get install clang-tidy (14 is what .clang-tidy is written for)" >&2
  exit 1
}
[ -f "$build/compile_commands.json" ] || {
  echo "$build is not configured: cmake --preset release, or set MUSTER_LINT_BUILD" >&2
  exit 1
}

# A changed header is looked at from its own source and its test.
changed() {
  {
    git diff --name-only "$(git merge-base HEAD main)"
    git ls-files --others --exclude-standard
  } | sed -E 's/(_test)?\.(h|cpp)$//' | sort -u | while read -r stem; do
    ls "$stem.cpp" "${stem}_test.cpp" 2>/dev/null || true
  done
}

wanted() {
  case "${1:-}" in
    "") changed ;;
    all) git ls-files 'src/*.cpp' 'tests/*.cpp' ;;
    *) git ls-files --cached --others --exclude-standard "$@" | grep '\.cpp$' || true ;;
  esac
}

# Only what this build compiles: -DMUSTER_WITH_TORCH=OFF leaves files out, and headers alone say too little.
compiled() {
  python3 -c '
import json, os, sys
known = {os.path.realpath(os.path.join(e["directory"], e["file"])) for e in json.load(open(sys.argv[1]))}
print("\n".join(sorted({line.strip() for line in sys.stdin if os.path.realpath(line.strip()) in known})))
' "$build/compile_commands.json"
}

mapfile -t files < <(wanted "$@" | compiled | sed '/^$/d')
printf '\033[1m==>\033[0m clang-tidy: %d files\n' "${#files[@]}" >&2
[ "${#files[@]}" -gt 0 ] || exit 0
# Its own stderr only counts the warnings that it does not show.
printf '%s\0' "${files[@]}" |
  nice xargs -0 -n 1 -P "${MUSTER_LINT_JOBS:-$(nproc)}" clang-tidy -p "$build" --quiet '--warnings-as-errors=*' 2>/dev/null
