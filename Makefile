# The two commands of the README are `make demo` and `make test`; `make help` lists the rest.
# Meson does the work; this file only saves typing.

BUILD = build
PREFIX = /usr/local
# make test WERROR=true: warnings are errors, as in CI.
WERROR = false
# make demo DATA=folder: MNIST's IDX files in place of the digits that Ebb draws.
DATA =
# make fuzz SECONDS=600: how long each target runs.
SECONDS = 10
# make bench TORCH_BENCH=FILE: PyTorch's side of the cases (bench_torch.py).
TORCH_BENCH = ../shared/bench/torch/bench_torch.py
# make JOBS=1: how many compilers run side by side.
JOBS =

NINJA = ninja -C $(BUILD) $(if $(JOBS),-j$(JOBS))

.PHONY: build demo test check-slow asan clang bench ops-doc fuzz install clean format format-check dependencies help
.DEFAULT_GOAL := build

dependencies:
	@scripts/install-dependencies.sh

# Meson's own rules in build.ninja bring a configured folder up to date.
$(BUILD)/build.ninja: | dependencies
	@meson setup $(BUILD) --prefix=$(PREFIX) --libdir=lib -Dwerror=$(WERROR)

build: dependencies $(BUILD)/build.ninja
	@$(NINJA)

demo: build
	@mkdir -p $(BUILD)/demo
	$(BUILD)/examples/digits --out $(BUILD)/demo $(if $(DATA),--data $(DATA))

test: build
	@python3 scripts/run_tests.py $(BUILD) fast

check-slow: build
	@python3 scripts/run_tests.py $(BUILD) slow

# The fast tests under the address and undefined behaviour sanitizers.
asan: dependencies
	@test -f build-asan/build.ninja || meson setup build-asan --buildtype=debugoptimized \
	    -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=$(WERROR)
	@ninja -C build-asan $(if $(JOBS),-j$(JOBS))
	@python3 scripts/run_tests.py build-asan fast

clang: dependencies
	@test -f build-clang/build.ninja || CC=clang meson setup build-clang -Dwerror=$(WERROR)
	@ninja -C build-clang $(if $(JOBS),-j$(JOBS))

# The node cost, kernels against the memory bandwidth, and every case against PyTorch: about an hour.
bench: build
	@scripts/bench.sh $(BUILD) $(TORCH_BENCH)

# Writes docs/ops.md from the registry.
ops-doc: build
	$(BUILD)/tools/ebb ops --markdown -o docs/ops.md

# Each fuzz target for SECONDS, with clang, in build-fuzz/.
fuzz: dependencies
	@scripts/fuzz.sh build-fuzz $(SECONDS)

install: build
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@meson install -C $(BUILD)

format:
	@scripts/format.sh

format-check:
	@scripts/format.sh --check

clean:
	@rm -rf $(BUILD) build-asan build-clang build-fuzz build-ci build-ci-asan build-ci-clang build-ci-fuzz

help:
	@echo 'make              build the library and the examples in $(BUILD)/'
	@echo 'make demo         train a small convnet on drawn digits; results in $(BUILD)/demo/'
	@echo 'make demo DATA=D  the same on the MNIST files in folder D'
	@echo 'make test         all fast tests'
	@echo 'make check-slow   the slow ones (training on MNIST and the like)'
	@echo 'make asan         the fast tests under address and undefined behaviour sanitizers'
	@echo 'make clang        build with clang, in build-clang/'
	@echo 'make bench        run the benchmarks; tables as in docs/benchmarks.md, in $(BUILD)/bench/'
	@echo 'make fuzz         fuzz the readers of text and files, 10 s each (SECONDS=600: longer)'
	@echo 'make ops-doc      write docs/ops.md from the registry'
	@echo 'make format       format the sources; format-check only looks'
	@echo 'make install      install under PREFIX (now $(PREFIX)); DESTDIR is respected'
	@echo 'make clean        remove all build folders'
