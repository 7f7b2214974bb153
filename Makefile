# make demo    a project from nothing to a trained step
# make test    every test of this template
# Needs Python 3.11 or newer, git and make. Tools are installed into .venv, once.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

DEMO_DIR ?= demo
TESTS ?= tests/unit tests/render tests/run tests/update
JOBS ?= 2
TOOLS := .venv/.installed
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help demo test matrix suites lint ci lock docs example bench release
help:  ## show these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

demo: $(TOOLS)  ## generate a project with default answers, install it, check it, train one step, predict
	@python tools/demo.py "$(DEMO_DIR)"

test: $(TOOLS)  ## test the template, fastest first; TESTS=tests/unit for some of them
	@python -m pytest $(TESTS) --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

matrix: $(TOOLS)  ## render and check every accepted combination; ML_TEMPLATE_MATRIX=1/8 for a part
	@ML_TEMPLATE_MATRIX=$${ML_TEMPLATE_MATRIX:-1/1} python -m pytest tests/render \
		--numprocesses $(JOBS) $(ARGS)

suites: $(TOOLS)  ## install each project of the covering set and run its own tests; ML_TEMPLATE_SUITES=1/6
	@python -m pytest tests/suites --numprocesses $(JOBS) $(ARGS)

lint: $(TOOLS)  ## check formatting, lint and types of this repository
	python -m ruff format --check .
	python -m ruff check .
	python -m mypy

ci: lint  ## what the workflow does which projects have too

lock: $(TOOLS)  ## resolve the tested versions again; ARGS=--upgrade for the newest
	python locks/refresh.py $(ARGS)
	python tools/lock_tools.py $(ARGS)

docs: $(TOOLS)  ## build the documentation into dist/site/; ARGS=--serve to look at it
	python tools/docs.py $(ARGS)

example: $(TOOLS)  ## write docs/example.sha256 again: git diff then names the files that changed
	@python tools/docs_example.py

bench: $(TOOLS)  ## measure, beside what one would use instead; writes benchmarks/results/
	python benchmarks/template.py $(ARGS)

release: $(TOOLS)  ## check, write down, commit and tag a version; VERSION=0.5.0
	@python tools/release.py $(VERSION) $(ARGS)

$(TOOLS): requirements-dev.txt
	@sh tools/install.sh
	@touch $@
