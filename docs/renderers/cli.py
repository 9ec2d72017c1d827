"""The reference of all commands, rendered from the commands: `python -m docs.renderers.cli` prints it.

`docs/cli.md` is its output.
"""

import sys
from collections.abc import Iterable
from typing import Any, Final

import typer

from app.cli.exits import MEANINGS
from app.cli.main import cli

_INTRODUCTION: Final = """\
# Command line

This page lists the commands of `sfu-gateway`, which run the gateway's processes and show operators what the fleet
does. `sfu-gateway COMMAND --help` says the same. `sfu-gateway --install-completion` makes the shell complete
commands, options, and the addresses and regions of the fleet.

## Whom commands ask

`sfu ...`, `why`, `explain`, `events`, `top` and `support-bundle` ask one of two:

* **Redis** (`--redis URL`, else `SFU_GATEWAY_REDIS__URL` or the file): works while no gateway runs. Run it with
  the gateway's own settings: limits and weights decide what counts as overloaded. A password is better in the
  environment than in `--redis`, which every user of the machine can read.
* **A gateway** (`--gateway URL`, or `host:port`): works from anywhere. `explain` and changes need `--admin-token`,
  better given as `SFU_GATEWAY_ADMIN_TOKEN`.

Both answer alike. `doctor` asks Redis.

```sh
sfu-gateway sfu list --gateway http://localhost:8071
sfu-gateway sfu drain http://sfu1:8070 --deadline 3600 --yes --gateway http://localhost:8071
sfu-gateway explain --region eu-west --redis redis://localhost:6379
sfu-gateway events --follow --json --gateway http://localhost:8071
sfu-gateway doctor --redis redis://localhost:6379
```

An SFU is named by its address, by its `host:port`, or by a part that no other address has: `sfu1` is enough for
`http://sfu1.example.com:8070`. Durations are seconds, or have a unit: `30s`, `5m`, `1h30m`, `2d`.

Tables are for people and may change. On a terminal they fit its width: the least important columns are left out, and
a long address is shown without its middle. In a pipe or a file everything is whole. `--json` is for programs: the
members are those of [the HTTP routes](api.md), and stay. Changes ask back unless `--yes`. What goes wrong is one line
on standard error, and an exit code.
"""


def command_page() -> str:
    """Return the whole page, as Markdown."""
    root = typer.main.get_command(cli)
    codes = [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(
        [
            _INTRODUCTION,
            "## Exit codes\n",
            "| code | meaning |",
            "| --- | --- |",
            *codes,
            "",
            "## Commands\n",
            *_sections("sfu-gateway", root),
        ]
    )


def _sections(path: str, command: Any) -> Iterable[str]:
    for name, child in getattr(command, "commands", {}).items():
        full = f"{path} {name}"
        if hasattr(child, "commands"):
            yield from _sections(full, child)
        else:
            yield _section(full, child)


def _section(path: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = " ".join([path, *(each.name.upper() for each in arguments), *["[OPTIONS]"] * bool(options)])
    lines = [f"### {path.removeprefix('sfu-gateway ')}\n", f"{command.help}\n", f"    {usage}\n"]
    if options:
        rows = [f"| `{'`, `'.join(each.opts)}` | {each.help or ''} | {_default(each)} |" for each in options]
        lines += ["| option | what | default |", "| --- | --- | --- |", *rows, ""]
    if command.epilog:
        lines += ["```sh", *map(str.strip, command.epilog.splitlines()[2:]), "```", ""]
    return "\n".join(lines)


def _default(option: Any) -> str:
    if option.is_flag or option.default in (None, ""):
        return ""
    return f"`{option.default:g}`" if isinstance(option.default, float) else f"`{option.default}`"


if __name__ == "__main__":
    sys.stdout.write(command_page())
