"""Static checks of the Lua scripts: `python -m tests.lua.lint`, run by `scripts/check`.

Two rules: a file includes itself what it calls, and luacheck finds nothing in any script as Redis gets it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from app.registry.policy import Policy
from app.registry.scripts import LUA_DIRECTORY, load_script
from app.settings.model import Settings

_INCLUDE: Final = re.compile(r'^ *--- @include "(\w+)"$', re.MULTILINE)
_COMMENT: Final = re.compile(r"--.*$", re.MULTILINE)
_TEXT: Final = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
_GLOBALS: Final = ("KEYS", "ARGV", "redis", "cjson")


def missing_includes(sources: Mapping[str, str]) -> Iterator[str]:
    """Yield one sentence for each include that a file of `sources` calls and does not include itself.

    `sources` are texts by name; the includes are those whose name starts with `includes/`.
    """
    includes = {name.removeprefix("includes/") for name in sources if name.startswith("includes/")}
    for name, text in sorted(sources.items()):
        code = _TEXT.sub("''", _COMMENT.sub("", text))
        own = {name.removeprefix("includes/"), *re.findall(r"\blocal function (\w+)", code)}
        called = {word for word in re.findall(r"(?<![\w.:'])(\w+)\s*[({.\[]", code) if word in includes}
        shadowed = set(re.findall(r"\blocal (\w+)\b", code))
        for word in sorted(called - own - shadowed - set(_INCLUDE.findall(text))):
            yield f"{name}.lua calls {word} and does not include it"


def _luacheck(directory: Path) -> int:
    """Run luacheck over every shipped script as Redis gets it."""
    policy = Policy.from_settings(Settings())
    for path in sorted(LUA_DIRECTORY.glob("*.lua")):
        (directory / path.name).write_text(load_script(path.stem, policy=policy).text)
    options = ["--std", "lua51", "--no-max-line-length", "--quiet", "--no-color", "--read-globals", *_GLOBALS]
    # 211: an include may define a constant or function that this one script does not need.
    # 42, 43: an include inside a function may name its variables as that function does.
    ignored = ("211", "42", "43")
    return subprocess.run(
        ["luacheck", str(directory), *options, "--ignore", *ignored], check=False
    ).returncode


def main() -> int:
    """Return the exit code: 0 when there is nothing to mend."""
    paths = {
        str(path.relative_to(LUA_DIRECTORY).with_suffix("")): path for path in LUA_DIRECTORY.rglob("*.lua")
    }
    found = list(missing_includes({name: path.read_text() for name, path in paths.items()}))
    sys.stdout.write("".join(f"{sentence}\n" for sentence in found))
    if shutil.which("luacheck") is None:
        sys.stderr.write("no luacheck (Debian, Ubuntu: apt-get install lua-check), Lua is not linted\n")
        return int(bool(found) or os.environ.get("CI") == "true")
    with tempfile.TemporaryDirectory() as directory:
        return int(_luacheck(Path(directory)) > 0 or bool(found))


if __name__ == "__main__":
    sys.exit(main())
