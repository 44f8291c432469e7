"""What users of an algorithm can set: a dataclass whose fields have ranges. Schema, defaults, checks and forms follow from it."""

from __future__ import annotations

import dataclasses
import enum
import json
import typing
from typing import Any, Dict, List, Optional, Sequence, Union

__all__ = ["Range", "from_json", "param", "schema"]

_MISSING: Any = dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class Range:
    """What a parameter may be: `Annotated[int, Range(ge=1)]`, or the arguments of `param`."""

    ge: Optional[float] = None
    gt: Optional[float] = None
    le: Optional[float] = None
    lt: Optional[float] = None
    choices: Optional[Sequence[Any]] = None
    min_length: Optional[int] = None
    max_length: Optional[int] = None
    doc: str = ""


def param(
    default: Any = _MISSING,
    *,
    ge: Optional[float] = None,
    gt: Optional[float] = None,
    le: Optional[float] = None,
    lt: Optional[float] = None,
    choices: Optional[Sequence[Any]] = None,
    min_length: Optional[int] = None,
    max_length: Optional[int] = None,
    doc: str = "",
) -> Any:
    """A field of a dataclass of parameters: `epochs: int = param(10, ge=1, le=1000, doc="Passes over the data.")`.

    `ge`, `gt`, `le`, `lt` bound numbers (of a list: each of them), `choices` lists all that is allowed, the lengths bound lists.
    """
    allowed = Range(ge, gt, le, lt, choices, min_length, max_length, doc)
    if isinstance(default, (list, dict, set)):
        return dataclasses.field(default_factory=lambda: default.copy(), metadata={"trainyard": allowed})
    return dataclasses.field(default=default, metadata={"trainyard": allowed})


_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


def schema(cls: type) -> Dict[str, Any]:
    """The JSON Schema (2020-12) of a dataclass of parameters. TypeError names a field that cannot be described."""
    hints = typing.get_type_hints(cls, include_extras=True)
    properties, required = {}, []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        where = f"{cls.__qualname__}.{field.name}"
        hint, allowed = _annotated(hints.get(field.name, field.type), field)
        described: Dict[str, Any] = {"description": allowed.doc} if allowed.doc else {}
        described.update(_described(hint, allowed, where))
        default = field.default
        if default is _MISSING and field.default_factory is not _MISSING:
            default = field.default_factory()
        if default is _MISSING:
            required.append(field.name)
        else:
            described["default"] = _plain(default)
        properties[field.name] = described
    whole: Dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    if required:
        whole["required"] = required
    return whole


def _annotated(hint: Any, field: Any) -> Any:
    allowed = field.metadata.get("trainyard")
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
        for extra in extras:
            if isinstance(extra, Range) and allowed is None:
                allowed = extra
            elif isinstance(extra, str) and allowed is None:
                allowed = Range(doc=extra)
    return hint, allowed or Range()


def _described(hint: Any, allowed: Range, where: str) -> Dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Union or type(hint).__name__ == "UnionType":
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) != 1 or len(arguments) != 2:
            raise TypeError(f"{where}: a parameter has one type, or is Optional: {hint}")
        described = _described(inner[0], allowed, where)
        described["type"] = [described["type"], "null"]
        if "enum" in described:
            described["enum"].append(None)
        return described
    if origin is typing.Literal:
        return _choices(list(arguments), where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _choices([member.value for member in hint], where)
    if hint in (list, tuple) or origin in (list, tuple):
        element = arguments[0] if arguments else None
        if element not in _TYPES:
            raise TypeError(f"{where}: say what is in the list: list[int], list[float] or list[str]")
        described = {"type": "array", "items": _described(element, dataclasses.replace(allowed, min_length=None), where)}
        for key, value in (("minItems", allowed.min_length), ("maxItems", allowed.max_length)):
            if value is not None:
                described[key] = value
        return described
    if hint not in _TYPES:
        name = getattr(hint, "__name__", hint)
        raise TypeError(f"{where}: a parameter cannot be a {name}; use int, float, bool, str, Literal, an Enum or a list of those")
    described = {"type": _TYPES[hint]}
    if allowed.choices is not None:
        described["enum"] = [_plain(choice) for choice in allowed.choices]
    for key, value in (
        ("minimum", allowed.ge),
        ("exclusiveMinimum", allowed.gt),
        ("maximum", allowed.le),
        ("exclusiveMaximum", allowed.lt),
    ):
        if value is not None:
            if hint not in (int, float):
                raise TypeError(f"{where}: only numbers have a range")
            described[key] = value
    return described


def _choices(values: List[Any], where: str) -> Dict[str, Any]:
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= {int, str}:
        raise TypeError(f"{where}: choices are all texts, or all whole numbers")
    return {"type": _TYPES[kinds.pop()], "enum": values}


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def from_json(cls: type, text: str) -> Any:
    """The parameters of a job, which the host has checked by the schema."""
    given = json.loads(text)
    hints = typing.get_type_hints(cls, include_extras=True)
    values = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name in given:
            hint, _ = _annotated(hints.get(field.name, field.type), field)
            values[field.name] = _value(hint, given[field.name])
    return cls(**values)


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Union or type(hint).__name__ == "UnionType":
        return _value(next(argument for argument in arguments if argument is not type(None)), value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    if isinstance(value, list):
        made = [_value(arguments[0], inner) if arguments else inner for inner in value]
        return tuple(made) if hint is tuple or typing.get_origin(hint) is tuple else made
    if hint is float:
        return float(value)
    return int(value) if hint is int else value
