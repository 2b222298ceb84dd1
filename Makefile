# A thin front to Meson: the few commands that a person types. BUILD=dir builds elsewhere.
BUILD ?= build
export BUILD

.PHONY: all setup run check bench soak check-mutants format clean

all: setup
	@sh tools/build.sh

setup:
	@sh tools/setup.sh

run: setup
	@sh tools/build.sh
	@sh tools/run.sh

check: setup
	@sh tools/check.sh

soak: setup
	@sh tools/check.sh --soak

bench: setup
	@sh tools/build.sh
	@sh tools/bench.sh

check-mutants: setup
	@python3 tools/check-mutants.py $(MUTANTS)

format:
	@git ls-files '*.c' '*.h' '*.cc' | xargs -r clang-format -i

clean:
	rm -rf $(BUILD)
