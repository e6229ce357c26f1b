# SPDX-License-Identifier: Apache-2.0
# Everything runs in .venv, which `make install` makes from the locked versions. No target needs a key (but `live`),
# more of the internet than the package index, or root (but `test-browser`, if there is no Chromium).

PYTHON ?= python3
UV_VERSION := 0.13.9

BIN := .venv/bin
# --inexact: uv itself lives in .venv and is not in the lock, so an exact sync would remove it.
# Users choose among the extras; developers need them all, and the dependency group `dev`.
UV_SYNC := $(BIN)/uv sync --frozen --inexact --all-extras --group dev
LOCKED := pyproject.toml uv.lock
# The binaries of another Airflow, with a home of their own.
OTHER = AIRFLOW_HOME=$(CURDIR)/.venv-airflow-$(V)/airflow .venv-airflow-$(V)/bin
# Four processes have an Airflow each; most tests wait for time to pass, and leave others the processor.
PARALLEL := -n 8

# uv takes the interpreters that are there, and trusts the certificates of this machine: a TLS proxy's are among them.
export UV_PYTHON_DOWNLOADS := never
export UV_SYSTEM_CERTS ?= 1
# Tests start many processes. Where Python may not write files of its own, each would compile all of Airflow again.
export UV_COMPILE_BYTECODE ?= 1
# What MkDocs says about its own future is not about these pages.
export NO_MKDOCS_2_WARNING := 1
# pip has its own name for this variable.
ifneq ($(SSL_CERT_FILE),)
export PIP_CERT ?= $(SSL_CERT_FILE)
endif

# Handed on by the environment, so that a path with blanks or quotes arrives as it is.
export AUDIO
# The most that one `make live` may cost, in US dollars.
export ASSEMBLYAI_LIVE_MAX_USD ?= 0.50

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PRECIOUS: .venv-airflow-%/.installed-dev
.PHONY: help install demo test fuzz test-airflow test-python test-clients test-distributed test-speech-drops check
.PHONY: test-browser test-page-commands test-docs docs docs-serve docs-publish chaos chaos-quick chaos-batch live check-spec dist dist-check
.PHONY: bench-gateway bench-import bench-page bench-streaming bench-upload bench-waiting

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed-dev ## make .venv with everything for demo, test and check

demo: install ## turn a recording into text and a summary, without a key: make demo [AUDIO=path-or-url]
	@$(BIN)/python scripts/demo.py "$$AUDIO"

test: install ## every test that needs no key
	$(BIN)/python -m pytest $(PARALLEL)

fuzz: install ## values that should not be given, and answers that should not be sent, much of it; `make test` tries a little
	FUZZ_PROFILE=thorough $(BIN)/python -m pytest $(PARALLEL) tests/fuzz tests/hostile/test_every_operator.py

test-airflow: ## the same for another Airflow: make test-airflow V=3.1 (or 3.2, 3.3: the newest patch of it)
	@case "$(V)" in 3.1|3.2|3.3) ;; *) echo "make test-airflow needs V=3.1, V=3.2 or V=3.3." >&2; exit 2 ;; esac
	@$(MAKE) --no-print-directory .venv-airflow-$(V)/.installed-dev
	$(OTHER)/python -m pytest $(PARALLEL) tests/airflow tests/unit tests/integration tests/hostile tests/golden

test-python: $(BIN)/uv ## unit and integration tests on another Python: make test-python V=3.12 (or 3.11, 3.13, 3.14)
	@case "$(V)" in 3.11|3.12|3.13|3.14) ;; *) echo "make test-python needs V=3.11, V=3.12, V=3.13 or V=3.14." >&2; exit 2 ;; esac
	@$(MAKE) --no-print-directory .venv-python-$(V)/.installed-dev
	.venv-python-$(V)/bin/python -m pytest $(PARALLEL) tests/unit tests/integration tests/hostile tests/golden

