# `make help` lists the targets. Everything below needs only Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PORT ?= 3000
# Processes that run the tests: one more than there are processors, since some of them wait.
WORKERS ?= 3
STAMP := $(VENV)/.installed
BROWSER_STAMP := $(VENV)/.browser-installed
DBT_STAMP := .venv-dbt/.installed
SUPERSET_STAMP := .venv-clients/superset/.installed

# The project folder that Dagster works in: this one if it has an .env, else the demo's.
HOME_DIR := $(if $(wildcard .env),$(CURDIR),$(if $(wildcard demo/.env),$(CURDIR)/demo,$(CURDIR)))
export DAGSTER_HOME = $(HOME_DIR)

# Names and days go to the commands through the environment, as they were typed: in a line of shell a quote would end
# them, and what make reads in a $ (as in CAMPAIGN='Ke$$ha') would be replaced.
COMMAND := $(BIN)/soundlink
unexport ACCOUNT CAMPAIGN SOUNDLINK FROM TO DAYS DIR PORT
export MAKE_ACCOUNT := $(value ACCOUNT)
export MAKE_CAMPAIGN := $(value CAMPAIGN)
export MAKE_SOUNDLINK := $(value SOUNDLINK)
export MAKE_FROM := $(value FROM)
export MAKE_TO := $(value TO)
export MAKE_DAYS := $(value DAYS)
export MAKE_DIR := $(value DIR)
export MAKE_PORT := $(value PORT)
RANGE := $(if $(value DAYS),--days="$$MAKE_DAYS",--from="$$MAKE_FROM" --to="$$MAKE_TO")
# One that is given empty is given: the command refuses it, and does not take all.
OF_ACCOUNT := $(if $(filter command,$(origin ACCOUNT)),--account="$$MAKE_ACCOUNT")
OF_CAMPAIGN := $(if $(filter command environment,$(origin CAMPAIGN)),--campaign="$$MAKE_CAMPAIGN")
OF_SOUNDLINK := $(if $(filter command environment,$(origin SOUNDLINK)),--soundlink="$$MAKE_SOUNDLINK")

# Tests start hundreds of processes: what Python compiles is kept for the next one, also where a container forbids it.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install lock demo dev backfill status doctor sql report totals rebuild publish export backup test check lint types tests browser pictures dbt chaos fuzz endurance audit bench bench-quick clients dashboard trydashboard alternatives docs clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(STAMP) ## Create .venv with the locked requirements and the package

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11 install")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

lock: ## Pin the newest allowed versions in the requirements files (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
		--extra dev pyproject.toml -o requirements.txt
	sed -n 's/^browser = \["\(.*\)"\]/\1/p' pyproject.toml | uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-header --upgrade -c requirements.txt --no-emit-package typing-extensions - -o requirements-browser.txt
	sed -n 's/^audit = \["\(.*\)"\]/\1/p' pyproject.toml | uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-header --upgrade - -o requirements-audit.txt
	cd dbt_like_sql && uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
		requirements-dbt.in -o requirements-dbt.txt
	cd deploy && uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade --no-deps \
		-c ../requirements.txt requirements-postgres.in -o requirements-postgres.txt
	cd benchmarks/alternatives && for name in dlt pandas rows; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
			-c ../../requirements.txt requirements-$$name.in -o requirements-$$name.txt || exit 1; \
	done
	cd examples/clients && for file in requirements-*.in; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
			$$file -o $${file%.in}.txt || exit 1; \
	done
	cd examples/clients/node && npm install --package-lock-only --omit-lockfile-registry-resolved --silent

demo: install ## Run the pipeline against a local Soundlink API: no key, no questions
	@$(COMMAND) demo

dev: install ## Open the Dagster UI, with daemon, on 127.0.0.1:3000 (PORT=…)
	@cd "$(HOME_DIR)" && exec $(COMMAND) dev --port="$$MAKE_PORT"

