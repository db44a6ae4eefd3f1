# One word per chore. `make test` is all of them that must pass.
PYTHON := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/staffa/venv/bin/python
BENCH_PYTHON := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/staffa/bench-venv/bin/python

.PHONY: build check fmt lint layers test slt crash faults history clients judges bless torture hostile oracles fuzz fuzz-coverage fuzz-select fuzz-expressions tpch bench demo ci setup

build: ## the program
	cargo build --release --package staffa-server

check: ## does it compile, and do the crates name only those below them
	cargo check --workspace --all-targets
	scripts/layers

fmt: ## format the code
	cargo fmt --all

# Not part of `test` and `.ci/run`: clippy checks all dependencies anew beside their test build, minutes on two cores.
lint: ## formatting and clippy, warnings fatal
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

layers: ## the crates' order
	scripts/layers

setup: ## what the tests need
	scripts/setup

test: setup ## every test; ends with cargo's summary
	scripts/layers
	cargo test --workspace

slt: ## SQL text tests through three doors; STAFFA_SLT=part of a file's name
	cargo test --package staffa-tests --test it slt::

crash: setup ## 200 kill -9 during loads
	STAFFA_KILLS=$${STAFFA_KILLS:-200} cargo test --package staffa-tests --test it durability::kill -- --nocapture

faults: ## every step of a commit × {error, lost answer, all gone, kill}, on SQLite and PostgreSQL
	STAFFA_FAULTS=all cargo test --package staffa-catalog --lib -- catalog::faults postgres::tests::all_tests

history: setup ## two minutes of random transactions, checked for snapshot isolation, on SQLite and PostgreSQL
	STAFFA_HISTORY_SECONDS=$${STAFFA_HISTORY_SECONDS:-60} cargo test --package staffa-tests --test it isolation:: -- --nocapture

clients: build ## every client suite beside PostgreSQL; SUITES=dbt_adapter for some
	scripts/setup clients
	tests/clients/run --program target/release/staffa $(SUITES)

judges: setup ## four engines read our tables, pyiceberg and DuckDB write them through the REST catalog
	cargo test --package staffa-tests --test it -- judges:: rest::

bless: setup ## PostgreSQL's answers into tests/sql, DuckDB's into tests/tpch
	$(PYTHON) scripts/slt_bless.py
	$(PYTHON) scripts/tpch_answers.py

torture: build setup ## release-sized load, faults and enemies, each figure beside its bound; TORTURES=memory for some, ARGS=--quick
	$(PYTHON) tests/torture/run --program target/release/staffa $(TORTURES) $(ARGS)

hostile: build setup ## 100,000 malformed sessions, 10,000 damaged files; STAFFA_SEED
	$(PYTHON) tests/hostile/sessions.py --program target/release/staffa --seed $${STAFFA_SEED:-1} --count 100000
	$(PYTHON) tests/hostile/files.py --program target/release/staffa --seed $${STAFFA_SEED:-1} --count 10000

oracles: build setup ## 20,000 queries that must agree with themselves, 20,000 beside PostgreSQL; STAFFA_SEED
	$(PYTHON) scripts/fuzz_oracles.py --program target/release/staffa --seed $${STAFFA_SEED:-1} --count 20000
	$(PYTHON) scripts/fuzz_select.py --program target/release/staffa --seed $${STAFFA_SEED:-1} --count 20000

fuzz: setup ## random mutations through all readers of strangers' bytes; STAFFA_FUZZ_SEED, STAFFA_FUZZ_COUNT
	STAFFA_FUZZ_COUNT=$${STAFFA_FUZZ_COUNT:-100000} cargo test --release --package staffa-tests --test it fuzz::

fuzz-coverage: ## one target of fuzz/ by coverage: TARGET=sql, STAFFA_FUZZ_SECONDS; needs cargo-fuzz
	cp Cargo.lock fuzz/Cargo.lock
	mkdir -p fuzz/found/$(TARGET)
	cargo fuzz run --sanitizer none $(TARGET) fuzz/found/$(TARGET) fuzz/corpus/$(TARGET) -- -max_total_time=$${STAFFA_FUZZ_SECONDS:-600} -timeout=60 -rss_limit_mb=4096

fuzz-select: build setup ## random SELECTs beside PostgreSQL; STAFFA_SEED, STAFFA_COUNT
	$(PYTHON) scripts/fuzz_select.py --program target/release/staffa --seed $${STAFFA_SEED:-1} --count $${STAFFA_COUNT:-500}

fuzz-expressions: build setup ## random expressions over all types beside PostgreSQL; STAFFA_SEED, STAFFA_COUNT
	$(PYTHON) scripts/fuzz_expressions.py --program target/release/staffa --seed $${STAFFA_SEED:-1} --count $${STAFFA_COUNT:-5000}

tpch: build setup ## TPC-H at scale 1 against DuckDB, by psql, psycopg and JDBC
	$(PYTHON) scripts/tpch_check.py --program target/release/staffa --scale 1

bench: build ## beside DuckDB and PostgreSQL; see benches/README.md
	scripts/setup bench
	$(BENCH_PYTHON) benches/compare/tpch.py --program target/release/staffa
	$(BENCH_PYTHON) benches/compare/load.py --program target/release/staffa

demo: ## a server with TPC-H data
	cargo run --release --package staffa-server -- demo

ci: ## what the machines run
	.ci/run
