#!/usr/bin/env bash
# Makes .venv with everything pinned in it and the drivekeep command; needs Python 3.11 to 3.13.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"

"$python" - <<'PY' || { echo "drivekeep needs Python 3.11, 3.12 or 3.13. Install one, or name it: make setup PYTHON=python3.12" >&2; exit 1; }
import sys
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PY

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then # Debian packs these apart
    tools/apt_install.sh python3-venv || {
        echo "Python's venv module is missing. Install it first: apt-get install python3-venv" >&2
        exit 1
    }
fi
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
touch .venv/ready
