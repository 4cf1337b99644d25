# make            what there is to make
# Everything runs in .venv, which `make setup` creates; nothing has to be activated.
PYTHON ?= python3
SPARSITY ?= 0.8
BIN := .venv/bin
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
CHAPTERS := $(NOTEBOOKS:notebooks/%=book/chapters/%)
LIBRARY := $(wildcard sparseconv_lib/*.py sparseconv_lib/study/*.py)
RULES := $(wildcard results/*.toml results/*.json)
RECORDS := $(wildcard results/*/* results/*/*/*.json)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup book mnist runs missing test check notebooks clean

help:
	@echo "make book                  the report, in _build/html/index.html"
	@echo "make mnist SPARSITY=0.8    train the networks on MNIST now, beside the recorded numbers"
	@echo "make test                  all that guards the project"
	@echo "make runs                  run what the published grid lacks (days on a CPU; may be stopped)"
	@echo "make missing               list what it lacks"
	@echo "make check                 style and types"
	@echo "make notebooks             after an edit of notebooks/*.py, or new records"
	@echo "make clean                 remove what was built; .venv and records stay"

setup: $(BIN)/.ready

# The marker comes last, so that an installation that broke off is done again.
$(BIN)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; name one: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[study,book,test]'
	@touch $@

book: _build/html/.built
	@echo "The report is in _build/html/index.html"

# A chapter is the notebook executed with what is recorded: no data set, no training.
$(filter-out %/maths.ipynb,$(CHAPTERS)): $(RECORDS)
book/chapters/%.ipynb: notebooks/%.ipynb $(LIBRARY) $(RULES) $(BIN)/.ready
	@mkdir -p $(@D)
	SPARSECONV_SOURCE=records $(BIN)/papermill $< $@.part.ipynb --cwd notebooks --no-progress-bar < /dev/null
	@mv $@.part.ipynb $@

BOOK := _config.yml _toc.yml $(wildcard book/*.md book/*.bib book/_static/* book/_ext/*.py book/runs/*.md book/runs/*/*.ipynb)
_build/html/.built: $(CHAPTERS) $(BOOK) $(LIBRARY) $(RULES) $(RECORDS) $(BIN)/.ready
	$(BIN)/jupyter-book build -q -W -n --keep-going .

mnist: setup
	@mkdir -p _build
	$(BIN)/papermill notebooks/mnist.ipynb _build/mnist-p$(SPARSITY).ipynb -p sparsity $(SPARSITY) --log-output < /dev/null

# What takes a CPU months is run where there is a GPU.
ON_A_GPU := import torch; print("resnet18 invariance_caltech depth_full" * torch.cuda.is_available())
runs: setup
	$(BIN)/sparseconv sweep caltech resnet18_reduced invariance depth confounds mnist forensics batch_norm two_epochs $$($(BIN)/python -c '$(ON_A_GPU)')

missing: setup
	@$(BIN)/sparseconv missing

test: check book
	OMP_NUM_THREADS=1 SPARSECONV_SOURCE=records $(BIN)/python -m pytest -q -n 2 --dist loadfile tests --nbval --nbval-sanitize-with tests/nbval.cfg $(NOTEBOOKS)

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
