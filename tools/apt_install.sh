#!/usr/bin/env bash
# Installs Debian packages where this user may; says so and fails where not.
set -euo pipefail
command -v apt-get >/dev/null || { echo "no apt-get here: install $* yourself" >&2; exit 1; }
if [ "$(id -u)" = 0 ]; then sudo=(); elif sudo -n true 2>/dev/null; then sudo=(sudo -n); else
    echo "may not install Debian packages here: install $* yourself" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
