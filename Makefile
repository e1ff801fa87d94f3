# One obvious target for each thing; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# In the order in which their go.mod files depend on each other.
MODULES    := kit adapters .
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.8.0
FUZZTIME   ?= 20s
export GOWORK := off

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

.PHONY: deps
deps: ## install what the tests need (idempotent; says what and why)
	@scripts/deps.sh

.PHONY: test
test: deps ## run all tests
	@for m in $(MODULES); do echo "== go test: $$m"; (cd $$m && go test ./...); done

.PHONY: check
check: ## formatting, vet, linters, arch rules, race detector, tidy modules, known vulnerabilities, dead links
	@scripts/check.sh "$(STATICCHECK)" "$(GOVULNCHECK)"

.PHONY: nightly
nightly: ## the same tests longer: race detector over everything, the cluster, workers that die, each fuzz target for minutes
	@for m in $(MODULES); do echo "== go test -race: $$m"; (cd $$m && go test -race -count=3 ./...); done
	@DOUGONG_LONG=1 $(MAKE) test-cluster
	@DOUGONG_SOAK=30m $(MAKE) chaos-workers
	@$(MAKE) fuzz FUZZTIME=$${FUZZTIME:-5m}

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (20s)
	@scripts/fuzz.sh "$(FUZZTIME)"

.PHONY: bench-inference
bench-inference: ## the tree engine beside ONNX Runtime, XGBoost, tl2cgen and oneDAL (needs a C compiler)
	@cd bench && ./setup-peers.sh && go run ./inference

.PHONY: bench-serve
bench-serve: ## CPU of the server process a request, beside constant servers of the same protocols, the engine alone, and MLServer
	@scripts/mlserver.sh >/dev/null || true # where it cannot be installed the bench goes without, and says so
	@mkdir -p bin && CGO_ENABLED=0 go build -o bin/dougong ./cmd/dougong && cd bench && go run ./serve -dougong ../bin/dougong

.PHONY: image
image: ## bin/dougong-image.tar without a container engine, its SBOM and provenance beside it; the same commit gives the same bytes
	@cd deploy/image && go run . -o ../../bin/dougong-image.tar

.PHONY: test-manifests
test-manifests: ## hold deploy/ against Kubernetes' types, Pod Security and the process; CLUSTER=KUBECONFIG asks its API server too
	cd deploy/manifests && go test -count=1 ./... $(if $(CLUSTER),-args -kubeconfig=$(abspath $(CLUSTER)))

.PHONY: cluster-up
cluster-up: ## a real Kubernetes on this machine, two nodes, with the image of `make image` if it is there (as root; the first time builds it)
	@test/cluster/install.sh && cd test/cluster && go run ./cmd/cluster up $(if $(wildcard bin/dougong-image.tar),../../bin/dougong-image.tar)

.PHONY: cluster-down
cluster-down: ## end it; leaves nothing behind, also after a kill
	@cd test/cluster && go run ./cmd/cluster down

.PHONY: test-cluster
test-cluster: image ## the tests on a real Kubernetes, with the image; uses the one of cluster-up if it runs; DOUGONG_LONG=1 for 200 deletes
	@test/cluster/install.sh && cd test/cluster && dir=$${XDG_STATE_HOME:-$$HOME/.local/state}/dougong/cluster; \
	if [[ -e $$dir/kubeconfig ]]; then export DOUGONG_CLUSTER=$$dir; fi; go test -v -count=1 -timeout 40m ./... | grep -v '^=== '

.PHONY: soak-inference
soak-inference: ## 200 callers and 5 slow scrapers for 2 minutes, on a fifth of a processor where cgroups allow it
	DOUGONG_LONG=1 go test ./test/soak -run TestSoak -v -count=1 -timeout 10m

.PHONY: overload-inference
overload-inference: ## bursts, then more load than the process can bear, for 90 s each, likewise
	DOUGONG_LONG=1 go test ./test/soak -run TestOverload -v -count=1 -timeout 15m

.PHONY: bench-worker
bench-worker: ## ONNX Runtime in a worker process beside the same library in this one (needs npm, a C compiler)
	@CGO_ENABLED=1 go build -o bin/dougong-onnx-worker ./cmd/dougong-onnx-worker && cd bench && go run ./worker

.PHONY: chaos-workers
chaos-workers: ## have workers die under load in each known way, 100 times each (30 minutes)
	@scripts/onnx.sh >/dev/null && DOUGONG_LONG=1 go test -count=1 -v -timeout 100m ./test/workers

.PHONY: bench-load
bench-load: ## `dougong load` beside wrk, fortio and ghz: client CPU a request, memory, and who sees a stall (needs wrk)
	@mkdir -p bin && CGO_ENABLED=0 go build -o bin/dougong ./cmd/dougong && cd bench && go run ./load -dougong ../bin/dougong

.PHONY: bench-kit
bench-kit: ## breakers, limits, ramps, fault points and pools beside their peers; overload behind a limit
	@cd bench && go run ./kit

.PHONY: sim-kit
sim-kit: ## the simulations of the kit at length, with their tables: months of traffic, ten million schedules
	@cd kit && { \
		DOUGONG_LONG=1 go test -v -count=1 -timeout 3h -run 'Random|Races|FalseTrips|Outages|Recovery' ./breaker && \
		go test -v -count=1 -timeout 1h -run 'Random|Races|Recovery|Share' ./ramp -args -steps=10000000 && \
		go test -v -count=1 -timeout 1h -run 'Random|Races|Adaptive|Share' ./limit; \
	} | grep -vE '^(=== | +--- PASS)'

.PHONY: sim-faults
sim-faults: ## what `dougong prove faults` claims: thousands of simulated runs, a hundred real ones, and 50 kills of the prover
	DOUGONG_LONG=1 go test -v -count=1 -timeout 2h -run 'Simulated|Family' ./prove/fault/effect | grep -vE '^(=== | +--- PASS)'
	DOUGONG_LONG=1 go test -v -count=1 -timeout 4h -run 'RealDelays|UndoAfterACrash' ./prove/fault | grep -vE '^(=== | +--- PASS)'

.PHONY: test-triton-client
test-triton-client: ## call the server with tritonclient, perf_analyzer and KServe's SDK: installs them, and measures longer than `make test`
	@scripts/clients.sh >/dev/null
	DOUGONG_LONG=1 go test ./test/triton -v -count=1 -timeout 30m

.PHONY: build
build: ## build bin/dougong, without cgo
	CGO_ENABLED=0 go build -trimpath -o bin/dougong ./cmd/dougong

.PHONY: install
install: ## install dougong into GOBIN
	CGO_ENABLED=0 go install -trimpath ./cmd/dougong

.PHONY: install-onnx
install-onnx: ## fetch ONNX Runtime (npm, 110 MB) and install the worker that runs it beside dougong (needs npm, a C compiler)
	@dir=$$(scripts/onnx.sh) && install -D -m 644 -t $(HOME)/.local/lib/dougong $$dir/*.so
	CGO_ENABLED=1 go build -trimpath -o bin/dougong-onnx-worker ./cmd/dougong-onnx-worker
	CGO_ENABLED=1 go install -trimpath ./cmd/dougong-onnx-worker

.PHONY: fixtures
fixtures: ## make the model fixtures anew from the libraries themselves (needs Python and PyPI)
	services/inference/modelfile/testdata/make_fixtures.sh
