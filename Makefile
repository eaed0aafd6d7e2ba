# `run` and `test` install what they need. Options: PYTHON, PORT, and PROXY, the host name of a web proxy in front of the app.
PYTHON ?= python3
PORT ?= 8501

.PHONY: run test bench fuzz mutants models peers course-engine
run:
	@$(if $(PROXY),XTUNER_STUDIO_PROXY='$(PROXY)') $(PYTHON) -m core.ground.bootstrap run $(PORT)

test:
	@$(PYTHON) -m core.ground.bootstrap test

# Benchmarks of this machine, compared within one run; results in benchmarks/results/.
bench:
	@$(PYTHON) -m core.ground.bootstrap bench

# The entire workflow with tiny models of many families; writes the table in docs/models.md.
models:
	@$(PYTHON) -m core.ground.bootstrap setup
	@.venv/bin/python -m benchmarks.models

# The same training with LLaMA-Factory and ms-swift (MODEL=DIR), each in its own environment, and with their files of identity
# rows (IDENTITY=FILE COGNITION=FILE) each in its own way; writes the tables in docs/peers.md.
peers:
	@$(PYTHON) -m core.ground.bootstrap setup
	@.venv/bin/python -m benchmarks.peers install
	@.venv/bin/python -m benchmarks.peers run '$(MODEL)'
	@$(if $(IDENTITY),.venv/bin/python -m benchmarks.peers own '$(MODEL)' --identity '$(IDENTITY)' --cognition '$(COGNITION)')
	@.venv/bin/python -m benchmarks.peers table

# The course's own engine, built from the source of XTuner v0.1.21 (XTUNER=PATH) and tested; writes the table in docs/setup.md.
course-engine:
	@$(PYTHON) -m core.ground.bootstrap setup
	@.venv/bin/python -m benchmarks.course_engine '$(XTUNER)'

# Damaged files into each reader of foreign files, two minutes each. Options: COUNT, SEED, SECONDS.
fuzz:
	@$(PYTHON) -m core.ground.bootstrap fuzz

# Wrong lines on purpose, and which of them no test notices, into docs/mutants.md: FILE=… does one file, FRESH=1 all again.
mutants:
	@$(PYTHON) -m core.ground.bootstrap mutants $(FILE) $(if $(FRESH),--fresh)
