"""Contract tests of every script in `lua/`, through `app.registry`, on every engine."""
