# The project's commands. `make` alone lists them; CI calls these same targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check --no-deps --require-hashes
LIBRARY := pynumdraw gateway trainer modelserver k8s data up.py
T ?= tests/unit tests/contract tests/browser tests/chart

APP_VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' pynumdraw/__init__.py)
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null)$(shell git diff --quiet HEAD 2>/dev/null || echo -dirty)
IMAGE_REGISTRY ?= localhost
IMAGE_TAG ?= $(APP_VERSION)-$(COMMIT)
IMAGES = $(foreach image,gateway store trainer,$(IMAGE_REGISTRY)/pynumdraw-$(image):$(IMAGE_TAG))
NAMESPACE := pynumdraw
HELM ?= helm
ifneq ($(filter kind-up,$(MAKECMDGOALS)),)
VALUES ?= k8s/values/kind.yaml
IMAGE_LOAD ?= kind load docker-image --name pynumdraw
endif

export PORT STORE RECIPE IMAGE_REGISTRY IMAGE_TAG IMAGE_LOAD VALUES

help: ## this list
	@echo "pynumdraw: draw a digit, get an honest answer. Usage: make TARGET"; echo
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: install data ## install, fetch the data, train if there is no model yet, start everything, print the address (PORT=8080 STORE=models RECIPE=quick)
	@exec $(PY) up.py

install: $(VENV)/.programs ## the programs' requirements into .venv

data: $(VENV)/.programs ## the four raw MNIST files into data/, checked
	@$(PY) -m data.fetch

train: install data ## train and publish a new version (RECIPE=quick or best)
	@$(PY) -m trainer fit --data data --store $(or $(STORE),models) --recipe $(or $(RECIPE),quick)

evaluate: install data ## measure and write docs/model-card.md (VERSIONS="1 2 3", else the newest; DRAWINGS="file …" with real pens)
	@$(PY) -m trainer evaluate --store $(or $(STORE),models) $(if $(VERSIONS),--version $(VERSIONS)) --drawings tests/golden/hand-made.jsonl $(DRAWINGS) --card docs/model-card.md

test: test-install data ## every suite that needs no cluster (T=path runs one)
	@echo "Training the small model that the tests read with, where these sources have none yet"
	@$(PY) -m tests.stack
	@$(PY) -m pytest -n auto --dist loadfile $(T)

test-install: $(VENV)/.tests ## what the tests need, browsers too
	@tests/browser/ensure-chromium
	@tests/browser/ensure-firefox
	@tests/browser/ensure-packages
	@$(PY) -m tests.chart.tools

test-chart: test-install ## the chart, without a cluster
	@$(PY) -m pytest tests/chart

test-e2e: test-install ## the life of a release on the cluster of KUBECONFIG (INGRESS_URL, IMAGE_LOAD; after make build)
	@$(PY) -m pytest tests/e2e -x

bench: test-install ## speed of the whole path and of its parts, as a table (PEER=url PEER_BODY=file: in turn with another server that runs; SERVING=host:port: behind it a model server that runs)
	@$(PY) -m tests.bench $(if $(SERVING),--serving $(SERVING)) $(if $(PEER),--peer $(PEER) --peer-body $(PEER_BODY))

bench-page: test-install ## how quick the page is: until it is ready, from pen to ink, from stroke to answer
	@$(PY) -m tests.browser.speed

attack: test-install ## play what one machine can do to a gateway, on loopback, and measure (ATTACK="idle methods" SECONDS=10)
	@$(PY) -m tests.attack --seconds $(or $(SECONDS),10) $(if $(ATTACK),--only $(ATTACK))

golden: test-install ## rewrite the golden frames and renders; then read the diff
	@$(PY) -m tests.golden
	@$(PY) -m tests.chart.golden

screenshot: test-install ## the README's pictures, from the real page
	@$(PY) -m tests.browser.screenshot readme docs/page.png

screenshots: test-install ## the page in every state and size, by day and by night, with forced colours and as printed, into build/screenshots/
	@$(PY) -m tests.browser.screenshot all build/screenshots

