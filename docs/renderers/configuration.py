"""The reference of all settings, rendered from `app.settings.model`: `python -m docs.renderers.configuration`.

`scripts/docs` writes it to `docs/configuration.md`.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from app.crypto.tokens import Key
from app.docstrings import attribute_docstrings
from app.settings.model import ENV_PREFIX, Name, Section, Settings, StaticSfuSettings, walk
from app.settings.trusted_proxies import TrustedProxies
from app.upstream.addresses import IpNetwork

_INTRODUCTION: Final = """\
# Configuration

Every setting has a name in the environment and one in a TOML file. The environment wins over the file, the
file over the defaults. The file is the one that `--config` names, else `SFU_GATEWAY_CONFIG`, else none.

* Names: `SFU_GATEWAY_` and the TOML name in capitals, with `__` for each dot. `balancing.weights.cpu` is
  `SFU_GATEWAY_BALANCING__WEIGHTS__CPU`.
* Lists: a TOML array, or text with commas: `SFU_GATEWAY_BALANCING__REGION_ALLOW=eu-west,eu-central`.
  `[[sfu]]`, `[[tenant]]` and `[[region]]` can be JSON: `SFU_GATEWAY_TENANT=[{"name": ..., "key": ...}]`.
* A *name* has 1 to 64 of `A-Z a-z 0-9 . _ -` and starts with a letter or digit.
* A *key* is base64, either alphabet, padding optional; `openssl rand -base64 32` makes one.
* Empty text means that the setting is not given. White space around a value is ignored.
* A secret can be in a file: `SFU_GATEWAY_KEY_FILE` names the file with the key. The same suffix works for
  `REGISTRATION__KEY`, `ADMIN_TOKEN`, `REDIS__URL`, `SEALING__KEYS`, `NODES`, `SFU` and `TENANT`.
* `SFU_GATEWAY_NODES` or `SFU_GATEWAY_SFU` replaces the static SFUs of the file.
* A wrong, unknown or missing setting stops the start with exit code 3 and a message that names it and never
  shows a secret. Variables that Kubernetes sets for a Service (`SFU_GATEWAY_SERVICE_HOST`, ...) are no
  settings; neither are those of the SFU's side, `SFU_GATEWAY_URL` and `SFU_GATEWAY_PING_INTERVAL`.

Only `key` is required; `redis.url` as well when there is a second replica, and `registration.key` when SFUs
are to register themselves.

## A file

The values of the first four sections are the defaults.

