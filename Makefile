# `make run` and `make test` need nothing else; `make help` lists the rest.
PYTHON ?= python3
PORT ?= 6080
TESTS ?= tests
# Tests mostly wait; so there are twice as many processes for them as there are processors.
JOBS ?= $(shell expr 2 '*' $$(nproc))
VENV := .venv
BIN := $(VENV)/bin
NOVNC_VERSION := 1.7.0
OPENSTACK := .cache/openstack
NOVA_VERSION := 34.0.0
NPM_NOVNC := .cache/novnc/node_modules/@novnc/novnc
# Of each minor version the newest: the tests open consoles with all of them.
NOVNC_VERSIONS := 1.0.0 1.1.0 1.2.0 1.3.0 1.4.0 1.5.0 1.6.0 1.7.0
XTERM_VERSION := 6.0.0
NPM_XTERM := .cache/xterm/node_modules/@xterm/xterm

# As root on Debian or Ubuntu these are installed, if missing; elsewhere their tests are skipped.
TEST_PROGRAMS := qemu-system-x86_64:qemu-system-x86 x11vnc:x11vnc socat:socat mariadbd:mariadb-server /usr/lib/galera/libgalera_smm.so:galera-4 rsync:rsync haproxy:haproxy nginx:nginx-light \
	openssl:openssl systemd-analyze:systemd Xtigervnc:tigervnc-standalone-server chromium:chromium xterm:xterm \
	xsetroot:x11-xserver-utils xdotool:xdotool xclip:xclip xwd:x11-apps xev:x11-utils \
	/usr/share/novnc/vnc_lite.html:novnc /usr/share/spice-html5/spice_auto.html:spice-html5 /usr/lib/*/libatomic.so.1:libatomic1 \
	/usr/sbin/libvirtd:libvirt-daemon-system /usr/include/libvirt/libvirt.h:libvirt-dev pkg-config:pkg-config gcc:gcc /usr/include/python3*/Python.h:python3-dev \
	/usr/lib/*/faketime/libfaketime.so.1:libfaketime \
	/usr/include/openssl/ssl.h:libssl-dev \
	/usr/lib/rabbitmq/bin/rabbitmq-server:rabbitmq-server nova-novncproxy:nova-consoleproxy \
	/usr/lib/postgresql:postgresql /usr/sbin/pgbouncer:pgbouncer ip:iproute2
# Debian 12 has this file in QEMU's own package.
RELEASE := $(shell . /etc/os-release 2>/dev/null && echo $$ID-$$VERSION_ID)
ifneq ($(RELEASE),debian-12)
TEST_PROGRAMS += /usr/lib/*/qemu/ui-spice-core.so:qemu-system-modules-spice
endif

BENCH_PROGRAMS := cc:gcc /usr/sbin/haproxy:haproxy /usr/include/openssl/ssl.h:libssl-dev

BENCH_CFLAGS := -O2 -std=c11 -Wall -Wextra -Werror

.DEFAULT_GOAL := help
.PHONY: help run test bench bench-quick bench-programs bare check fuzz plays crowd lint format types conf cover dist clean system-packages package-names

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(VENV)/run.stamp .cache/novnc.stamp ## start a gateway with the demo console, and print its URL
	@mkdir -p -m 700 .run
	@exec $(BIN)/twistd --nodaemon --pidfile= vncproxy --vncproxy-demo \
		--vncproxy-state_path=.run --vnc-novncproxy_port=$(PORT) --web="$$(cat .cache/novnc.stamp)"

test: $(VENV)/dev.stamp .cache/novnc.stamp .cache/novncs.stamp .cache/xterm.stamp .cache/nova.stamp system-packages $(VENV)/libvirt.stamp ## run every test, or TESTS=tests.web
	VNCPROXY_NOVNC="$$(cat .cache/novnc.stamp)" VNCPROXY_NOVNCS="$$(cat .cache/novncs.stamp)" VNCPROXY_XTERM="$$(cat .cache/xterm.stamp)" PATH="$(CURDIR)/$(BIN):$$PATH" \
		$(BIN)/python -m twisted.trial --jobs=$(JOBS) $(TESTS)