build: data ## the images, with docker, podman or buildah (IMAGE_REGISTRY=localhost IMAGE_BUILD_FLAGS=)
	@builder=$$(for each in docker podman buildah; do if $$each info >/dev/null 2>&1; then echo $$each; break; fi; done); \
	[ -n "$$builder" ] || { echo "make: needs docker, podman or buildah; none of them works here" >&2; exit 1; }; \
	for image in gateway store trainer; do name=$(IMAGE_REGISTRY)/pynumdraw-$$image; \
	  case $$image in store) of="Dockerfile.gateway --target store";; *) of=Dockerfile.$$image;; esac; \
	  $$builder build $(IMAGE_BUILD_FLAGS) --file $$of --build-arg VERSION=$(APP_VERSION) --build-arg REVISION=$(COMMIT) \
	    --tag $$name:$(APP_VERSION) --tag $$name:$(IMAGE_TAG) .; done

deploy: build ## install or change the release on the cluster of KUBECONFIG (VALUES=file IMAGE_LOAD=command)
	@kubectl apply -f k8s/namespace.yaml
	@if [ -n "$(IMAGE_LOAD)" ]; then $(IMAGE_LOAD) $(IMAGES); fi
	@$(HELM) upgrade --install pynumdraw helm/pynumdraw --namespace $(NAMESPACE) $(if $(VALUES),--values $(VALUES)) --set imageRegistry=$(IMAGE_REGISTRY) \
	  --set gateway.image.tag=$(IMAGE_TAG) --set store.image.tag=$(IMAGE_TAG) --set trainer.image.tag=$(IMAGE_TAG) --wait --timeout 15m \
	  $$($(HELM) version --short | grep -q '^v3' || echo --server-side=true --force-conflicts)

kind-up: ## a cluster in Docker, by kind
	@kind create cluster --config k8s/kind.yaml --wait 120s

kind-down: ## the end of that cluster
	@kind delete cluster --name pynumdraw

upgrade: test-install ## serve another version of the model (VERSION=2)
	@$(PY) -m k8s --namespace $(NAMESPACE) upgrade $(VERSION)

rollback: test-install ## back to the revision before (REVISION=n)
	@$(PY) -m k8s --namespace $(NAMESPACE) rollback $(REVISION)

status: test-install ## what runs on the cluster, what answers, and why not
	@$(PY) -m k8s --namespace $(NAMESPACE) status

lint: $(VENV)/.lint ## ruff, types, imports
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache

fmt: $(VENV)/.lint ## format the code and mend what ruff can
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

protos: $(VENV)/.lint ## the *_pb2.py beside each .proto file from the .proto files
	@$(PY) -m grpc_tools.protoc -I. --python_out=. --pyi_out=. pynumdraw/wire/*.proto pynumdraw/store/*.proto modelserver/*.proto

lock: $(VENV)/.lint ## requirements/*.txt from requirements/*.in
	@requirements/lock $(VENV)/bin/uv

vendor: ## web/vendor/ from its package, checked (needs npm)
	@requirements/vendor

chart-docs: test-install ## the chart's README and k8s/manifests.yaml (needs helm)
	@$(PY) helm/reference.py readme
	@$(PY) -m k8s render

chart-schema: test-install ## the chart's values.schema.json
	@$(PY) helm/reference.py schema

clean: ## remove build/ and the virtual environment; models/ and data/ stay
	rm -rf build $(VENV) tests/browser/node_modules

$(PY):
	@python=; for p in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
	  if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then python=$$p; break; fi; done; \
	if [ -z "$$python" ]; then echo "make: needs Python 3.11, 3.12 or 3.13; found $$(python3 --version 2>&1 || echo none). Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	echo "Making a virtual environment with $$($$python --version)"; \
	$$python -m venv $(VENV) || { rm -rf $(VENV); echo "make: $$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.programs: requirements/gateway.txt requirements/trainer.txt | $(PY)
	@echo "Installing the programs' requirements (about 300 MB the first time, one to three minutes)"
	@$(PIP_INSTALL) -r requirements/gateway.txt -r requirements/trainer.txt
	@touch $@

$(VENV)/.tests: requirements/test.txt requirements/chart.txt requirements/k8s.txt $(VENV)/.programs
	@echo "Installing what the tests need"
	@$(PIP_INSTALL) -r requirements/test.txt -r requirements/chart.txt -r requirements/k8s.txt
	@touch $@

$(VENV)/.lint: requirements/lint.txt $(VENV)/.tests
	@echo "Installing the linters"
	@$(PIP_INSTALL) -r requirements/lint.txt
	@touch $@

.PHONY: help up install data train evaluate test test-install test-chart test-e2e bench bench-page attack golden screenshot screenshots build deploy kind-up kind-down upgrade rollback status \
  lint fmt protos lock vendor chart-docs chart-schema clean
