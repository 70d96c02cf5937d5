# Clarion. Needs Go and make; the lab (demo, test) also root on a Debian machine, and installs what it needs by itself.
#
# What is behind two hashes is the help that a bare `make` prints.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# The one place that says how the images are called; `make manifests` with other values writes them there.
IMAGES_SET_IN := config/default/kustomization.yaml

VERSION ?= $(shell sed -n 's/^ *newTag: *//p' $(IMAGES_SET_IN) | head -n 1)## tag of the images and in deploy/clarion.yaml
IMAGE_REPOSITORY ?= $(shell sed -n 's/^ *newName: *\(.*\)controller$$/\1/p' $(IMAGES_SET_IN) | head -n 1)## what the images' names begin with
ARCHITECTURES ?= amd64 arm64## architectures in the images
KEEP ?=## 1 leaves the demo's cluster up
FUZZTIME ?= 10s## how long each fuzz target runs
BENCH ?= .## which benchmarks run
RUN ?=## which tests run, as a regular expression; all by default

TOOL := go tool -modfile=tools.mod
LAB := go run ./e2e/cmd/lab

# What the programs say of themselves, and when their images were made: both from the commit, so that builds repeat.
REVISION := $(shell git describe --tags --always --dirty --match 'v*' 2>/dev/null || echo dev)
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH

BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(REVISION)'

.PHONY: help
help: ## say what there is
	@echo 'Usage: make TARGET [VARIABLE=value]'; echo
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile; echo
	@echo 'Variables:'
	@awk -F ' \\?=|## ' '/^[A-Z_]+ \?=.*## / { printf "  %-18s %s\n", $$1, $$NF }' Makefile

.PHONY: demo
demo: ## a cluster on this machine, an address, a request, a dead node: watch it (KEEP=1 leaves it up)
	@KEEP=$(KEEP) $(LAB) demo

.PHONY: build
build: ## the programs, static, into bin/
	$(BUILD) -o bin/ ./cmd/...

.PHONY: images
images: ## both images as OCI archives, and what is in them (CycloneDX), into bin/images/
	@for arch in $(ARCHITECTURES); do \
		echo "building for linux/$$arch"; \
		GOOS=linux GOARCH=$$arch $(BUILD) -o bin/linux_$$arch/ ./cmd/clarion-controller ./cmd/clarion-speaker; \
	done
	@go run ./deploy/images/build --repository '$(IMAGE_REPOSITORY)' --tag '$(VERSION)' --revision '$(REVISION)' \
		--arch "$$(echo $(ARCHITECTURES) | tr ' ' ,)" --output bin/images

GENERATED := api/v1beta1/zz_generated.deepcopy.go config/crd $(IMAGES_SET_IN) deploy/clarion.yaml deploy/chart/Chart.yaml deploy/chart/files \
	docs/reference/fields.md cmd/kubectl-clarion/remedy/remedies.tsv

.PHONY: generate
generate: ## deepcopy code, CRDs, their page in docs/, kubectl's remedies, deploy/clarion.yaml and the chart's parts from their sources
	$(TOOL) controller-gen object crd paths=./api/... output:crd:dir=config/crd
	go run ./docs/reference/generate
	go test ./cmd/kubectl-clarion/remedy -run TheRemediesAreThoseOfThePages -update
	@$(MAKE) manifests

.PHONY: manifests
manifests: ## deploy/clarion.yaml, and what the Helm chart has in common with it, from config/
	@cd config/default && go tool -modfile=../../tools.mod kustomize edit set image \
		'clarion-controller=$(IMAGE_REPOSITORY)controller:$(VERSION)' 'clarion-speaker=$(IMAGE_REPOSITORY)speaker:$(VERSION)'
	@echo 'deploy/clarion.yaml: images $(IMAGE_REPOSITORY)controller:$(VERSION) and $(IMAGE_REPOSITORY)speaker:$(VERSION)'
	@built=$$($(TOOL) kustomize build config/default); \
		printf '%s\n' '# All of Clarion. Generated from config/ by `make manifests`; change it there.' "$$built" > deploy/clarion.yaml
	@sed -i -e 's/^version: .*/version: $(VERSION:v%=%)/' -e 's/^appVersion: .*/appVersion: $(VERSION)/' deploy/chart/Chart.yaml
	@rm -rf deploy/chart/files && mkdir -p deploy/chart/files/{crd,rbac,admission,controller,speaker,monitoring,warnings} && \
		cp config/warnings/service-annotations.yaml deploy/chart/files/warnings/ && \
		cp deploy/monitoring/{rules.yaml,dashboard.json} deploy/chart/files/monitoring/ && \
		cp config/crd/clarion.dev_*.yaml deploy/chart/files/crd/ && \
		cp config/rbac/{controller,speaker,metrics,viewer}.yaml deploy/chart/files/rbac/ && \
		cp config/admission/{crds,speaker-*}.yaml deploy/chart/files/admission/ && \
		cp config/controller/disruption.yaml deploy/chart/files/controller/ && \
		cp config/speaker/gossip.yaml deploy/chart/files/speaker/

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l); \
		[ -z "$$unformatted" ] || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	$(TOOL) staticcheck ./...

