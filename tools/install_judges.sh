#!/usr/bin/env bash
# Brings the programs that judge us: restic, rclone, Chromium. Where they cannot be had, their tests say so and are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
for judge in restic rclone chromium; do command -v "$judge" >/dev/null || missing+=("$judge"); done
[ ${#missing[@]} = 0 ] && exit 0
tools/apt_install.sh "${missing[@]}" || {
    if [ "${CI:-}" = true ]; then exit 1; fi
    echo "Tests that need ${missing[*]} will be skipped." >&2
}
