# Each target first installs the packages that it needs into .venv. PYTHON=... picks the interpreter.
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PEERS := .venv-bench
PEER_PACKAGES := torch stable-baselines3 sbx-rl rejax==0.1.3 'gymnax<1' 'gymnasium[classic-control]'
# Four workers share the test files; more would only compete for memory.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile
FRESH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help install demo test lint docs bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/installed-dev ## install all development tools into .venv

demo: $(VENV)/installed-report ## run the whole chain on the sweep that ships with the project
	$(BIN)/bayescale demo --out out

test: $(VENV)/installed-dev ## run the tests on all cores
	$(BIN)/python -m pytest -q $(PARALLEL)

lint: $(VENV)/installed-dev ## check format, lint, wording, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python .ci/check_words.py .ci bayescale case_studies docs models runners tests
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/installed-dev ## build the documentation into site/; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir site

bench: $(VENV)/installed-dev ## measure speed against peers, one JSON object per line; ONLY=NAME,... picks benchmarks
	-@test -e $(PEERS)/installed || { $(BIN)/python -m venv $(PEERS) && $(PEERS)/bin/python -m pip \
	  --disable-pip-version-check install --quiet --constraint constraints.txt $(PEER_PACKAGES) && touch $(PEERS)/installed; }
	@BAYESCALE_CACHE=off BENCH_PEERS=$(PEERS)/bin/python $(BIN)/python tests/benchmarks/bench.py $(if $(ONLY),--only '$(ONLY)')

clean: ## remove the files that the other targets made
	rm -rf $(VENV) $(PEERS) out site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find bayescale models runners tests case_studies -name __pycache__ -type d -prune -exec rm -rf {} +

# These stamp files let a second call install nothing unless the requirements changed.
$(VENV)/installed-report: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[report]'
	@touch $@

$(VENV)/installed-dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/installed-report

$(BIN)/python:
	@python=; \
	for candidate in $(or $(PYTHON),python3 python python3.13 python3.12 python3.11); do \
	  if $$candidate -c '$(FRESH)' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'BayeScale needs Python 3.11 or newer with its venv module: install one, or name it with make PYTHON=/path/to/python.' >&2; \
	  exit 1; \
	fi; \
	echo "creating $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV)
