"""Docstrings of attributes, read from the source when somebody asks: at each start they would cost too much."""

import ast
import functools
import inspect
import sys


def attribute_docstrings(owner: type) -> dict[str, str]:
    """Return the text below each attribute of a class and of its bases."""
    found: dict[str, str] = {}
    for each in reversed(owner.__mro__):
        if each.__module__ != "builtins":
            found |= _docstrings_in(each.__module__).get(each.__name__, {})
    return found


@functools.cache
def _docstrings_in(module: str) -> dict[str, dict[str, str]]:
    """The docstrings of a module's attributes, by class."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):  # no source: compiled, or made at a prompt
        return {}
    return {node.name: dict(_documented(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _documented(owner: ast.ClassDef) -> "list[tuple[str, str]]":
    return [
        (above.target.id, inspect.cleandoc(below.value.value))
        for above, below in zip(owner.body, owner.body[1:], strict=False)
        if isinstance(above, ast.AnnAssign)
        and isinstance(above.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    ]
