"""spendgate: a request walks straight down one page, asks one question of Redis, and is always settled.

    accept → identify → match → estimate → ADMIT (one atomic Lua call) → forward + meter → SETTLE (one atomic Lua call)

core/    pure: values in, values out; knows no socket, no store, no clock
state/   Redis and nothing else: the scripts, the gate in front of them, the embedded store
data/    the request path: an HTTP server, the page, the way to the API and back
admin/   the admin port
cli/     the command line
demo/    a paid-API simulator and a driver

`app.py` puts them together, `worker.py` is one worker, `settings.py` alone reads the environment, `rules_file.py` alone
reads YAML. docs/architecture.md has the whole picture; tests/test_imports.py keeps the walls.
"""
