# make run     set up and serve the bundled model (PORT=8000 HOST=127.0.0.1 MODEL=... ARGS=...)
# make test    set up and run the tests, on all cores (ARGS=... for pytest, WORKERS=0 for one process)
# make test-clients   set up and run the tests of other people's clients against the server
# make check   ruff and mypy
# make bench   measure the engine on the bundled model (ARGS=... for other shapes)
# make setup   only the environment, with the tools of development
# make clean   remove the environment and what was built
#
# PYTHON chooses the interpreter (3.11 to 3.13). torch comes from pip's own index; TORCH_INDEX_URL chooses another,
# for instance one with CPU builds only. ESPALIER_DATA_DIR chooses where the server stores things.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
MODEL ?=
ARGS ?=
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
export TORCH_INDEX_URL

.PHONY: run test test-clients check bench setup clean

run: $(VENV)/.run
	$(BIN)/espalier serve $(MODEL) --host $(HOST) --port $(PORT) $(ARGS)

# A test uses one core: each worker takes whole files, so that what a file shares is made once.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

# Other people's clients leave sockets and event loops to the collector.
test-clients: $(VENV)/.clients
	$(BIN)/python -W ignore::ResourceWarning -m pytest -W ignore::ResourceWarning \
		-W ignore::pytest.PytestUnraisableExceptionWarning tests/clients $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p espalier
	$(BIN)/mypy tests
	$(BIN)/mypy --strict $(filter-out examples/agents/openai_agents.py,$(wildcard examples/agents/*.py))

bench: $(VENV)/.run
	$(BIN)/espalier bench engine $(ARGS)

setup: $(VENV)/.dev

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

# The stamps make a second call free. The runtime set leaves out the tools of development, so that serving starts soon.
$(VENV)/.run: pyproject.toml requirements.lock .ci/environment.py
	$(PYTHON) .ci/environment.py $(VENV) --extra server
	@touch $@

$(VENV)/.dev: pyproject.toml requirements.lock .ci/environment.py
	$(PYTHON) .ci/environment.py $(VENV) --extra server --extra dev
	@touch $@ $(VENV)/.run

$(VENV)/.clients: pyproject.toml requirements.lock .ci/environment.py
	$(PYTHON) .ci/environment.py $(VENV) --extra server --extra dev --extra mcp --extra clients
	@touch $@ $(VENV)/.dev $(VENV)/.run
