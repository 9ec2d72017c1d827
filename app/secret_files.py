"""Secrets in files: `<variable>_FILE` names a file with the value, for systemd credentials and container secrets."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from app.errors import SettingsError


def with_secret_files(variables: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    """Return `variables` with `<secret>_FILE` of each of the `secrets` replaced by the content of the file.

    White space around the content is ignored. An empty `<secret>_FILE` counts as not given.

    Raises:
        SettingsError: a secret and its file are both given, or the file is unreadable or empty.
    """
    values = dict(variables)
    for name in secrets:
        file = values.pop(f"{name}_FILE", "").strip()
        if not file:
            continue
        if values.get(name):
            raise SettingsError(f"{name} and {name}_FILE: give one of them")
        try:
            values[name] = Path(file).read_text(encoding="utf-8-sig").strip()
        except OSError as error:
            raise SettingsError(f"{name}_FILE: cannot read {file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{name}_FILE: {file} is not text") from None
        if not values[name]:
            raise SettingsError(f"{name}_FILE: {file} is empty")
    return values
