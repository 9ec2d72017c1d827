"""Contract tests of every script in `lua/`, through `app.registry.registry`, on every engine."""