backfill: install ## Pull days: make backfill DAYS=90, or FROM=2026-01-01 TO=2026-03-31 (REFETCH=1: settled ones too; CAMPAIGN=…; SOUNDLINK=…; ACCOUNT=…; ACCEPT_SMALLER=1)
	@test -n "$$MAKE_DAYS" || test -n "$$MAKE_FROM" -a -n "$$MAKE_TO" || { echo 'Missing range: make backfill DAYS=90, or FROM=2026-01-01 TO=2026-03-31'; exit 2; }
	@cd "$(HOME_DIR)" && $(COMMAND) pull $(RANGE) $(OF_CAMPAIGN) $(OF_SOUNDLINK) $(OF_ACCOUNT) $(if $(REFETCH),--refetch) $(if $(ACCEPT_SMALLER),--accept-smaller)

status: install ## Show what is loaded and settled, the last run and the next one
	@cd "$(HOME_DIR)" && $(COMMAND) status

doctor: install ## Find what would make a run fail, and what to do about it; changes nothing
	@cd "$(HOME_DIR)" && $(COMMAND) doctor

sql: install ## Ask the published file in a small shell, read-only
	@cd "$(HOME_DIR)" && $(COMMAND) sql

report: install ## Write report.html beside the database: make report CAMPAIGN="Sleep Playlist 1" (in single quotes: 'A$AP'); SEND=1 sends the weekly report
	@cd "$(HOME_DIR)" && $(COMMAND) report $(OF_CAMPAIGN) $(if $(SEND),--send)

totals: install ## Compare the rows of every live campaign with Soundlink's own totals: one request each
	@cd "$(HOME_DIR)" && $(COMMAND) totals

rebuild: install ## Load every landed delivery that the warehouse lacks; makes no request
	@cd "$(HOME_DIR)" && $(COMMAND) rebuild

publish: install ## Publish a file of one account's rows alone: make publish ACCOUNT=label_a
	@cd "$(HOME_DIR)" && $(COMMAND) publish $(OF_ACCOUNT)

