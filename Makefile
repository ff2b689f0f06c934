# One command per job; `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Everything that is built once and kept: cluster binaries, images, cargo's target. Outside the checkout, so that all checkouts share it.
export WAVESTORE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/wavestore
export WAVESTORE_STATE ?= /var/lib/wavestore-cluster
export CARGO_TARGET_DIR ?= $(WAVESTORE_CACHE)/target
# auto, local, kind, or existing (the cluster of KUBECONFIG)
export CLUSTER ?= auto
export WAVESTORE_PORT ?= 8080

##@ Start here

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*##/ {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: ## Bring everything up, from a bare machine to a running store with a sample app
	e2e/up.sh

.PHONY: down
down: cluster-down ## Take everything down again

.PHONY: test
test: ## Run every test: format, lints, unit, integration, and on a real cluster with a real browser
	e2e/test.sh

##@ Develop

.PHONY: prerequisites
prerequisites: ## Install the Debian packages that a bare machine lacks (as root)
	e2e/cluster/prerequisites.sh

.PHONY: build
build: ## Compile the programs, quickly (profile dev)
	cargo build --locked --workspace --bins

.PHONY: fmt
fmt: ## Format the sources
	cargo fmt --all

.PHONY: lint
lint: ## Check format and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --features e2e/cluster -- -D warnings

.PHONY: test-unit
test-unit: ## Run unit and integration tests (SQLite, a Postgres of their own, real h2o-wave processes)
	PATH=$(WAVESTORE_STATE)/bin:$$PATH cargo test --locked --workspace

.PHONY: test-buckets
test-buckets: ## Run the blob store's tests on an S3, an Azure and a Google server of their own
	catalog/tests/buckets/run.sh

.PHONY: test-e2e
test-e2e: ## Run the tests on the cluster against the store of `make up`; TEST=name for some of them
	catalog/tests/buckets/s3_server.sh >/dev/null
	KUBECONFIG=$(WAVESTORE_STATE)/kubeconfig PATH=$(WAVESTORE_STATE)/bin:$$PATH \
		cargo test --locked --workspace --features e2e/cluster --test cluster -- --test-threads=3 $(TEST)

.PHONY: test-faults
test-faults: ## Break the operator's world in every way; FAULT_RUNS=200 FAULT_INSTANCES=100 FAULT_SECONDS=300 for the long one
	e2e/faults.sh $(TEST)

.PHONY: test-router
test-router: ## Test the router's binary alone on a control plane of its own, with a browser and a real OIDC provider; TEST=name
	e2e/router.sh $(TEST)

.PHONY: test-flux
test-flux: ## Test with Flux's own kustomize-controller on a control plane of its own; builds it once, so `make test` leaves it out
	e2e/flux.sh $(TEST)

.PHONY: deny
deny: ## Check licences, sources and banned crates (cargo-deny), and unused dependencies (cargo-machete)
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	command -v cargo-machete >/dev/null || cargo install --locked cargo-machete
	cargo deny --workspace check bans licenses sources
	cargo machete

.PHONY: fuzz
fuzz: ## Fuzz the bundle reader, pictures, and the router's reading of requests, for a minute each (needs nightly Rust and cargo-fuzz)
	for crate in bundle pictures router; do (cd $$crate && for target in $$(cargo +nightly fuzz list); do cargo +nightly fuzz run $$target -- -max_total_time=60 || exit 1; done) || exit 1; done

.PHONY: bench
bench: ## Measure from kubectl apply to a usable app, on the store of `make up`
	KUBECONFIG=$(WAVESTORE_STATE)/kubeconfig PATH=$(WAVESTORE_STATE)/bin:$$PATH e2e/bench/usable.py

.PHONY: bench-launch
bench-launch: ## Measure each phase until an app's first page, beside venv and pip, on the store of `make up`, CASE="bare data large at-once"
	KUBECONFIG=$(WAVESTORE_STATE)/kubeconfig PATH=$(WAVESTORE_STATE)/bin:$$PATH \
		e2e/bench/launch.py target/bench $(or $(CASE),bare data large at-once)

.PHONY: bench-operator
bench-operator: ## Measure the operator, COUNT="100 500 1000 10000", on a control plane of its own without nodes; FLUX=FOLDER for a peer
	e2e/bench/operator.sh $(or $(COUNT),100 500 1000 10000)

.PHONY: bench-catalog
bench-catalog: ## Measure pages of 10,000 app versions on a Postgres and an SQLite of its own
	cargo bench --locked -p catalog --bench pages -- $(CURDIR)/target/bench

.PHONY: bench-router
bench-router: ## Measure the router beside nginx, HAProxy and configurable-http-proxy, CASE="small sockets-1000"
	e2e/bench/router.sh $(or $(CASE),small small-1000 10k 1m connects upload download sockets-1000 sockets-4000 endpoint churn table instructions)

##@ Generate

.PHONY: manifests
manifests: ## Rewrite the CRDs and the chart's values schema from the Rust types
	UPDATE_MANIFESTS=1 cargo test --workspace --test generated

##@ Cluster

.PHONY: cluster
cluster: prerequisites ## Bring up a Kubernetes cluster: on this bare machine, on kind, or CLUSTER=existing
	e2e/cluster/up.sh

.PHONY: cluster-down
cluster-down: ## Take the cluster down; nothing stays but the cache
	e2e/cluster/down.sh

##@ Release

.PHONY: images
images: ## Build the images from release binaries; TAG=0.1.0 names them
	cargo build --locked --workspace --bins --release
	e2e/cluster/images.sh build $(CARGO_TARGET_DIR)/release $(or $(TAG),0.1.0)

.PHONY: charts
charts: ## Package both charts into dist/
	PATH=$(WAVESTORE_STATE)/bin:$$PATH helm package --destination dist config/wavestore config/wave-instance
