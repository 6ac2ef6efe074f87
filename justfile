# Short names for what CONTRIBUTING.md explains; `just` lists them. https://just.systems
default:
    @just --list

# Packages into .venv, as uv.lock names them, and the hooks that check a commit.
setup:
    uv sync --locked
    uv run pre-commit install

# What takes seconds: style, types, walls between rooms, YAML.
lint:
    uv run ruff check .
    uv run ruff format --check .
    uv run mypy
    uv run lint-imports --no-cache
    uv run yamllint --strict .

# Tests without those that go through DVC or train for long.
fast *arguments:
    uv run pytest -m "not slow" {{arguments}}

# All tests.
test *arguments:
    uv run pytest {{arguments}}

# Everything that is written from the code: pages, and the code lists of dvc.yaml.
write:
    uv run python -m tools.code_dependencies
    uv run python -m tools.write_docs
    uv run python tests/write_datasets_page.py
    uv run python tests/write_bad_input_page.py

# Against named baselines, minutes; `authors` is a clone of https://github.com/yunjey/stargan.
bench authors:
    uv run python -m benchmarks.all --authors {{authors}}

# The site of docs/, which reads from disk: site/index.html.
docs:
    uv run mkdocs build --strict

# The default run, and its page: artifacts/report/index.html.
run:
    uv run dvc repro

# What a merge must pass: a fresh environment, lint, all tests.
ci:
    .ci/run