export: install ## Export the published file as Parquet, what has changed: make export TO=/lake, or TO=s3://… (without: SOUNDLINK_EXPORT_TO)
	@case "$$MAKE_TO" in /*|*://*|'') ;; *) MAKE_TO="$(CURDIR)/$$MAKE_TO" ;; esac; cd "$(HOME_DIR)" && $(COMMAND) export $(if $(value TO),--to="$$MAKE_TO")

backup: install ## Copy what cannot be had again into a new folder, also while runs go on: make backup DIR=…
	@test -n "$$MAKE_DIR" || { echo 'Missing folder: make backup DIR=/backups/2026-11-28'; exit 2; }
	@case "$$MAKE_DIR" in /*) ;; *) MAKE_DIR="$(CURDIR)/$$MAKE_DIR" ;; esac; cd "$(HOME_DIR)" && $(COMMAND) backup "$$MAKE_DIR"

check: install ## Lint, types and tests, at the same time: what CI runs
	@$(MAKE) --no-print-directory -j 3 lint types tests

test: check ## The same as check

$(BROWSER_STAMP): $(STAMP) requirements-browser.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-browser.txt
	@touch $(BROWSER_STAMP)

browser: $(BROWSER_STAMP) ## Test the report and the Dagster UI in a real Chromium (needs the system's chromium)
	$(BIN)/python -m pytest -m browser

pictures: $(BROWSER_STAMP) ## Take the pictures of the Dagster UI in docs/ui anew, of a fresh demo (needs the system's chromium)
	$(BIN)/python -m soundlink_pipeline_tests.documents.ui_pictures

$(DBT_STAMP): dbt_like_sql/requirements-dbt.txt
	$(PYTHON) -m venv .venv-dbt
	.venv-dbt/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r dbt_like_sql/requirements-dbt.txt
	@touch $(DBT_STAMP)

dbt: install $(DBT_STAMP) ## Test that dbt makes the same of dbt_like_sql/ and of 60 random projects (installs dbt into .venv-dbt)
	SOUNDLINK_DBT=$(CURDIR)/.venv-dbt/bin/dbt $(BIN)/python -m pytest -m dbt

chaos: install ## Run the slow tests: 200 kills, 2,000 sequences of network faults, concurrent deployments (two hours)
	$(BIN)/python -m pytest -m slow
	$(BIN)/python -m pytest soundlink_pipeline_tests/trials/crashes soundlink_pipeline_tests/trials/network \
		soundlink_pipeline_tests/models/test_incremental.py -s --kills 200 --sequences 2000 --histories 100 --timeout 7200

fuzz: install ## Test 100,000 damaged deliveries, 200 histories of pulls and 1,000 damaged folders of SQL models
	$(BIN)/python -m pytest soundlink_pipeline_tests/trials/fuzzing soundlink_pipeline_tests/loading/test_damaged.py \
		soundlink_pipeline_tests/loading/test_merge_rule.py -s --inputs 100000 --timeout 7200
	$(BIN)/python -m pytest soundlink_pipeline_tests/marts/test_what_would_be_answered.py --histories 200 --timeout 7200
	$(BIN)/python -m pytest soundlink_pipeline_tests/models/test_any_folder.py --folders 1000 --timeout 7200

endurance: install ## Simulate a year of daily refreshes, revisions, outages and kills, and chart time, memory and disk
	$(BIN)/python -m benchmarks.endurance
	$(BIN)/python -W ignore -m benchmarks.settling --picture benchmarks/results/endurance/estimates.png | tee benchmarks/results/endurance/estimates.md

audit: ## Look up every pinned dependency in the public list of known vulnerabilities
	test -x .venv-audit/bin/pip-audit || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-audit.txt
	for file in requirements*.txt dbt_like_sql/requirements-dbt.txt deploy/requirements-postgres.txt; do \
		.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$file || exit 1; \
	done

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

tests:
	@# Not what this make is told: tests start make themselves.
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

bench: install ## Measure speed, memory and requests, and write docs/benchmarks.md (half an hour)
	$(BIN)/python -m benchmarks

bench-quick: install ## First load, redelivery and refresh, in a few minutes
	$(BIN)/python -m benchmarks --quick

clients: install ## Ask the demo's published file by every client of docs/analysts.md, and its Parquet by every reader of docs/parquet.md, each in its own environment (needs npm and LibreOffice)
	test -e demo/data/soundlink.duckdb || $(COMMAND) demo
	$(BIN)/python examples/clients/run.py
	$(BIN)/python examples/parquet/run.py

$(SUPERSET_STAMP): examples/clients/requirements-superset.txt
	$(PYTHON) -m venv .venv-clients/superset
	.venv-clients/superset/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r examples/clients/requirements-superset.txt
	@touch $(SUPERSET_STAMP)

dashboard: $(SUPERSET_STAMP) ## Serve the dashboard of four pages on 127.0.0.1:8088 (PORT=…; installs Superset, 1 GB)
	@.venv-clients/superset/bin/python examples/dashboard/serve.py "$(HOME_DIR)/data/soundlink.duckdb" $(if $(filter command,$(origin PORT)),"$$MAKE_PORT",8088)

trydashboard: $(BROWSER_STAMP) $(SUPERSET_STAMP) ## Look at all four pages of the dashboard in a real Chromium (needs the system's chromium)
	test -e demo/data/soundlink.duckdb || $(COMMAND) demo
	$(BIN)/python examples/dashboard/try_it.py demo/data/soundlink.duckdb .venv-clients/superset/bin/python

alternatives: ## Install what make bench compares with: dlt, pandas, row by row
	for name in dlt pandas rows; do \
		$(PYTHON) -m venv .venv-alternatives/$$name || exit 1; \
		.venv-alternatives/$$name/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
			-r benchmarks/alternatives/requirements-$$name.txt || exit 1; \
	done

docs: install ## Write the generated parts of docs/: exports, OpenAPI, data dictionary, architecture, analysts' answers
	$(BIN)/python -m soundlink_pipeline.commands.contract_docs > docs/exports.md
	$(BIN)/python -m soundlink_pipeline.commands.contract_docs docs/soundlink-openapi.yaml
	$(BIN)/python -m soundlink_pipeline.commands.data_dictionary > docs/data-dictionary.md
	$(BIN)/python -m soundlink_pipeline_tests.architecture.picture
	$(BIN)/python -m soundlink_pipeline_tests.documents.analysts_docs

clean: ## Remove the virtual environment and the demo; data stays
	rm -rf $(VENV) .venv-* demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
