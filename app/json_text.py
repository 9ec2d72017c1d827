"""JSON text by the standard library's C encoder and scanner, made once: `json` makes an encoder for each text."""

import json
from collections.abc import Callable
from json.encoder import (  # type: ignore[attr-defined]
    c_make_encoder,
    encode_basestring,
    encode_basestring_ascii,
)
from typing import Any, Final

_DECODER: Final = json.JSONDecoder()


def encoder(
    *,
    ensure_ascii: bool = True,
    allow_nan: bool = True,
    default: Callable[[Any], Any] | None = None,
    separators: tuple[str, str] = (",", ":"),
) -> Callable[[Any], str]:
    """Return a function that writes values as JSON text, as `json.JSONEncoder` with these options does.

    A value that contains itself is a `RecursionError`.
    """
    slow = json.JSONEncoder(
        ensure_ascii=ensure_ascii, allow_nan=allow_nan, default=default, separators=separators
    )
    if c_make_encoder is None:
        return slow.encode
    text_of = encode_basestring_ascii if ensure_ascii else encode_basestring
    encode = c_make_encoder(
        None, slow.default, text_of, None, separators[1], separators[0], False, False, allow_nan
    )
    return lambda value: "".join(encode(value, 0))


def decoder(slow: json.JSONDecoder = _DECODER) -> Callable[[str], Any]:
    """Return a function that reads JSON text as `slow.decode` does, and faster without white space around the text.

    The function raises `ValueError` for what is not JSON, `RecursionError` for what is nested too deeply.
    """
    scan = slow.scan_once  # type: ignore[attr-defined]

    def decode(text: str) -> Any:
        try:
            value, end = scan(text, 0)
        except StopIteration:
            return slow.decode(text)
        return value if end == len(text) else slow.decode(text)

    return decode
