# `make` alone lists the targets. Values may hold blanks, & and ;: they reach the commands by the environment, never by
# this file's text.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# All local state is under this folder; another HAZY_HOME is another, separate installation.
HAZY_HOME ?= $(CURDIR)/.hazy
export HAZY_HOME

# Only what stands on the command line counts (some shells carry a NAME of their own), and as it was typed: ${PASSWORD} in
# a URL is left for `hazy` to fill in when it connects.
asked = $(if $(findstring command,$(origin $(1))),$(value $(1)))
ASKED_DATA := $(call asked,DATA)
ASKED_TABLE := $(call asked,TABLE)
ASKED_TARGET := $(call asked,TARGET)
ASKED_NAME := $(call asked,NAME)
ASKED_BUDGET := $(call asked,BUDGET)
export ASKED_DATA ASKED_TABLE ASKED_TARGET ASKED_NAME ASKED_BUDGET
unexport DATA TABLE TARGET NAME BUDGET

TESTS ?= tests
WORKERS ?= auto

.PHONY: help env run stop test lint lock schema bench clean

help: ## This list
	@echo 'make run                     the demo: a small bank, from source to synthetic rows, with Airflow and MLflow'
	@echo 'make run DATA=... [TARGET=column] [NAME=name] [TABLE=table] [BUDGET=seconds]'
	@echo '                             the same on your data: a CSV or Parquet file, or a database URL with TABLE='
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) \
		| while IFS='|' read -r target text; do printf 'make %-23s %s\n' "$$target" "$$text"; done

env: ## The environment alone: .venv, with the `hazy` command in it
	@scripts/env.sh

run: env ## Start everything and train a Generator (see above)
	@set -- start; \
	if [ -n "$$ASKED_DATA" ]; then set -- "$$@" "$$ASKED_DATA"; fi; \
	if [ -n "$$ASKED_TABLE" ]; then set -- "$$@" --table "$$ASKED_TABLE"; fi; \
	if [ -n "$$ASKED_TARGET" ]; then set -- "$$@" --target "$$ASKED_TARGET"; fi; \
	if [ -n "$$ASKED_NAME" ]; then set -- "$$@" --name "$$ASKED_NAME"; fi; \
	if [ -n "$$ASKED_BUDGET" ]; then set -- "$$@" --budget "$$ASKED_BUDGET"; fi; \
	exec .venv/bin/hazy "$$@"

stop: env ## End what `make run` started; data and models stay
	@.venv/bin/hazy down

test: env lint ## Style, types, layers and all tests (TESTS=path for some of them)
	@.venv/bin/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder --durations=20 $(TESTS)

lint: env ## Style, types and layers alone
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

lock: ## requirements.lock anew from pyproject.toml
	@scripts/lock.sh

schema: env ## The JSON Schema of Generators' YAML files anew, for editors
	@.venv/bin/python scripts/schema.py

bench: env ## Speed and quality, measured (see docs/performance.md)
	@.venv/bin/python -m benchmarks

clean: ## Caches and build leftovers; not .venv, not your data
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
