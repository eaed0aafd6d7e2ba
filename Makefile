# Both commands do all their set-up themselves; PYTHON and PORT can be given, and PROXY: the host name of a web proxy
# through which the app is reached.
PYTHON ?= python3
PORT ?= 8501

.PHONY: run test bench fuzz models peers course-engine
run:
	@$(if $(PROXY),XTUNER_STUDIO_PROXY='$(PROXY)') $(PYTHON) -m core.ground.bootstrap run $(PORT)

test:
	@$(PYTHON) -m core.ground.bootstrap test

# Figures of this machine, side by side in one run, into benchmarks/results/.
bench:
	@$(PYTHON) -m core.ground.bootstrap bench

# Tiny models of many families the whole way, and their table in docs/models.md.
models:
	@$(PYTHON) -m core.ground.bootstrap setup
	@.venv/bin/python -m benchmarks.models

# The same training by LLaMA-Factory and ms-swift (MODEL=DIR), each in an environment of its own, and its table in docs/peers.md.
peers:
	@$(PYTHON) -m core.ground.bootstrap setup
	@.venv/bin/python -m benchmarks.peers install
	@.venv/bin/python -m benchmarks.peers run '$(MODEL)' --pairs
	@.venv/bin/python -m benchmarks.peers table

# The course's own engine, from the source of XTuner v0.1.21 (XTUNER=PATH): built, tried, and its table in docs/setup.md.
course-engine:
	@$(PYTHON) -m core.ground.bootstrap setup
	@.venv/bin/python -m benchmarks.course_engine '$(XTUNER)'

# Damaged files into each reader of foreign ones, two minutes each: COUNT, SEED and SECONDS can be given.
fuzz:
	@$(PYTHON) -m core.ground.bootstrap fuzz
