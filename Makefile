# The commands of the project. `make demo` is the first minute; `make test` is what CI runs.

ORT_DYLIB_PATH ?= $(CURDIR)/vendor/ort/libonnxruntime.so
export ORT_DYLIB_PATH
# Read by ONNX Runtime while it is loaded.
export ORT_DISABLE_TELEMETRY = 1

NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)
RUN_TESTS := $(if $(NEXTEST),cargo nextest run,cargo test)

EXAMPLES := models/shapes-judge/examples
GOLDEN_PYTHON := .golden/venv/bin/python
# One seed for each head layout: 4 query heads to 2 KV heads, to 1, and 6 to 2; tied and untied heads.
SEEDS := 4 5 7
FAMILIES := $(patsubst tests/golden/%/reference.py,%,$(wildcard tests/golden/*/reference.py))

.PHONY: setup demo test check golden bench

setup:
	deploy/setup.sh

demo: setup
	cargo build --release -p rewardrt-cli
	ln -sf $(ORT_DYLIB_PATH) target/release/libonnxruntime.so
	@echo
	@echo "One follows the prompt, the other does not:"
	target/release/rewardrt compare --prompt "four blue triangles" $(EXAMPLES)/0001a.png $(EXAMPLES)/0001b.png
	@echo
	@echo "Both follow the prompt as well, so quality decides:"
	target/release/rewardrt compare --prompt "two green circles left of one yellow square" \
		$(EXAMPLES)/0004a.png $(EXAMPLES)/0004b.png
	@echo
	@echo "The shapes judge is small and knows drawn shapes only; models/shapes-judge/README.md tells how it was"
	@echo "trained. For pictures of your own, export a checkpoint of UnifiedReward-Flex: see README.md."

test: setup
	$(RUN_TESTS) --workspace

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null 2>&1; then cargo deny --offline check licenses bans sources; \
	else echo "check: cargo-deny is not installed, licences and sources of dependencies were not checked"; fi

# The reference implementation, in a folder of its own: several GB the first time.
.golden/venv/ready: tests/golden/requirements.txt
	python3 -m venv .golden/venv
	$(GOLDEN_PYTHON) -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

golden: setup .golden/venv/ready
	rm -rf .golden/cases
	set -e; for family in $(FAMILIES); do for seed in $(SEEDS); do for layout in current legacy original; do for dtype in fp32 bf16; do \
		$(GOLDEN_PYTHON) tests/golden/make_reference.py --family $$family --seed $$seed --layout $$layout --dtype $$dtype \
			--out .golden/cases/$$family/$$seed-$$layout-$$dtype; \
	done; done; done; done
	REWARDRT_GOLDEN=$(CURDIR)/.golden/cases $(RUN_TESTS) -p rewardrt-tests --test golden

bench: setup
	cargo bench -p rewardrt-benches
