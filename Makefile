# Every target first makes sure of the environment (scripts/bootstrap), which costs nothing when it is up to date.
.DEFAULT_GOAL := help
.PHONY: help bootstrap call up down status test check bench eval lock clean
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
WAV ?=
Q ?=
ARGS ?=
export WAV Q

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

bootstrap:
	@scripts/bootstrap

call: bootstrap ## ask one spoken question and hear the answer (WAV=question.wav or Q="a question")
	@$(BIN)/voxray call $${WAV:+--wav "$$WAV"} $${Q:+--question "$$Q"} $(ARGS)

up: bootstrap ## start the local services and the cluster
	@$(BIN)/voxray up $(ARGS)

down: bootstrap ## stop everything that was started here
	@$(BIN)/voxray down $(ARGS)

status: bootstrap ## show what runs
	@$(BIN)/voxray status $(ARGS)

test: bootstrap ## run the checks and every test suite
	@scripts/run-suites

check: bootstrap ## lint, format, types and import rules
	@scripts/run-checks

bench: bootstrap ## measure latency per stage and voice-to-voice
	@$(BIN)/voxray bench $(ARGS)

eval: bootstrap ## ask the sample questions; right, wrong, refused
	@$(BIN)/voxray eval $(ARGS)

lock: bootstrap ## resolve the dependencies anew into requirements/
	@scripts/lock

clean: ## remove the environment and all caches of the tools (state and weights stay)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
