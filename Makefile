# Both commands do all their set-up themselves; PYTHON and PORT can be given.
PYTHON ?= python3
PORT ?= 8501

.PHONY: run test bench
run:
	@$(PYTHON) -m core.ground.bootstrap run $(PORT)

test:
	@$(PYTHON) -m core.ground.bootstrap test

# Figures of this machine, side by side in one run, into benchmarks/results/.
bench:
	@$(PYTHON) -m core.ground.bootstrap bench
