#!/usr/bin/env bash
# Installs what building and testing need: packaging/apt.txt into the system, packaging/python.txt into
# .deps/venv. Quick when nothing is left to do. Run by ./run; by hand: tools/install.sh
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

missing_packages() {
  local package
  grep -v '^#' packaging/apt.txt | while read -r package; do
    [ -n "$package" ] || continue
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

install_packages() {
  command -v apt-get >/dev/null || {
    echo "This machine has no apt-get. Install by hand what packaging/apt.txt names, then run with MUSTER_SKIP_INSTALL=1." >&2
    exit 1
  }
  local missing sudo=""
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
      printf 'These packages are missing and only root can install them:\n  apt-get install %s\n' "$(echo $missing)" >&2
      exit 1
    }
    sudo=sudo
  fi
  say "installing with apt: $(echo $missing)"
  $sudo apt-get update -q >&2
  # shellcheck disable=SC2086
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >&2
}

# The wheels are bound to one Python; the stamp holds what was asked for and by whom.
install_wheels() {
  local python=${MUSTER_BASE_PYTHON:-python3} stamp wanted
  stamp=.deps/venv/.installed
  wanted="$(sha256sum < packaging/python.txt) $("$python" --version)"
  [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ] && return 0
  say "installing with pip into .deps/venv (libtorch and Arrow; some hundred MB)"
  rm -rf .deps/venv
  "$python" -m venv .deps/venv
  .deps/venv/bin/python -m pip install --disable-pip-version-check --progress-bar off -q -r packaging/python.txt >&2
  echo "$wanted" > "$stamp"
}

[ -z "${MUSTER_SKIP_INSTALL:-}" ] || exit 0
# Two runs at once would take each other's half-made environment away: the second waits for the first.
mkdir -p .deps
exec 9>.deps/install.lock
flock -w 1800 9 || { echo "another tools/install.sh holds .deps/install.lock for half an hour; end it and try again" >&2; exit 1; }
install_packages
install_wheels