check: lint types test ## what CI runs

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(VENV)/dev.stamp ## put the code into its one form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

conf: $(VENV)/dev.stamp ## write conf/vncproxy.conf and docs/configuration.md anew
	$(BIN)/oslo-config-generator --namespace vncproxy --output-file conf/vncproxy.conf
	$(BIN)/python -m tests.config.reference > docs/configuration.md

cover: $(VENV)/dev.stamp .cache/novnc.stamp .cache/novncs.stamp .cache/xterm.stamp .cache/nova.stamp ## run the tests, and show the lines they miss
	VNCPROXY_NOVNC="$$(cat .cache/novnc.stamp)" VNCPROXY_NOVNCS="$$(cat .cache/novncs.stamp)" VNCPROXY_XTERM="$$(cat .cache/xterm.stamp)" PATH="$(CURDIR)/$(BIN):$$PATH" \
		$(BIN)/coverage run -m twisted.trial tests
	$(BIN)/coverage combine -q && $(BIN)/coverage report

fuzz: $(VENV)/dev.stamp ## put a million mutated conversations through the RFB handshakes
	$(BIN)/python -m tests.rfb.fuzz

plays: $(VENV)/dev.stamp ## play 2,000 sessions of each end, in each way to move bytes (hours); PLAYS="40 --stage portable"
	$(BIN)/python -m tests.e2e.rehearsal $(if $(PLAYS),$(PLAYS),2000)

crowd: $(VENV)/dev.stamp .cache/novnc.stamp ## measure what 5,000 silent and slow connections do to others
	VNCPROXY_NOVNC="$$(cat .cache/novnc.stamp)" $(BIN)/python -m tests.e2e.crowd

bare: ## as root: run the README's two commands in fresh Debian roots (BARE="bookworm trixie")
	tests/bare $(or $(BARE),bookworm trixie)

bench: bench-programs ## compare with websockify, HAProxy and others (40 minutes)
	$(BIN)/python -m bench $(if $(BENCH),$(BENCH),--report docs --results bench/results)

bench-quick: bench-programs ## the same, roughly and in a minute
	$(BIN)/python -m bench --quick --rounds 1 $(BENCH)

bench-programs: $(VENV)/dev.stamp .cache/websockify.stamp
	@$(MAKE) --no-print-directory system-packages TEST_PROGRAMS="$(BENCH_PROGRAMS)"
	@$(MAKE) --no-print-directory .cache/bench/target .cache/bench/client

dist: $(VENV)/dev.stamp ## build the wheel and the source archive
	$(BIN)/python -m build

clean: ## remove everything that make has made
	rm -rf $(VENV) .cache .run build dist artifacts _trial_temp* *.egg-info .coverage* .hypothesis

