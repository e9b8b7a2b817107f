# The one list of commands. `make` prints it. Build products go to a shared directory outside the checkout.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export CARGO_TARGET_DIR ?= $(HOME)/.cache/esker/target
export CARGO_TERM_COLOR ?= auto
CARGO_BIN := $(CARGO_TARGET_DIR)/debug
# One selection of packages gives one set of features: nothing is built twice.
BENCH_OUT ?= tests/bench/results/latest.json
E2E_TESTS := $(addprefix --test ,$(basename $(notdir $(wildcard tests/e2e/tests/*))))

.DEFAULT_GOAL := help
.PHONY: $(shell sed -nE 's/^([a-z0-9-]+):.*/\1/p' $(MAKEFILE_LIST))

help: ## print this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

quickstart: ## build, start on a local directory, show a produced record consumed, keep serving
	@.ci/bootstrap build
	@cargo build --quiet -p esker
	@tests/e2e/quickstart.sh $(CARGO_BIN)/esker

build: ## build the binary (debug)
	cargo build -p esker

release: ## build the binary as it is shipped
	cargo build -p esker --release

test: bootstrap check unit ## everything that decides whether a change lands
	tests/beside '$(MAKE) sim sim-planted' '$(MAKE) e2e compat-short faults chart-test terraform-test'

bootstrap: ## install what the tests need (idempotent, outside the checkout)
	.ci/bootstrap

check: fmt lint docs tidy ## formatting, lints, rustdoc, the project's own rules

fmt: ## formatting is rustfmt's
	cargo fmt --all --check

lint: ## clippy, warnings are errors
	cargo clippy --workspace --all-targets --quiet -- -D warnings

docs: ## rustdoc, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

tidy: ## the rules of docs/STYLE.md that a machine can check
	cargo run --quiet -p esker-tidy

unit: ## unit, property and in-process tests of every crate
	cargo test --workspace --exclude esker-e2e --quiet

e2e: ## black box: the binary against a directory, MinIO and SeaweedFS, with Kafka's tools, sarama, kcat and curl
	cargo build --quiet --workspace --bins --tests
	cargo test --workspace $(E2E_TESTS) -- --nocapture --test-threads=1

compat: ## unmodified clients and their own test suites against a directory and MinIO; writes docs/compatibility.md (an hour; ARGS="--store cluster --store single kcat")
	@.ci/bootstrap compat
	cargo build --quiet --workspace --bins --tests
	@tests/compat/run.py $(ARGS)

compat-short: ## the bounded part of compat that CI runs, on one process and on a cluster
	cargo build --quiet --workspace --bins --tests
	@tests/compat/run.py --short $(ARGS)
	@tests/compat/run.py --short --store cluster $(ARGS)
	@tests/compat/run.py --short --store single kcat kafkajs

cluster: ## 2 metadata, 3 ingest and 2 fetch processes on loopback against MinIO, until Ctrl-C
	@.ci/bootstrap build minio
	cargo build --quiet --workspace --bins --tests
	@$(CARGO_BIN)/esker-cluster $(ARGS)

kill: ## kill -9 under load, longer than in CI: ROUNDS=200 make kill
	cargo build --quiet --workspace --bins --tests
	ESKER_KILL_ROUNDS=$${ROUNDS:-200} cargo test --workspace --test kill -- --nocapture --test-threads=1

bench: ## Esker beside Apache Kafka, some 40 minutes: docs/benchmarks.md; ARGS="--rounds 1" and others of --help
	@.ci/bootstrap build minio jvm s2
	cargo build --release -p esker -p esker-bench
	@# In a network of its own, since one of the peers listens on every address.
	ESKER_BIN=$(CARGO_TARGET_DIR)/release/esker unshare --map-root-user --net -- bash -c 'ip link set lo up && exec "$$@"' - \
	  $(CARGO_TARGET_DIR)/release/esker-bench run --out $(BENCH_OUT) $(ARGS)
	$(CARGO_TARGET_DIR)/release/esker-bench report $(BENCH_OUT)

bench-compare: ## ratios of the last `make bench` to the stored baseline
	cargo run --release --quiet -p esker-bench -- compare tests/bench/results/baseline.json $(BENCH_OUT)

scale: ## more ingest processes, more partitions, some 15 minutes: docs/scaling.md; ARGS="--parts grow" and others of --help
	@.ci/bootstrap build minio
	cargo build --release -p esker -p esker-bench
	ESKER_BIN=$${ESKER_BIN:-$(CARGO_TARGET_DIR)/release/esker} $(CARGO_TARGET_DIR)/release/esker-bench scale $(ARGS)
	$(CARGO_TARGET_DIR)/release/esker-bench report tests/bench/results/baseline.json

shaper: ## run the S3 shaping and fault proxy; ARGS="--help" for its options
	cargo run --quiet -p esker-testkit --bin esker-s3-shaper -- $(ARGS)

fuzz: ## coverage-guided fuzzing of every decoder (nightly + cargo-fuzz): TARGET=kafka_guard make fuzz
	cd tests/fuzz && cargo +nightly fuzz run --fuzz-dir . $${TARGET:-kafka_guard} -- -max_total_time=$${SECONDS_MAX:-60}

model: ## search the model of the commit protocol to its end, and show every planted bug (a minute)
	cargo run --quiet -p esker-model

model-large: ## the model in larger bounds, minutes and gigabytes: ARGS="succession" for one of them
	cargo run --quiet -p esker-model -- large $(ARGS)

SIM := $(CARGO_TARGET_DIR)/sim
PROOF ?= $(HOME)/.cache/esker/proof

sim-build: ## both simulations, with the places where bugs can be planted
	cargo build --quiet --profile sim -p esker-sim -p esker-sim-shell --features esker-sim/planted,esker-sim-shell/planted

sim: sim-build ## step and shell simulation, over 100 simulated hours, and each seed's repeat (some 8 minutes)
	@mkdir -p $(PROOF)
	$(SIM)/esker-sim twice --seed 5 --minutes 5
	$(SIM)/esker-sim-shell twice --seed 2
	$(SIM)/esker-sim seeds --from 1 --count 600 --minutes 10 --jobs 2 --json $(PROOF)/step.json
	$(SIM)/esker-sim-shell seeds --from 1 --count 60 --json $(PROOF)/shell.json

sim-long: sim-build ## over 330 simulated hours: FROM=1000 make sim-long
	@mkdir -p $(PROOF)
	$(SIM)/esker-sim seeds --from $${FROM:-1000} --count 2000 --minutes 10 --jobs 2 --json $(PROOF)/step.json
	$(SIM)/esker-sim-shell seeds --from $${FROM:-1000} --count 500 --json $(PROOF)/shell.json

sim-planted: sim-build ## every planted bug must be caught, each by the simulation that hunts it (under 4 minutes)
	@mkdir -p $(PROOF)
	$(SIM)/esker-sim planted --json $(PROOF)/step-planted.json
	$(SIM)/esker-sim shrink --seed 8 --minutes 3 --plant OverlayKept
	$(SIM)/esker-sim-shell planted --json $(PROOF)/shell-planted.json

faults: ## real processes under faults, what every change runs (under 2 minutes): docs/fault-matrix.md
	cargo build --quiet --workspace --bins --tests
	$(CARGO_BIN)/esker-faults --short $(ARGS)

faults-long: ## all rows of the fault matrix, again with new seeds: MINUTES=60; ARGS="--row 20 --seed 7 --store minio"
	cargo build --quiet --workspace --bins --tests
	$(CARGO_BIN)/esker-faults --minutes $${MINUTES:-60} $(ARGS)

cluster-faults: ## kill -9, SIGSTOP and network cuts of each role of a cluster under load, as root: ROUNDS=10 (30 minutes)
	@.ci/bootstrap build minio
	cargo build --quiet --workspace --bins --tests
	ESKER_NETWORK=required $(CARGO_BIN)/esker-faults --cluster $${ROUNDS:-10} $(ARGS)

proof: sim sim-planted ## simulations, planted bugs and short fault rows, then docs/reliability-figures.md from what they counted
	cargo build --quiet --workspace --bins --tests
	$(CARGO_BIN)/esker-faults --short --json $(PROOF)/faults.json
	tests/sim/page.py $(PROOF)

chart-test: ## the Helm chart: lint, strict schemas, golden renders, refusals, alerts
	@tests/deploy/run chart $(ARGS)

terraform-test: ## Terraform modules: lint, validate, test; local-minio applied and destroyed
	@.ci/bootstrap minio
	@tests/deploy/run terraform

image: ## the static binary on an empty image, as a docker-archive
	@tests/deploy/bootstrap image
	@tests/deploy/image/build

image-test: ## build the image, look into it, run it confined
	@tests/deploy/run image

k8s: ## the chart's life on a real API server and kubelet (builds Kubernetes once): docs/deploy.md; ARGS="distributed" for a part
	@.ci/bootstrap minio
	@tests/deploy/run k8s $(ARGS)

clean-cache: ## remove everything the build keeps outside the checkout
	rm -rf $(HOME)/.cache/esker
