# Every target makes what it needs: a virtual environment in .venv, with the package and its extras.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= sample_data
DEMO := demo
ALL_CORES := -n logical --dist worksteal
SHORT := $(addprefix tests/,test_startup.py cli/test_ingest.py cli/test_verify.py report/test_preview.py dicom/test_pixels.py \
	dicom/test_pydicom_reader.py dataset/test_writer.py dataset/test_codecs.py test_changing_source.py)
COVERING := $(addprefix tests/,stages outputs verify batches dicom layouts contours pipeline cli \
	test_pipeline.py test_privacy.py test_neighbours.py test_faults.py)

.DEFAULT_GOAL := help
.PHONY: help demo test quick check format bench coverage floors faults fuzz data-check clean flip-all docs release

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/pip.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "dicom-etl needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "pip>=24"
	@touch $@

$(VENV)/demo.stamp: $(VENV)/pip.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[report]"
	@touch $@

$(VENV)/test.stamp: $(VENV)/pip.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[test,check]"
	@touch $(VENV)/demo.stamp $@  # what the demo needs, the tests need too

$(VENV)/bench.stamp: $(VENV)/demo.stamp
	$(BIN)/python -m pip install --quiet --editable ".[bench,torch]"
	@touch $@

$(VENV)/docs.stamp: $(VENV)/demo.stamp
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	@touch $@

demo: $(VENV)/demo.stamp ## Run the whole way on sample_data; results land in demo/
	@mkdir -p $(DEMO)
	@echo "\n--- ingest: six faults are planted, so exit code 3 is right"
	$(BIN)/dicom-etl ingest sample_data -o $(DEMO)/dataset.h5 --overwrite || test $$? -eq 3
	@echo "\n--- info"
	$(BIN)/dicom-etl info $(DEMO)/dataset.h5
	@echo "\n--- verify"
	$(BIN)/dicom-etl verify $(DEMO)/dataset.h5 --source sample_data
	@echo "\n--- batches"
	$(BIN)/dicom-etl batches $(DEMO)/dataset.h5 --epochs 3 --check
	@echo "\n--- preview and report"
	$(BIN)/dicom-etl preview $(DEMO)/dataset.h5 -o $(DEMO)/overlays.png --overwrite
	$(BIN)/dicom-etl report $(DEMO)/dataset.h5 -o $(DEMO)/report.html --overwrite
	$(BIN)/dicom-etl preview $(DEMO)/dataset.h5 --flagged -o $(DEMO)/flagged.png --overwrite
	@echo "\nLook at:"
	@echo "  $(CURDIR)/$(DEMO)/report.html   Findings: a shifted contour of SYN00002, two exchanged ones of SYN00003;"
	@echo "      mark them wrong, export decisions.csv, and: dicom-etl ingest sample_data --decisions decisions.csv -o clean.h5"
	@echo "  $(CURDIR)/$(DEMO)/flagged.png   the same three on one picture, $(DEMO)/overlays.png others"
	@echo "  $(CURDIR)/$(DEMO)/dataset.h5    what a training loop reads: dicom-etl batches $(DEMO)/dataset.h5"

test: $(VENV)/test.stamp ## Install what the tests need, and run all of them on every core
	@echo "This takes 8 to 9 minutes on two cores. What is skipped, and how to get it, stands first:"
	$(BIN)/python -m pytest $(or $(PYTEST_OPTIONS),$(ALL_CORES))

quick: $(VENV)/test.stamp ## The tests without the slow ones
	$(BIN)/python -m pytest -m "not slow" $(or $(PYTEST_OPTIONS),$(ALL_CORES))

check: $(VENV)/test.stamp ## Linter, formatter and type checker
	$(BIN)/python -m ruff check .
	$(BIN)/python -m codespell_lib .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: $(VENV)/test.stamp ## Put the code into its format
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

