"""What readers are told of the columns, of Arrow's types in the words of each of them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def feature(name: str, kind: pa.DataType) -> dict[str, Any]:
    """A column in the words of `datasets`, as the front matter of a card has it."""
    if pa.types.is_list(kind):
        return {"name": name, "list": _items(kind.value_type)}
    return {"name": name, "dtype": _dtype(kind)}


def _items(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return [feature(one.name, one.type) for one in kind]
    return _dtype(kind)


def _dtype(kind: pa.DataType) -> str:
    return {"double": "float64"}.get(str(kind), str(kind))


def field(columns: str, name: str, kind: pa.DataType, files: str) -> dict[str, Any]:
    """A column in the words of Croissant: `columns` is the record set, `files` its file set."""
    place = f"{columns}/{name}"
    source = {"fileSet": {"@id": files}, "extract": {"column": name}}
    found: dict[str, Any] = {"@type": "cr:Field", "@id": place, "name": name}
    if not pa.types.is_list(kind):
        return {**found, "dataType": _data_type(kind), "source": source}
    several = {"isArray": True, "arrayShape": "-1", "source": source}
    if not pa.types.is_struct(kind.value_type):
        return {**found, "dataType": _data_type(kind.value_type), **several}
    parts = [
        {
            "@type": "cr:Field",
            "@id": f"{place}/{one.name}",
            "name": one.name,
            "dataType": _data_type(one.type),
            "source": {**source, "transform": {"jsonPath": f"$[*].{one.name}"}},
        }
        for one in kind.value_type
    ]
    return {**found, "repeated": True, "source": source, "subField": parts}


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:DateTime" if pa.types.is_timestamp(kind) else "sc:Text"
