# Each target makes its own virtual environment from pinned requirements and leaves the machine otherwise alone.
# Needs make and Python 3.11 or newer; another interpreter than python3: make test PYTHON=python3.13
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
DEMO := .venv-demo-$(VERSION)
TEST := .venv-test-$(VERSION)
DOCS := .venv-docs-$(VERSION)
DIST := .venv-dist-$(VERSION)
# Two processes of tests, a file at a time: most of the time goes to XLA's compiler, which uses one core.
PYTEST := $(TEST)/bin/python -m pytest -n 2 --dist loadfile

# What another JAX or Python can break: all that computes, and the doors to it.
JAX_TESTS := tests/algorithms tests/models tests/inference tests/evaluation tests/training tests/zoo \
	tests/test_house.py tests/test_stored_arrays.py

.PHONY: demo test test-fast test-contracts test-jax lint docs dist clean

demo: $(DEMO)/ready
	$(DEMO)/bin/fcn-jax demo --output demo

test: $(TEST)/ready
	$(PYTEST)

test-fast: $(TEST)/ready
	$(PYTEST) -m "not slow"

test-contracts: $(TEST)/ready
	$(PYTEST) -m slow tests/parity tests/test_notebooks.py

test-jax: $(TEST)/ready
	$(PYTEST) -m "not slow or devices" $(JAX_TESTS)

# Pyright asks the first python on the PATH where packages lie, and the network for its newest version unless told not to.
lint: $(TEST)/lint-ready
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	PATH="$(CURDIR)/$(TEST)/bin:$$PATH" PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(TEST)/bin/pyright

# Reads the sources without importing them, so it needs neither JAX nor this package installed.
docs: $(DOCS)/ready
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet

# Builds sdist and wheel; then the wheel alone, in a fresh environment far from the checkout, segments a picture.
dist: $(DIST)/ready
	rm -rf dist build
	$(DIST)/bin/python -m build --no-isolation --outdir dist . >/dev/null
	$(DIST)/bin/python scripts/check_dist.py dist --python $(PYTHON)

$(DEMO)/ready: requirements/demo.txt pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed, this is " + sys.version'
	$(PYTHON) -m venv --clear $(DEMO)
	$(DEMO)/bin/pip install --quiet --disable-pip-version-check -r requirements/demo.txt
	$(DEMO)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(TEST)/ready: requirements/demo.txt requirements/test.txt pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed, this is " + sys.version'
	$(PYTHON) -m venv --clear $(TEST)
	$(TEST)/bin/pip install --quiet --disable-pip-version-check -r requirements/test.txt
	$(TEST)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(TEST)/lint-ready: $(TEST)/ready requirements/lint.txt
	$(TEST)/bin/pip install --quiet --disable-pip-version-check -r requirements/lint.txt
	touch $@


$(DOCS)/ready: requirements/docs.txt
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check -r requirements/docs.txt
	touch $@

$(DIST)/ready: requirements/dist.txt
	$(PYTHON) -m venv --clear $(DIST)
	$(DIST)/bin/pip install --quiet --disable-pip-version-check -r requirements/dist.txt
	touch $@

clean:
	rm -rf .venv-demo-* .venv-test-* .venv-docs-* .venv-dist-* .pytest_cache demo build dist site *.egg-info