bench: $(VENV)/bench.stamp ## Our speed and masks beside those of others; real studies from DICOM_ETL_REAL
	$(BIN)/python -m benchmarks bench/results.json $(BENCH)

floors: ## A short suite on the oldest versions that pyproject.toml allows, Python included
	$(PYTHON) -m venv .venv-floors
	.venv-floors/bin/python -m pip install --quiet $$($(PYTHON) .ci/floors.py)
	PYTHONPATH=$(CURDIR) .venv-floors/bin/python -m pytest -q -m "not slow" -p no:cacheprovider $(SHORT)

coverage: $(VENV)/test.stamp ## Branch coverage of what must not lose or leak anything: 95% of each room (minutes)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest -q -m "not slow" --cov=dicom_etl --cov-branch --cov-report= $(PYTEST_OPTIONS) $(COVERING)
	@# What child processes kept after the tests had ended; there may be nothing.
	@$(BIN)/python -m coverage combine --quiet --append || true
	$(BIN)/python -m tests.coverage_by_room

faults: $(VENV)/test.stamp ## The whole counts of injected faults (minutes)
	DICOM_ETL_WHOLE_COUNTS=1 $(BIN)/python -m pytest tests/test_faults.py tests/test_signals.py tests/test_scarce.py tests/verification/test_forged_numbers.py \
		tests/contours tests/layouts tests/dataset tests/pipeline

fuzz: $(VENV)/test.stamp ## 8,000 broken DICOM files, each held to pydicom's answer; 2,000 random folders; more splits and orders (minutes)
	DICOM_ETL_WHOLE_COUNTS=1 $(BIN)/python -m pytest tests/dicom/test_mutations.py -m slow
	DICOM_ETL_WHOLE_COUNTS=1 $(BIN)/python -m pytest tests/batches/test_sampler.py tests/batches/test_turns.py tests/test_splits.py
	DICOM_ETL_WHOLE_COUNTS=1 $(BIN)/python -m pytest tests/batches/adapters/test_epochs_of_loaders.py \
		tests/batches/adapters/test_kill_and_resume.py
	DICOM_ETL_WHOLE_COUNTS=1 $(BIN)/python -m pytest tests/test_all_verifies.py
	DICOM_ETL_WHOLE_COUNTS=1 $(BIN)/python -m pytest tests/stages/test_folders_random.py tests/stages/test_link_random.py

data-check: $(VENV)/demo.stamp ## Check data as your CI would: make data-check DATA=folder DECISIONS=decisions.csv
	@mkdir -p $(DEMO)
	$(BIN)/dicom-etl ingest "$(DATA)" -o $(DEMO)/data-check.h5 --overwrite $(if $(DECISIONS),--decisions "$(DECISIONS)")
	$(BIN)/dicom-etl verify $(DEMO)/data-check.h5 --source "$(DATA)" --fail-on warning

flip-all: $(VENV)/test.stamp ## Flip every byte of a dataset in two ways, cut it, add to it: all must be found
	DICOM_ETL_FLIPS=all $(BIN)/python -m pytest -q tests/verification/test_flips.py

docs: $(VENV)/docs.stamp ## Build the manual into build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Look at: $(CURDIR)/build/site/index.html"

release: $(VENV)/docs.stamp ## Build sdist and wheel into dist/, check them, and run the demo from the wheel in an empty environment
	rm -rf dist build/release
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/release
	build/release/bin/python -m pip install --quiet "$$(ls dist/*.whl)[report]"
	cd build && release/bin/dicom-etl ingest ../sample_data -o release/dataset.h5 || test $$? -eq 3
	cd build && release/bin/dicom-etl verify release/dataset.h5 --source ../sample_data
	cd build && release/bin/dicom-etl batches release/dataset.h5 --epochs 1 --check
	cd build && release/bin/dicom-etl report release/dataset.h5 -o release/report.html
	@ls -l dist

clean: ## Remove the environment and what the targets made
	rm -rf $(VENV) .venv-floors $(DEMO) bench build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