```toml
key = "cmVwbGFjZSBtZSwgSSBhbSBpbiB0aGUgbWFudWFsIDE="  # sfu-gateway keygen

[balancing]
strategy = "load"  # or "round-robin"

[balancing.weights]
sessions = 0.5
cpu = 0.3
memory = 0.2

[failover]
max_retries = 3  # try up to 3 different SFUs
retry_timeout_ms = 5000

[health]
unhealthy_threshold = 30  # seconds

[redis]
url = "redis://redis:6379"

[registration]
key = "cmVwbGFjZSBtZSwgSSBhbSBpbiB0aGUgbWFudWFsIDI="
allow = ["http://10.0.*"]

[[sfu]]  # sends no heartbeats
address = "http://sfu1.example.com:8070"
region = "eu-west"
key = "cmVwbGFjZSBtZSwgSSBhbSBpbiB0aGUgbWFudWFsIDM="

[[tenant]]  # another Odoo
name = "odoo-brussels"
key = "cmVwbGFjZSBtZSwgSSBhbSBpbiB0aGUgbWFudWFsIDQ="
region = "eu-brussels"
max_placements = 500

[[region]]  # docs/regions.md lists those that are built in
name = "eu-brussels"
latitude = 50.8
longitude = 4.4
```
"""

_IN_WORDS: Final[dict[object, str]] = {
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    str: "text",
    Name: "name",
    SecretStr: "secret text",
    Path: "path of a file",
    IpNetwork: "network",
    Key: "key",
    StaticSfuSettings: "JSON",
    TrustedProxies: "number from 0 to 10, or networks",
}
_LISTS_IN_WORDS: Final = {
    "key": "keys",
    "name": "names",
    "text": "texts",
    "network": "networks",
    "JSON": "JSON",
}


def configuration_page() -> str:
    """Return the whole page, as Markdown."""
    sections = {path[:-1]: model for path, model, _ in walk(Settings)}
    arrays = [array for name in Settings.model_fields if (array := _array_of_tables(Settings, name))]
    parts = [_section(above, model) for above, model in sections.items()] + [
        _array(model) for model in arrays
    ]
    return "\n".join([_INTRODUCTION, *parts])


def _section(above: tuple[str, ...], model: type[BaseModel]) -> str:
    meanings = attribute_docstrings(model)
    rows = [
        (
            f"`{'.'.join((*above, name))}`",
            f"`{ENV_PREFIX}{'__'.join((*above, name)).upper()}`",
            *_cells(field, meanings.get(name, "")),
        )
        for name, field in model.model_fields.items()
        if not _is_section(field) and not _array_of_tables(model, name)
    ]
    heading = _heading(model) if above else "## Without a section\n"
    return f"{heading}\n{_table(('TOML', 'environment', 'value', 'default', 'what'), rows)}"


def _array(model: type[BaseModel]) -> str:
    meanings = attribute_docstrings(model)
    rows = [(f"`{name}`", *_cells(field, meanings[name])) for name, field in model.model_fields.items()]
    return f"{_heading(model)}\n{_table(('TOML', 'value', 'default', 'what'), rows)}"


def _heading(model: type[BaseModel]) -> str:
    """From a docstring like "`[health]`: when an SFU counts as alive."."""
    title, _, text = (model.__doc__ or "").partition(": ")
    return f"## {title}\n\n{text[:1].upper()}{text[1:]}\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(field: FieldInfo, meaning: str) -> tuple[str, str, str]:
    """Value, default and meaning."""
    return _domain(field.annotation, field.metadata), _default(field), " ".join(meaning.split())


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Section)


def _array_of_tables(model: type[BaseModel], name: str) -> type[Section] | None:
    """The class of one table where a field is an array of them; `nodes`, which is JSON text, is none."""
    of = next(iter(get_args(model.model_fields[name].annotation)), None)
    is_array = isinstance(of, type) and issubclass(of, Section) and name not in attribute_docstrings(model)
    return of if is_array else None


def _domain(annotation: Any, metadata: Iterable[object] = ()) -> str:
    """What a value may be, in words."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        *others, last = (f"`{choice}`" for choice in arguments)
        return f"{', '.join(others)} or {last}"
    if get_origin(annotation) is tuple:
        return _LISTS_IN_WORDS[_domain(arguments[0])]
    if NoneType in arguments:
        return _domain(arguments[0], metadata)
    if annotation not in _IN_WORDS and get_origin(annotation) is Annotated:
        return _domain(arguments[0], [*arguments[1:], *metadata])
    limits = _limits(metadata)
    return _IN_WORDS[Name if "pattern" in limits else annotation] + _range(limits)


def _limits(metadata: Iterable[object]) -> dict[str, object]:
    """The constraints in pydantic's metadata, which comes as `Field(...)` or already taken apart."""
    apart = [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
    names = ("ge", "gt", "le", "lt", "pattern")
    found = {name: getattr(part, name, None) for part in apart for name in names if hasattr(part, name)}
    return {name: limit for name, limit in found.items() if limit is not None}


def _range(limits: Mapping[str, object]) -> str:
    match limits:
        case {"ge": least, "le": most}:
            return f" from {least} to {most}"
        case {"gt": bound, "le": most}:
            return f" above {bound}, at most {most}"
        case {"ge": least}:
            return f", at least {least}"
        case {"gt": bound}:
            return f" above {bound}"
        case _:
            return ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if default is None or default in ((), "") or isinstance(default, SecretStr):
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return ", ".join(f"`{item}`" for item in default)
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


if __name__ == "__main__":
    sys.stdout.write(configuration_page())
