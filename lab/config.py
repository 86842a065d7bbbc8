"""Validated configurations, and `key=value` on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lab.errors import RequestError, unknown_name

__all__ = ["Config", "parse", "parse_assignments"]


class Config(BaseModel):
    """Base of every configuration: frozen, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


C = TypeVar("C", bound=Config)


def parse(config: type[C], values: Mapping[str, Any]) -> C:
    """Makes a `config` from `values`.

    Raises:
        RequestError: in one line, the first field that is unknown, of the wrong type or out of range.
    """
    for name in values:
        if name not in config.model_fields:
            raise unknown_name("config field", name, config.model_fields)
    try:
        return config.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or config.__name__
        if first["type"] == "extra_forbidden":
            raise RequestError(f"unknown config field {where!r}") from None
        if first["type"] == "literal_error":
            allowed = re.findall(r"'([^']*)'", first["ctx"]["expected"])
            if allowed:
                raise unknown_name(where, first["input"], allowed) from None
        message = first["msg"].removeprefix("Value error, ")
        got = f", but got {first['input']!r}" if first["loc"] else ""
        raise RequestError(f"{where}: {message[0].lower()}{message[1:]}{got}") from None


def parse_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Reads `key=value` texts; a value is YAML (`3`, `1e-3`, `true`, `[64, 64]`, `mask`).

    Raises:
        RequestError: a text without `=`, a key given twice, a value that is not YAML.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RequestError(f"expected key=value, but got {text!r}")
        if key in values:
            raise RequestError(f"expected each key once, but {key!r} is given twice")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise RequestError(f"expected a YAML value for {key!r}, but got {value!r}") from None
        # YAML 1.1 reads 1e-3 as text; a person means the number.
        if isinstance(parsed, str):
            with suppress(ValueError):
                parsed = float(parsed)
        values[key] = parsed
    return values
