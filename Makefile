# Mandelbox Operator. `make help` is the map; Go and make are all a machine needs.

GO ?= go
# What `mandelbox-operator version` answers.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
IMG ?= mandelbox-operator:$(VERSION)
# How many compilers build the control plane, and how many packages are tested, at once.
JOBS ?= 2
TEST_TIMEOUT ?= 40m
PKG ?= ./...
# The version before this one.
FROM ?= v0.1.0
ARGS ?=

MODULE := github.com/mandelbox/mandelbox-operator
BIN := $(CURDIR)/bin
K8S_BIN := $(BIN)/k8s
# A control plane of the user's own wins over the one that is built here.
ifeq ($(KUBEBUILDER_ASSETS),)
KUBEBUILDER_ASSETS := $(K8S_BIN)
endif
export KUBEBUILDER_ASSETS
KUBECTL ?= $(K8S_BIN)/kubectl
# kubectl is built before it is used, unless the user named another.
KUBECTL_BUILT := $(filter $(K8S_BIN)/kubectl,$(KUBECTL))

CONTROLLER_GEN := $(GO) tool -modfile=hack/tools/go.mod controller-gen
GOLANGCI_LINT := $(BIN)/golangci-lint
# The one that belongs to the Go tool, which need not be in the PATH.
GOFMT = $(shell $(GO) env GOROOT)/bin/gofmt
# Every module of this repository, by its folder.
GO_MODULES := . hack/charts hack/monitoring hack/tools hack/tools/golangci-lint hack/controlplane hack/plot
# Those of them that have tests, beside the first.
TESTED_MODULES := hack/charts hack/monitoring

.DEFAULT_GOAL := help
# A recipe that fails leaves no half-written binary behind.
.DELETE_ON_ERROR:

##@ General

.PHONY: help
help: ## Show this map.
	@awk 'BEGIN { FS = ":.*##"; printf "Usage: make <target> [VARIABLE=value]\n" } \
	  /^[a-zA-Z0-9_-]+:.*?##/ { printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2 } \
	  /^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) }' $(firstword $(MAKEFILE_LIST))

##@ See it run

.PHONY: demo
# Not by `go run`, which calls a Ctrl-C a failure, nor with build's flags, whose
# packages nothing else here shares.
demo: controlplane ## Run the whole line against a local control plane and a local AWS; ARGS=--once ends by itself.
	@$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/mandelbox-operator .
	@$(BIN)/mandelbox-operator demo $(ARGS)

.PHONY: soak
soak: controlplane ## Run the operator for long among all that can go wrong, and check its promises; e.g. ARGS="--minutes 30 --seed 1".
	$(GO) run -ldflags '$(LDFLAGS)' . soak $(ARGS)

.PHONY: crashtest
crashtest: controlplane ## Kill the manager at every write that it makes, and check what a fresh one makes of it; e.g. ARGS="--plans 1000 --seed 1".
	@$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/mandelbox-operator .
	@$(BIN)/mandelbox-operator crashtest $(ARGS)

BENCHES := bench-assign bench-launch bench-idle bench-scale bench-failover

.PHONY: bench $(BENCHES)
bench: $(BENCHES) bench-plot ## Run every benchmark, one after the other: forty minutes in which the machine should do nothing else.
bench-assign: ## Measure how fast sessions get their slots, beside bare clients' writes; ARGS="--only steady" runs a part.
bench-launch: ## Measure what a thousand hosts at once cost, and how soon they are Active.
bench-idle: ## Measure what a fleet costs in which nothing happens.
bench-scale: ## Measure what changes as the fleet grows.
bench-failover: ## Measure how long nothing is assigned when the leader ends, and after a cold start.
$(BENCHES): bench-%: controlplane
	@$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/mandelbox-operator .
	@$(GO) build -tags $(SHIPPED) -ldflags '$(LDFLAGS)' -o $(BIN)/mandelbox-operator-shipped .
	@$(BIN)/mandelbox-operator bench $* --program $(BIN)/mandelbox-operator-shipped --result $(BIN)/bench-$*.txt $(ARGS)

.PHONY: bench-plot
bench-plot: ## Draw docs/performance.svg from what the benchmarks measured last.
	$(GO) -C hack/plot run . $(CURDIR)/docs/performance.svg $(BIN)/bench-*.txt

.PHONY: run
run: ## Run the manager against the cluster of the current kubeconfig; flags go in ARGS.
	$(GO) run -ldflags '$(LDFLAGS)' . manager $(ARGS)

##@ Development

HEADER := hack/boilerplate.go.txt

.PHONY: generate
generate: ## Generate deepcopy, apply configurations, CRDs, RBAC and webhook manifests, charts, argocd-cm and docs/reference.
	$(CONTROLLER_GEN) object:headerFile=$(HEADER) paths=./api/...
	$(CONTROLLER_GEN) applyconfiguration:headerFile=$(HEADER) paths=./api/...
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=manager-role paths=./controllers/... paths=./internal/... output:rbac:dir=config/rbac
	$(CONTROLLER_GEN) webhook paths=./internal/... output:webhook:dir=config/webhook
	cd hack/charts && $(GO) run . ../../config
	$(GO) run ./hack/argocd-cm config/gitops/argocd >config/gitops/argocd/argocd-cm.yaml
	$(GO) run ./hack/reference docs/reference

