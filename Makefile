# Everything runs in .venv, made here. Override the interpreter with PY=python3.12, gateway options with ARGS="--port 4001".
PY ?= python3
VENV ?= .venv
# Where pip finds torch for `make test`, e.g. TORCH_INDEX=<index URL of the CPU or CUDA builds>; empty: pip's own sources.
TORCH_INDEX ?=
TORCH := torch==2.13.0
ARGS ?=

BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
EDITABLE = $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
# Compiled now: a first start that compiles 80 packages is seconds slower.
LOCKED = $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --require-hashes --requirement
# Builds the int8 graph of the default encoder into the user's cache, once; a gateway then starts in seconds.
ENCODER = $(BIN)/python -m policies.encoders prepare minilm

.PHONY: install install-dev serve test accept bench lint lock clean

install: $(STAMPS)/serve  ## the gateway, its default encoder and its local model

install-dev: $(STAMPS)/dev  ## all of that and what tests and benchmarks need

serve: $(STAMPS)/serve  ## start the gateway on 127.0.0.1:4000
	@$(BIN)/gearshift serve $(ARGS)

# A process per core, each with one thread: small fits are three times slower on two, where cores are shared.
test: $(STAMPS)/dev  ## every fast test
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

accept: $(STAMPS)/dev  ## the full acceptance bars, long
	$(BIN)/python -m pytest -m "accept or not accept" tests/acceptance $(ARGS)
	$(BIN)/python -m bench --rounds 3 --check

bench: $(STAMPS)/dev  ## against nginx, TensorZero and LiteLLM
	$(BIN)/python -m bench $(ARGS)

lint: $(STAMPS)/dev  ## static checks only
	scripts/check

lock: $(STAMPS)/tools  ## rewrite requirements/*.lock; ARGS=--upgrade takes the newest
	UV=$(BIN)/uv scripts/lock $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(STAMPS)/tools: requirements/tools.lock
	@scripts/venv "$(PY)" "$(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements/tools.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/serve: $(STAMPS)/tools requirements/serve.lock pyproject.toml
	@if [ -e $(STAMPS)/dev ]; then $(MAKE) --no-print-directory install-dev; else \
	    echo "installing the gateway into $(VENV)" && $(LOCKED) requirements/serve.lock && $(EDITABLE) && $(ENCODER); fi
	@touch $@

# torch first and by itself: it is outside the locks, because its builds differ by machine.
$(STAMPS)/torch: $(STAMPS)/tools
	@echo "installing $(TORCH) into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(TORCH)
	@touch $@

$(STAMPS)/dev: $(STAMPS)/torch requirements/dev.lock pyproject.toml
	@echo "installing the gateway, its tests and its benchmarks into $(VENV)"
	@$(LOCKED) requirements/dev.lock && $(EDITABLE) && $(ENCODER)
	@touch $@
