# make            what there is to make
# Everything runs in .venv, which `make setup` creates; nothing has to be activated.
PYTHON ?= python3
SPARSITY ?= 0.8
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
LOCK := requirements.lock
# The folder above records, run pages and chapters, with a slash: `make quick` has its own.
TOP :=
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
CHAPTERS := $(NOTEBOOKS:notebooks/%=$(TOP)book/chapters/%)
LIBRARY := $(wildcard sparseconv_lib/*.py sparseconv_lib/study/*.py)
RULES := $(wildcard $(TOP)results/*.toml $(TOP)results/*.json)
RECORDS := $(wildcard $(TOP)results/*/* $(TOP)results/*/*/*.json)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup book quick pdf mnist runs missing test test-all check notebooks clean
.PHONY: lock coverage mutate versions

help:
	@echo "make book                  the report, in _build/html/index.html"
	@echo "make quick                 the whole book on generated images, in minutes, in _build/quick"
	@echo "make pdf                   the report as _build/pdf/book.pdf; needs a Chromium"
	@echo "make mnist SPARSITY=0.8    train the networks on MNIST now, beside the recorded numbers"
	@echo "make test                  what guards the project, but for what is slow"
	@echo "make test-all              all of it, with a hundred faults done to sweeps"
	@echo "make runs                  run what the published grid lacks (days on a CPU; may be stopped)"
	@echo "make missing               list what it lacks"
	@echo "make check                 style and types"
	@echo "make notebooks             after an edit of notebooks/*.py, or new records"
	@echo "make coverage              which lines and branches the tests run"
	@echo "make mutate                breaks the code in small ways: do the tests notice?"
	@echo "make versions              the oldest PyTorch that is admitted, against today's"
	@echo "make lock                  the hashes of what is installed, after a change of versions"
	@echo "make clean                 remove what was built; .venv and records stay"

setup: $(BIN)/.ready

