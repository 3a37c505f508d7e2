# Every target first creates what it needs: a virtual environment in .venv from the pinned constraints.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: help demo test ui up down lint bench ticks reaction team simulations campaigns outages clean

help: ## Show the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) ## Measure, rank and promote real small models on a sample database
	$(BIN)/bench demo

# Tests wait for processes and sockets more than they compute, so there are more workers than the two cores of a small
# machine.
test: $(INSTALLED) ## Run the tests, or some: make test ARGS="-k name" (downloads a model of 98 MB once)
	$(BIN)/python -m pytest --quiet --numprocesses 4 --dist worksteal $(ARGS)

ui: $(INSTALLED) ## Start Dagster's web server and daemon on http://127.0.0.1:3000
	$(BIN)/bench ui -w workspace.yaml

# A rehearsal of deploy/ on this machine, without root and without containers, in .rehearsal/.
up: $(INSTALLED) ## Start the deployment on this machine: PostgreSQL, nginx, two code locations (PORT=8443)
	@$(BIN)/python -m bench_pipeline_tests.kit.rehearsal up --port $(or $(PORT),8443)

down: $(INSTALLED) ## Stop it; the databases stay
	@$(BIN)/python -m bench_pipeline_tests.kit.rehearsal down

lint: $(INSTALLED) ## Check style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED) ## Measure this program beside a plain loop (minutes)
	$(BIN)/python -m benchmarks $(ARGS)

simulations: $(INSTALLED) ## Simulate how often decisions and races err; writes docs/reference/simulations.md
	$(BIN)/python -m benchmarks.decisions --markdown docs/reference/simulations.md --csv docs/reference/simulations.csv
	$(BIN)/python -m benchmarks.repetitions --markdown docs/reference/simulations.md
	$(BIN)/python -m benchmarks.racing --markdown docs/reference/simulations.md

ticks: $(INSTALLED) ## Measure the memory of daemon and code server over 1,000 sensor ticks (minutes)
	$(BIN)/python -m benchmarks.sensor_ticks

reaction: $(INSTALLED) ## Time a new model from its actor to the decision about it (minutes)
	$(BIN)/python -m benchmarks.trigger_to_decision

team: $(INSTALLED) ## Time commands on the database of a large team (a minute)
	$(BIN)/python -m benchmarks.team_commands

campaigns: $(INSTALLED) ## Kill and race promotions; writes docs/reference/campaigns.md (minutes)
	$(BIN)/python -m bench_pipeline_tests.campaigns.crashes --markdown docs/reference/campaigns.md
	$(BIN)/python -m bench_pipeline_tests.campaigns.races --markdown docs/reference/campaigns.md

outages: $(INSTALLED) ## Kill parts of a running deployment; writes docs/reference/outages.md (hours)
	$(BIN)/python -m bench_pipeline_tests.campaigns.outages --markdown docs/reference/outages.md

clean: ## Remove the environment and caches; keep results
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