.PHONY: record
record: controlplane ## Record anew how each kind looks in each state, for the tests of what GitOps tools read.
	MANDELBOX_RECORD=1 $(GO) test ./controllers -count=1 -ginkgo.focus='as it was recorded|that dashboards and alerts may ask for'
	MANDELBOX_RECORD=1 $(GO) test ./config/gitops -count=1

.PHONY: record-upgrade
record-upgrade: controlplane ## Upgrade from the real manager of the tag FROM and back, and record what it left, for the upgrade test.
	@GO='$(GO)' hack/record-upgrade $(FROM)

.PHONY: fmt
fmt: ## Format the Go code.
	$(GOFMT) -s -w $$(git ls-files --cached --others --exclude-standard -- '*.go')

.PHONY: vet
vet: ## Run go vet.
	$(GO) vet ./...
	$(GO) vet -tags $(SHIPPED) . ./internal/cli

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run golangci-lint, with the Kubernetes API linter for api/.
	$(GOLANGCI_LINT) run

.PHONY: verify
verify: vet lint ## Fail if anything generated, formatted or tidied differs from what is here, or a linter objects.
	@GO='$(GO)' hack/verify $(GO_MODULES)

.PHONY: govulncheck
# Not part of verify: it needs its database, which is online.
govulncheck: ## Look for known vulnerabilities that the code reaches; GOVULNDB names another copy of the database.
	@GO='$(GO)' hack/govulncheck . hack/charts

.PHONY: test
test: controlplane chromium ## Run every test with the race detector, on a real control plane; PKG narrows it.
	$(GO) test -race -shuffle=on -timeout $(TEST_TIMEOUT) -p $(JOBS) $(PKG)
ifeq ($(PKG),./...)
	@for module in $(TESTED_MODULES); do echo "testing $$module"; (cd $$module && $(GO) test -timeout $(TEST_TIMEOUT) -p $(JOBS) ./...) || exit 1; done
endif

##@ Build

LDFLAGS := -X $(MODULE)/internal/cli.version=$(VERSION)
# The tags of what is shipped, which has no demo and no tests in it, so that the linker
# leaves out what is never called: see linked_test.go.
SHIPPED := shipped,grpcnotrace

.PHONY: build
build: ## Build bin/mandelbox-operator as it is shipped: without the demo and what needs this repository.
	CGO_ENABLED=0 $(GO) build -tags $(SHIPPED) -trimpath -ldflags '-s -w $(LDFLAGS)' -o $(BIN)/mandelbox-operator .

.PHONY: kubectl-plugin
# By the second name kubectl asks it to complete a command line.
kubectl-plugin: build ## Link bin/kubectl-mandelbox to it, which is "kubectl mandelbox" once bin is on the PATH.
	ln -sf mandelbox-operator $(BIN)/kubectl-mandelbox
	ln -sf mandelbox-operator $(BIN)/kubectl_complete-mandelbox

.PHONY: image
image: ## Build the container image IMG with docker.
	docker build --build-arg VERSION=$(VERSION) -t $(IMG) .

.PHONY: clean
clean: ## Remove everything that was built.
	rm -rf $(BIN)

##@ Install into the cluster of the current kubeconfig

.PHONY: install
install: $(KUBECTL_BUILT) ## Install the CRDs.
	$(KUBECTL) apply --server-side -k config/crd

.PHONY: uninstall
uninstall: $(KUBECTL_BUILT) ## Remove the CRDs, and with them every object of their kinds.
	$(KUBECTL) delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: $(KUBECTL_BUILT) ## Install the CRDs and the manager, from the image IMG.
	@hack/deploy-overlay '$(IMG)' $(BIN)/deploy
	$(KUBECTL) apply --server-side -k $(BIN)/deploy

.PHONY: undeploy
undeploy: $(KUBECTL_BUILT) ## Remove the manager and the CRDs.
	$(KUBECTL) delete --ignore-not-found -k config/default

##@ Tools

# The control plane is built only if it is the one that will be used.
.PHONY: controlplane
ifeq ($(KUBEBUILDER_ASSETS),$(K8S_BIN))
controlplane: $(K8S_BIN)/etcd $(K8S_BIN)/kube-apiserver $(K8S_BIN)/kubectl ## Build etcd, kube-apiserver and kubectl into bin/k8s.
else
controlplane:
	@echo "using the control plane in $(KUBEBUILDER_ASSETS)"
endif

.PHONY: chromium
chromium: ## See that there is a browser for the dashboard's tests; root on Debian gets one.
	@hack/chromium

CONTROLPLANE_MOD := hack/controlplane/go.mod hack/controlplane/go.sum

$(K8S_BIN)/etcd: PACKAGE := go.etcd.io/etcd/server/v3
$(K8S_BIN)/kube-apiserver: PACKAGE := k8s.io/kubernetes/cmd/kube-apiserver
$(K8S_BIN)/kubectl: PACKAGE := k8s.io/kubernetes/cmd/kubectl
$(K8S_BIN)/etcd $(K8S_BIN)/kube-apiserver $(K8S_BIN)/kubectl: $(CONTROLPLANE_MOD) hack/controlplane/build
	@GO='$(GO)' JOBS='$(JOBS)' hack/controlplane/build $(PACKAGE) $@

$(GOLANGCI_LINT): $(addprefix hack/tools/golangci-lint/,go.mod go.sum main.go)
	@echo "building golangci-lint, some minutes the first time"
	@cd hack/tools/golangci-lint && CGO_ENABLED=0 nice $(GO) build -p $(JOBS) -trimpath -ldflags '-s -w' -o $@ .