test-clients: install ## the emulator with clients made by others, each in an environment of its own
	$(BIN)/python -m tests.third_party_clients.environments
	$(BIN)/python -m pytest tests/third_party_clients

test-page-commands: install ## what the pages say you type: the first steps on a machine that has nothing yet, every command, the tests of a project
	$(BIN)/python -m pytest -n 2 tests/page_commands

test-distributed: install .venv/.installed-distributed ## PostgreSQL, Redis, two Celery workers, two triggerers; one of each dies
	$(BIN)/python -m pytest tests/distributed

test-speech-drops: install ## ten minutes of real speech, twenty broken connections: what it changes in the text, in five minutes
	$(BIN)/python -m pytest -s tests/speech_drops

test-browser: ## the pages in Airflow's UI, with Debian's Chromium; with V=3.1 (or 3.2, 3.3) on that Airflow. Needs root, or Chromium
	@case "$(V)" in ""|3.1|3.2|3.3) ;; *) echo "make test-browser knows V=3.1, V=3.2 and V=3.3." >&2; exit 2 ;; esac
	@tests/browser/install-chromium
	@$(MAKE) --no-print-directory $(if $(V),.venv-airflow-$(V),.venv)/.installed-browser
	$(if $(V),$(OTHER),$(BIN))/python -m pytest tests/browser

docs: install .venv/.installed-docs ## build the documentation site into build/site; a warning is an error
	$(BIN)/python -m mkdocs build

docs-serve: install .venv/.installed-docs ## show the documentation at http://127.0.0.1:8000 while you write it
	$(BIN)/python -m mkdocs serve

docs-publish: install .venv/.installed-docs ## push the site of a version to the branch gh-pages: make docs-publish VERSION=v0.1.0 (or main)
	@case "$(VERSION)" in main|v[0-9]*) ;; *) echo "make docs-publish needs VERSION=main or a tag such as v0.1.0." >&2; exit 2 ;; esac
	$(if $(filter main,$(VERSION)),$(BIN)/mike deploy --push dev,$(BIN)/mike deploy --push --update-aliases $(VERSION:v%=%) latest)
	$(if $(filter main,$(VERSION)),,$(BIN)/mike set-default --push latest)

test-docs: docs .venv/.installed-browser ## the site in Debian's Chromium: search, accessibility, no other hosts
	@tests/browser/install-chromium
	$(BIN)/python -m pytest tests/site

check: install ## formatting, lint and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

chaos: install .venv/.installed-chaos ## kill a real Airflow at every point, five times each, and count what it costs
	$(BIN)/python -m tests.chaos

chaos-quick: ## the same, once each; with V=3.1 (or 3.2, 3.3) on that Airflow, every task with an output_path
	@case "$(V)" in ""|3.1|3.2|3.3) ;; *) echo "make chaos-quick knows V=3.1, V=3.2 and V=3.3." >&2; exit 2 ;; esac
	@$(MAKE) --no-print-directory $(if $(V),.venv-airflow-$(V),.venv)/.installed-chaos
	$(if $(V),$(OTHER),$(BIN))/python -m tests.chaos --quick

chaos-batch: install ## tasks that are killed: a batch of 2,000, one on a store that tears files, eight that want one job; in five minutes
	$(BIN)/python -m tests.support.batch_kills --items 2000 --kills 10 --deferrable

live: install ## tests against the real service; costs money, up to ASSEMBLYAI_LIVE_MAX_USD
	@test -n "$$ASSEMBLYAI_API_KEY" || { echo "make live needs ASSEMBLYAI_API_KEY in the environment." >&2; exit 2; }
	$(BIN)/python -m pytest tests/live

