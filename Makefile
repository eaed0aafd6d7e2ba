# Both commands do all their set-up themselves; PYTHON and PORT can be given.
PYTHON ?= python3
PORT ?= 8501

.PHONY: run test
run:
	@$(PYTHON) -m core.ground.bootstrap run $(PORT)

test:
	@$(PYTHON) -m core.ground.bootstrap test