# By the hashes of requirements.lock where it was made for such a machine (see tests/lock.py), and
# by the versions of constraints.txt elsewhere, or with `make setup LOCK=`.
# The marker comes last, so that an installation that broke off is done again.
$(BIN)/.ready: pyproject.toml constraints.txt $(LOCK)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11, 5) or sys.exit("Python 3.11.5 or newer is needed; name one: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv --clear .venv
	if [ -n "$(LOCK)" ] && $(BIN)/python tests/lock.py fits; then \
	  $(PIP) --no-deps --require-hashes -r $(LOCK) && \
	  $(PIP) --no-build-isolation -c constraints.txt -e '.[study,book,test]'; \
	else $(PIP) -c constraints.txt -e '.[study,book,test]'; fi
	@touch $@

lock: setup
	$(BIN)/python tests/lock.py

# Which lines and branches of the library the tests and notebooks run; kernels and workers are counted
# too, where they end by themselves (nbval kills its kernels). A process for each file, two at a time:
# pytest-xdist kills a worker that takes long to write what it counted. Tests in a browser are left
# out: under the tracer they take hours. A file that has no others ends with exit code 5.
UNDER_COVERAGE := OMP_NUM_THREADS=1 SPARSECONV_SOURCE=records xargs -P 2 -I @ sh -c
COVERAGE := $(BIN)/python -m coverage
coverage: book
	@rm -rf _build/coverage && mkdir -p _build/coverage/logs _build/coverage/notebooks
	ls $(NOTEBOOKS) | $(UNDER_COVERAGE) '$(COVERAGE) run -m papermill @ _build/coverage/@ --cwd notebooks --no-progress-bar < /dev/null'
	ls tests/test_*.py | $(UNDER_COVERAGE) '$(COVERAGE) run -m pytest -q -p no:cacheprovider -m "not slow and not browser" --deselect tests/test_mutation.py::test_nearly_all_lines_and_branches_are_run @ > _build/coverage/logs/$$(basename @) 2>&1 || [ $$? = 5 ] || { cat _build/coverage/logs/$$(basename @); exit 1; }'
	$(COVERAGE) combine -q
	$(COVERAGE) json -q -o _build/coverage/report.json
	$(BIN)/python -m sparseconv_lib.study.guards _build/coverage/report.json
	$(COVERAGE) report

# Breaks the code in one small way after another; see tests/mutate.py.
mutate: setup
	$(PIP) -c constraints.txt -e '.[mutation]'
	$(BIN)/python tests/mutate.py

# The library's tests under the oldest PyTorch that pyproject.toml admits, and how far its numbers are
# from today's: results/sameness.json. OLDEST names another environment's Python to compare with.
OLDEST := .venv-oldest/bin/python
OLDEST_TORCH := torch==2.11.* torchvision==0.26.*
versions: setup $(OLDEST)
	OMP_NUM_THREADS=1 $(OLDEST) -m pytest -q tests/test_layers.py tests/test_masks.py tests/test_networks.py tests/test_resnet.py tests/test_training.py
	OMP_NUM_THREADS=1 $(BIN)/python -m sparseconv_lib.study.sameness --other $(OLDEST)

.venv-oldest/bin/python:
	$(PYTHON) -m venv --clear .venv-oldest
	$@ -m pip install -q --disable-pip-version-check $(OLDEST_TORCH) pytest hypothesis -e '.[study]' || { rm -rf .venv-oldest; exit 1; }

book: $(TOP)_build/html/.built
	@echo "The report is in $(TOP)_build/html/index.html"

# A chapter is the notebook executed with what is recorded: no data set, no training.
$(filter-out %/maths.ipynb,$(CHAPTERS)): $(RECORDS)
$(TOP)book/chapters/%.ipynb: notebooks/%.ipynb $(LIBRARY) $(RULES) $(BIN)/.ready
	@mkdir -p $(@D)
	SPARSECONV_SOURCE=records $(BIN)/papermill $< $@.part.ipynb --cwd notebooks --no-progress-bar < /dev/null
	@mv $@.part.ipynb $@

BOOK := _config.yml _toc.yml $(wildcard book/*.md book/*.bib book/_static/* book/_ext/*.py)
BOOK += $(wildcard $(TOP)book/runs/*.md $(TOP)book/runs/*/*.ipynb)
$(TOP)_build/html/.built: $(CHAPTERS) $(BOOK) $(LIBRARY) $(RULES) $(RECORDS) $(BIN)/.ready
	$(BIN)/jupyter-book build -q -W -n --keep-going $(or $(TOP),.)

# The same rules for what sparseconv_lib/study/quick.py has laid out and run.
quick: export SPARSECONV_QUICK := 1
quick: setup
	$(BIN)/python -m sparseconv_lib.study.quick
	@$(MAKE) --no-print-directory -j 2 TOP=_build/quick/ book

pdf: book
	@$(BIN)/python -m sparseconv_lib.study.pdf

mnist: setup
	@mkdir -p _build
	$(BIN)/papermill notebooks/mnist.ipynb _build/mnist-p$(SPARSITY).ipynb -p sparsity $(SPARSITY) --log-output < /dev/null

# What takes a CPU months is run where there is a GPU.
ON_A_GPU := import torch; print("resnet18 invariance_caltech depth_full" * torch.cuda.is_available())
runs: setup
	$(BIN)/sparseconv sweep caltech resnet18_reduced invariance depth confounds mnist forensics batch_norm two_epochs $$($(BIN)/python -c '$(ON_A_GPU)')

missing: setup
	@$(BIN)/sparseconv missing

# Everything but mutation; `make test` leaves out what is marked slow.
test: WHICH := -m "not slow"
test test-all: check book
	OMP_NUM_THREADS=1 SPARSECONV_SOURCE=records $(BIN)/python -m pytest -q -n 2 --dist loadfile $(WHICH) tests --nbval --nbval-sanitize-with tests/nbval.cfg $(NOTEBOOKS)

check: setup
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check sparseconv_lib tests notebooks
	$(BIN)/mypy --no-error-summary

# The .py is the notebook; the .ipynb beside it gets its cells, and the outputs that nbval compares.
notebooks: setup
	$(BIN)/python -m sparseconv_lib.study.notebooks
	$(BIN)/python -m sparseconv_lib.study.readme

clean:
	rm -rf _build book/chapters results/.partial