dist: install .venv/.installed-release ## build the sdist and the wheel into dist/, and check what they hold
	rm -rf dist
	$(BIN)/uv build --out-dir dist
	$(BIN)/twine check --strict dist/*.tar.gz dist/*.whl
	$(BIN)/check-wheel-contents dist/*.whl

dist-check: dist ## check and test the sdist as a checkout, and the wheel as Airflow sees it
	rm -rf build/dist-check
	mkdir -p build/dist-check/sdist
	tar -xzf dist/*.tar.gz -C build/dist-check/sdist --strip-components 1
	$(MAKE) -C build/dist-check/sdist check
	cd build/dist-check/sdist && $(BIN)/python -m pytest $(PARALLEL) tests/unit
	$(BIN)/uv venv --quiet --python $(BIN)/python build/dist-check/wheel
	$(BIN)/uv export --quiet --frozen --no-dev --no-emit-project --output-file build/dist-check/locked.txt
	$(BIN)/uv pip install --quiet --python build/dist-check/wheel/bin/python -r build/dist-check/locked.txt dist/*.whl
	cd build/dist-check && AIRFLOW_HOME=$(CURDIR)/build/dist-check/airflow wheel/bin/airflow providers get airflow-provider-assemblyai

bench-gateway: install .venv/.installed-bench ## pace and price of waiting for a model, beside other clients
	$(BIN)/python benchmarks/bench_gateway.py

bench-import: install .venv/.installed-bench ## what importing the operators costs, beside other providers
	$(BIN)/python benchmarks/bench_import.py

bench-page: install .venv/.installed-bench .venv/.installed-browser ## what a long transcript costs the browser that shows it
	@tests/browser/install-chromium
	$(BIN)/python benchmarks/bench_page.py

bench-streaming: install .venv/.installed-bench ## what a live recording costs, beside the official SDK
	$(BIN)/python benchmarks/bench_streaming.py

bench-upload: install .venv/.installed-bench ## memory and speed of a 1 GiB upload
	$(BIN)/python benchmarks/bench_upload.py

bench-waiting: install .venv/.installed-bench ## what it costs to wait for 10,000 jobs, beside other providers
	$(BIN)/python benchmarks/bench_waiting.py

check-spec: install .venv/.installed-spec ## the emulator against the service's description: make check-spec SPEC=path
	@test -n "$(SPEC)" || { echo "make check-spec needs SPEC=path-to-the-description." >&2; exit 2; }
	$(BIN)/python tests/emulator/check_spec.py "$(SPEC)"

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make install PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# A stamp is newer than the lock it was installed from; a second `make install` does nothing.
.venv/.installed-dev: $(LOCKED) | $(BIN)/uv
	$(UV_SYNC)
	@touch $@

.venv/.installed-%: $(LOCKED) .venv/.installed-dev
	$(UV_SYNC) --group $*
	@touch $@

# The locked versions on another Python. pyenv keeps its interpreters off the PATH.
.venv-python-%/.installed-dev: $(LOCKED) | $(BIN)/uv
	@python=$$(PATH="$$PATH$$(printf ':%s' "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$**/bin)" \
		$(BIN)/uv python find --system --no-project $* 2>/dev/null) || \
		{ echo "There is no Python $* on this machine: install it, and call make again." >&2; exit 2; }; \
	UV_PROJECT_ENVIRONMENT=$(@D) $(UV_SYNC) --python "$$python"
	@touch $@

# Not locked: what a user gets who installs this minor of Airflow today is what has to work. Where Airflow itself
# does not work with that, a file of bounds says so.
.venv-airflow-%/.installed-dev: pyproject.toml $(wildcard tests/airflow/constraints-*.txt) | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(call INTO_OTHER,$*,dev)
	@touch $@

.venv-airflow-%/.installed-chaos: .venv-airflow-%/.installed-dev
	$(call INTO_OTHER,$*,dev chaos)
	@touch $@

.venv-airflow-%/.installed-browser: .venv-airflow-%/.installed-dev
	$(call INTO_OTHER,$*,dev browser)
	@touch $@

INTO_OTHER = $(BIN)/uv pip install --python $(@D)/bin/python "apache-airflow==$(1).*" \
	-e ".[common-ai,emulator,media]" $(addprefix --group ,$(2)) \
	$(addprefix --constraint ,$(wildcard tests/airflow/constraints-$(1).txt))
