# Both commands do all their set-up themselves; PYTHON and PORT can be given, and PROXY: the host name of a web proxy
# through which the app is reached.
PYTHON ?= python3
PORT ?= 8501

.PHONY: run test bench
run:
	@$(if $(PROXY),XTUNER_STUDIO_PROXY='$(PROXY)') $(PYTHON) -m core.ground.bootstrap run $(PORT)

test:
	@$(PYTHON) -m core.ground.bootstrap test

# Figures of this machine, side by side in one run, into benchmarks/results/.
bench:
	@$(PYTHON) -m core.ground.bootstrap bench
