#!/usr/bin/env bash
# Makes .venv313: the app's requirements and the library with which Azure's Python 3.13 worker loads an app. Where that
# Python is not on the machine it says so and makes nothing; the tests that need it are skipped then.
set -euo pipefail
cd "$(dirname "$0")/.."

# A pyenv shim answers only for a version that is chosen; the tests skip on the same condition.
for version in "${PYENV_VERSION:-}" 3.13 $(pyenv versions --bare 2>/dev/null | grep '^3\.13' || true); do
    python="$(PYENV_VERSION="$version" python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null)" && break
    python=""
done
if [ -z "$python" ]; then
    echo "Python 3.13 is not on this machine: the app is not run by the library of Azure's own worker."
    exit 0
fi
[ .venv313/ready -nt requirements.txt ] && [ .venv313/ready -nt tools/make_worker_venv.sh ] && exit 0

"$python" -m venv --clear .venv313
.venv313/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
# --no-deps: the app's own pins stand, whatever the library asks for.
.venv313/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
    azure-functions-runtime==1.3.0 azurefunctions-extensions-base==1.2.0
touch .venv313/ready
