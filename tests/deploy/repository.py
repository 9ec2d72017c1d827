"""Where things are in the repository, and what the image does when it is told nothing else."""

import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
K8S: Final = ROOT / "k8s"
SCRIPTS: Final = Path(sys.executable).parent
"""Where this environment's console scripts are."""


@cache
def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile as (name, rest), comments and line breaks removed."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def final_stage() -> list[tuple[str, str]]:
    """Return the instructions that make the image that is shipped."""
    instructions = dockerfile()
    begins = max(index for index, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[begins:]


def exec_form(instruction: str) -> list[str]:
    """Return the words of `ENTRYPOINT` or `CMD`. Raises `ValueError` when it is in shell form."""
    words: Any = json.loads(dict(final_stage())[instruction])
    return [str(word) for word in words]
