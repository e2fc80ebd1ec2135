# Every target first makes sure of the environment (scripts/bootstrap), which costs nothing when it is up to date:
# `bootstrap` is what the embedded profile runs, `develop` also what tests, training and NeMo need.
.DEFAULT_GOAL := help
.PHONY: help bootstrap develop call up down status test check bench eval lock clean
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
WAV ?=
Q ?=
ARGS ?=
export WAV Q
# Where it is set, as in many containers, every process compiles PyTorch and the rest anew each time that it starts.
unexport PYTHONDONTWRITEBYTECODE

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

bootstrap: ## make the environment, with what the embedded profile runs
	@scripts/bootstrap embedded

develop: ## make the environment, with NeMo, training and test tools too
	@scripts/bootstrap dev

call: bootstrap ## ask one spoken question and hear the answer (WAV=question.wav or Q="a question")
	@$(BIN)/voxray call $${WAV:+--wav "$$WAV"} $${Q:+--question "$$Q"} $(ARGS)

up: bootstrap ## start the local services and the cluster
	@$(BIN)/voxray up $(ARGS)

down: bootstrap ## stop everything that was started here
	@$(BIN)/voxray down $(ARGS)

status: bootstrap ## show what runs
	@$(BIN)/voxray status $(ARGS)

test: develop ## run the checks and every test suite
	@scripts/run-suites

check: develop ## lint, format, types and import rules
	@scripts/run-checks

bench: bootstrap ## measure latency per stage and voice-to-voice
	@$(BIN)/voxray bench $(ARGS)

eval: bootstrap ## ask the sample questions; right, wrong, refused
	@$(BIN)/voxray eval $(ARGS)

lock: develop ## resolve the dependencies anew into requirements/
	@scripts/lock

clean: ## remove the environment and all caches of the tools (state and weights stay)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
