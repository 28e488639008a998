"""Prints docs/options.md from the options: `python tests/tools/make_options_table.py`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ringnet import Options

HEAD = """# Options

Every option of `ringnet.run` and `ringnet.Engine`, given as keyword arguments. An unknown
name, a wrong type or a value out of range raises `OptionError` at the call.

| option | default | values | meaning |
|---|---|---|---|
"""


def allowed(rules: Any) -> str:
    """The values of an option in words."""
    if "may_be" in rules:
        return str(rules["may_be"])
    if "choices" in rules:
        return ", ".join(f"`{choice}`" for choice in rules["choices"] if choice)
    if "range" not in rules:
        return "`True`, `False`"
    low, high = rules["range"]
    return f"{low:,} to {high:,} {rules['unit']}"


def default(value: Any) -> str:
    """The default in words."""
    if value in ("", (), None):
        return "none"
    return (
        f"{value:,}"
        if isinstance(value, int | float) and not isinstance(value, bool)
        else str(value)
    )


def table() -> str:
    """The whole page."""
    rows = (
        f"| `{f.name}` | {default(f.default)} | {allowed(f.metadata)} | {f.metadata['doc']} |\n"
        for f in fields(Options)
    )
    return HEAD + "".join(rows)


if __name__ == "__main__":
    print(table(), end="")
