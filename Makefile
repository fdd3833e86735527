# Two commands: `make demo` reconstructs the sample radiograph, `make test` runs every test.
# Both set up what they need first; set-up runs again only when pyproject.toml changes.

VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test setup lint fuzz clean
.NOTPARALLEL:

demo: $(VENV)/.installed-core
	$(BIN)/x2br reconstruct Resources/SampleData/chest_ap.png --out out/demo
	@echo "Look at out/demo/preview.png (picture), out/demo/bones.ply (mesh) and out/demo/summary.json (summary)."

# Two workers share the cores: a thread that spins while it waits takes the other's.
test: $(VENV)/.installed-test
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

setup: $(VENV)/.installed-dev

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# A hundred thousand damaged files; goes on where it was interrupted, and writes Documentation/benchmarks/robustness.md.
fuzz: $(VENV)/.installed-test
	$(BIN)/python -m Testing.fuzz --tests --out Documentation/benchmarks $(ARGS)

clean:
	rm -rf build dist out/demo .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

# The stamp is written only after everything went well, so that an interrupted set-up is taken up again.
$(VENV)/.installed-%: pyproject.toml Testing/setup.sh
	@PYTHON="$(PYTHON)" bash Testing/setup.sh $(VENV) $*
	@touch $@