$(VENV)/made.stamp:
	@$(PYTHON) -m venv --clear $(VENV) 2>/dev/null || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
			&& tests/apt-install python3-venv \
			&& $(PYTHON) -m venv --clear $(VENV); \
	} || { echo "make: $(PYTHON) can't make a venv; install the package python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/run.stamp: $(VENV)/made.stamp pyproject.toml setup.py
	@echo "Installing vncproxy into $(VENV)..."
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/made.stamp pyproject.toml setup.py
	@echo "Installing vncproxy and its development tools into $(VENV)..."
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/run.stamp

# libvirt-python is built against libvirt's headers, so it is not among the other tools.
$(VENV)/libvirt.stamp: $(VENV)/dev.stamp | system-packages
	@if pkg-config --exists libvirt; then \
		echo "Building libvirt-python..." \
		&& $(BIN)/pip install -q --disable-pip-version-check -e '.[libvirt]' && touch $@; \
	else echo "No headers of libvirt, so its tests will be skipped"; fi

# The stamp's text is the path of noVNC's directory: npm's, or the distribution's without npm.
.cache/novnc.stamp:
	@mkdir -p .cache
	@if command -v npm >/dev/null; then \
		echo "Fetching noVNC $(NOVNC_VERSION)..." \
		&& npm install --silent --no-save --no-package-lock --prefix .cache/novnc @novnc/novnc@$(NOVNC_VERSION) >/dev/null \
		&& echo "$(CURDIR)/$(NPM_NOVNC)" > $@; \
	elif test -d /usr/share/novnc; then echo /usr/share/novnc > $@; \
	elif test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		tests/apt-install novnc && echo /usr/share/novnc > $@; \
	else echo "make: noVNC is needed; install npm, or the package novnc" >&2; exit 1; fi

# The stamp's text is the path of the directory that has novnc-1.0.0 and so on; empty without npm: tests are skipped.
.cache/novncs.stamp:
	@mkdir -p .cache
	@if command -v npm >/dev/null; then \
		echo "Fetching the versions of noVNC..." \
		&& npm install --silent --no-save --no-package-lock --prefix .cache/novncs \
			$(foreach version,$(NOVNC_VERSIONS),novnc-$(version)@npm:@novnc/novnc@$(version)) >/dev/null \
		&& echo "$(CURDIR)/.cache/novncs/node_modules" > $@; \
	else echo > $@; fi

# The stamp's text is the path of xterm.js's directory; empty without npm: its tests are skipped.
.cache/xterm.stamp:
	@mkdir -p .cache
	@if command -v npm >/dev/null; then \
		echo "Fetching xterm.js $(XTERM_VERSION)..." \
		&& npm install --silent --no-save --no-package-lock --prefix .cache/xterm @xterm/xterm@$(XTERM_VERSION) >/dev/null \
		&& echo "$(CURDIR)/$(NPM_XTERM)" > $@; \
	else echo > $@; fi

test cover: $(OPENSTACK)/made.stamp
$(OPENSTACK)/made.stamp:
	@echo "Installing OpenStack's client and its Keystone, for the tests..."
	@$(PYTHON) -m venv --clear $(OPENSTACK)
	@$(OPENSTACK)/bin/pip install -q --disable-pip-version-check python-openstackclient keystone
	@touch $@

# The newest nova, whose code the tests run; the oldest is the distribution's.
.cache/nova.stamp: $(VENV)/made.stamp
	@echo "Installing nova $(NOVA_VERSION) for the tests..."
	@$(PYTHON) -m venv --clear .cache/nova
	@.cache/nova/bin/pip install -q --disable-pip-version-check nova==$(NOVA_VERSION) pymysql 2>/dev/null
	@touch $@

system-packages:
	@missing=; for item in $(TEST_PROGRAMS); do \
		command -v $${item%%:*} >/dev/null || test -e $${item%%:*} || missing="$$missing $${item##*:}"; done; \
	test -z "$$missing" && exit 0; \
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		tests/apt-install $$missing; \
	else echo "Not installed, so their tests will be skipped:$$missing"; fi

# Every name that this file may ask apt for; RELEASE=debian-13 for another release's.
package-names:
	@printf '%s\n' python3-venv novnc $(foreach item,$(TEST_PROGRAMS) $(BENCH_PROGRAMS),$(lastword $(subst :, ,$(item))))

.cache/bench/target: bench/target.c bench/wire.h
	@mkdir -p $(@D)
	$(CC) $(BENCH_CFLAGS) -o $@.$$$$ $< && mv $@.$$$$ $@

BENCH_CLIENT := $(addprefix bench/,client.c measures.c samples.c session.c stream.c)

.cache/bench/client: $(BENCH_CLIENT) $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(CC) $(BENCH_CFLAGS) -o $@.$$$$ $(BENCH_CLIENT) -lssl -lcrypto && mv $@.$$$$ $@

# websockify in a venv of its own, with the numpy that it uses where it can.
.cache/websockify.stamp:
	@echo "Installing websockify into .cache/websockify..."
	@$(PYTHON) -m venv --clear .cache/websockify
	@.cache/websockify/bin/pip install -q --disable-pip-version-check 'websockify>=0.13' numpy
	@touch $@
