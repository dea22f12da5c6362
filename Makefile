# Every command that a person types here. `make demo` and `make test` do all set-up by themselves.

PYTHON ?= python3
DRIVE ?=
PYTEST := .venv/bin/python -m pytest

.PHONY: help setup demo test check soak bench clean

help:
	@echo "make demo             back up a simulated OneDrive into Azurite and bring it back (DRIVE=folder: your own files)"
	@echo "make test             everything that must hold; stays under 15 minutes"
	@echo "make soak             the generated tests in full"
	@echo "make bench            speed against stock restic, as ratios"
	@echo "make check            format, lint, types, import contracts"

setup: .venv/ready node_modules/.bin/azurite

.venv/ready: requirements.txt requirements-dev.txt pyproject.toml tools/make_venv.sh
	@PYTHON="$(PYTHON)" tools/make_venv.sh

node_modules/.bin/azurite: package-lock.json tools/install_azurite.sh | .venv/ready
	@tools/install_azurite.sh

demo: setup
	@.venv/bin/drivekeep demo $(if $(DRIVE),--drive "$(DRIVE)")

check: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# Two workers suit two cores; what needs a fixed port or the machine for itself comes last, alone.
test: setup check
	@tools/install_judges.sh
	@tools/make_worker_venv.sh
	$(PYTEST) -n 2 --dist worksteal -m "not serial and not soak"
	$(PYTEST) -m "serial and not soak"

soak: setup
	@tools/install_judges.sh
	@tools/make_worker_venv.sh
	HYPOTHESIS_PROFILE=soak $(PYTEST) -n 2 --dist worksteal -m "not serial" --timeout 3600

bench: setup
	@tools/install_judges.sh
	.venv/bin/python -m benchmarks

clean:
	rm -rf .venv .venv313 node_modules build dist *.egg-info