.PHONY: check-generated
check-generated: ## fail where generated files are stale (and bring them up to date)
	@sums() { find $(GENERATED) -type f -print0 | sort -z | xargs -0 sha256sum; }; \
		before=$$(sums); $(MAKE) generate; after=$$(sums); \
		diff <(echo "$$before") <(echo "$$after") >/dev/null || \
		{ echo "generated files were stale and have been generated anew: commit them"; git status --short $(GENERATED); exit 1; }

.PHONY: setup
setup: ## what the tests need on this machine: packages, Kubernetes, container runtime (cached)
	@command -v gcc >/dev/null || { echo 'installing gcc, which the race detector needs'; \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends gcc libc6-dev; }
	@$(LAB) setup

# gotestsum shows progress and leaves "passed failed skipped" in a file for the sum at the end. Scenarios live in real time,
# on machines that others use too: a test that fails is run once more, by itself, and what passed only then is told at the
# end. A data race is never given a second chance.
GOTESTSUM = $(TOOL) gotestsum --format-hide-empty-pkg \
	--rerun-fails=1 --rerun-fails-max-failures=8 --rerun-fails-abort-on-data-race --rerun-fails-report=bin/test/$@.again \
	--post-run-command "bash -c 'echo \$$((TESTS_TOTAL-TESTS_FAILED-TESTS_SKIPPED)) \$$((TESTS_FAILED+TESTS_ERRORS)) \$$TESTS_SKIPPED > bin/test/$@.count'"
# What failed and passed when run again is no failure in the sum.
COUNT = && sed -i 's/ [0-9]* / 0 /' bin/test/$@.count
TEST_FLAGS = -count=1 $(if $(RUN),-run '$(RUN)')

.PHONY: test
test: lint check-generated setup ## everything: lint, generated files, unit, integration and scenario tests
	@rm -rf bin/test; status=0; \
		$(MAKE) test-pure || status=1; \
		$(MAKE) test-code || status=1; \
		$(MAKE) test-lab || status=1; \
		again=$$(cat bin/test/*.again 2>/dev/null || true); if [ -n "$$again" ]; then echo 'run twice, for they failed at first:'; echo "$$again"; fi; \
		cat bin/test/*.count | awk '{ p += $$1; f += $$2; s += $$3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s }' | tee bin/test/summary; \
		exit $$status

# What has no goroutine has no race to detect, and walks and simulations are long.
PURE = controller/ipam speaker/ownership speaker/detection speaker/plan speaker/routes

.PHONY: test-pure
test-pure: ## tests of what is pure: tables, random walks, simulations (RUN=…)
	@mkdir -p bin/test
	@$(GOTESTSUM) --format pkgname --packages="$(PURE:%=./%)" -- $(TEST_FLAGS) $(COUNT)

.PHONY: test-code
test-code: ## all other unit tests, and integration tests on a real API server, with the race detector (RUN=…)
	@mkdir -p bin/test
	@assets=$$($(LAB) assets); KUBEBUILDER_ASSETS="$$assets" CLARION_LAB=1 \
		$(GOTESTSUM) --format pkgname --packages="$$(go list ./... | grep -v '/e2e/' | grep -vE '($(subst $() ,|,$(PURE)))$$' | xargs) ./e2e/app/..." -- -race $(TEST_FLAGS) $(COUNT)

.PHONY: test-lab
test-lab: ## the lab's tests and the scenarios, on a whole cluster, one after the other (RUN=…)
	@mkdir -p bin/test
	@assets=$$($(LAB) assets); KUBEBUILDER_ASSETS="$$assets" CLARION_LAB=1 \
		$(GOTESTSUM) --format testname --packages="$$(go list ./e2e/... | grep -v '/e2e/app' | xargs)" -- -p 1 -timeout 40m $(TEST_FLAGS) $(COUNT)

.PHONY: test-oldest
test-oldest: ## integration tests on the API server of the oldest Kubernetes that Clarion runs on (RUN=…)
	@mkdir -p bin/test
	@assets=$$($(LAB) assets --oldest); KUBEBUILDER_ASSETS="$$assets" \
		$(GOTESTSUM) --format pkgname --packages="./config/crd ./deploy ./controller ./speaker ./cmd/kubectl-clarion/..." -- $(TEST_FLAGS) $(COUNT)

.PHONY: bench
bench: setup ## benchmarks, which take an hour in all (BENCH=… for some, such as BENCH=Failover)
	assets=$$($(LAB) assets); KUBEBUILDER_ASSETS="$$assets" CLARION_LAB=1 CLARION_BENCH=1 \
		go test -run '^$$' -bench '$(BENCH)' -benchmem -p 1 -timeout 90m ./...

.PHONY: fuzz
fuzz: ## each fuzz target for a while (FUZZTIME=…)
	@go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | while read -r package; do \
		for target in $$(go test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

.PHONY: clean
clean: ## remove what was built here (the lab's cache stays)
	rm -rf bin _artifacts
