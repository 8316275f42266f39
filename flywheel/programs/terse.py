"""Adapters for DSPy with few words: small models read less, and train on fewer tokens.

The system's turn holds the instructions and what is to be answered, a user's turn the inputs under
their names. Several outputs are answered as one line of JSON; where the model's server can, it is
held to their schema, so that every answer can be read. One text is answered as it is: code within
JSON has to be escaped, which the smallest models never learn.
"""

from __future__ import annotations

import json
import re
from typing import Any

from flywheel.lm.bridge import dspy

_FENCE = re.compile(r"\A\s*```[^\n]*\n(.*?)\n?```\s*\Z", re.DOTALL)
"""A block of code that is all of an answer, as chat models like to put it."""
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


class _Inputs:
    """A user's turn of few words."""

    def format_user_message_content(
        self,
        signature: Any,
        inputs: dict[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        """The inputs under their names; those that are empty are left out."""
        said = {name: _text(inputs.get(name)) for name in signature.input_fields}
        named = [f"{name}:\n{text}" for name, text in said.items() if text]
        return "\n\n".join(part for part in (prefix, *named, suffix) if part)


class PlainAdapter(_Inputs, dspy.Adapter):  # type: ignore[misc]  # DSPy is not typed
    """One output, answered as it is."""

    def format_system_message(self, signature: Any) -> str:
        """The instructions, and what is to be answered."""
        return f"{signature.instructions}\nAnswer with nothing but {_told(_only(signature)[1])}."

    def format_assistant_message_content(
        self, signature: Any, outputs: dict[str, Any], missing_field_message: Any = None
    ) -> str:
        """The output."""
        return str(outputs.get(_only(signature)[0], missing_field_message))

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """The output, without a fence around it. Raises `AdapterParseError` where it is empty."""
        text = _FENCE.sub(r"\1", completion).strip("\n").rstrip()
        if not text:
            raise dspy.AdapterParseError(
                "PlainAdapter", signature, completion, "the answer is empty"
            )
        return {_only(signature)[0]: text}


class TerseAdapter(_Inputs, dspy.JSONAdapter):  # type: ignore[misc]  # DSPy is not typed
    """JSON answers, and prompts without DSPy's own explanations."""

    def __init__(self) -> None:
        super().__init__(use_native_function_calling=False)

    def _prepare_response_format(self, lm: Any, lm_kwargs: dict[str, Any], signature: Any) -> None:
        """Ask for the schema of the outputs; the engine leaves it out where a server takes none."""
        lm_kwargs.setdefault("response_format", response_format(signature))

    def format_system_message(self, signature: Any) -> str:
        """The instructions, and what is to be answered."""
        outputs = ", ".join(f'"{name}": {_told(one)}' for name, one in _outputs(signature))
        return f"{signature.instructions}\nAnswer in JSON: {{{outputs}}}"

    def format_assistant_message_content(
        self, signature: Any, outputs: dict[str, Any], missing_field_message: Any = None
    ) -> str:
        """The outputs as one line of JSON."""
        said = {name: outputs.get(name, missing_field_message) for name, _ in _outputs(signature)}
        return json.dumps(said, ensure_ascii=False, default=str)


def response_format(signature: Any, **patterns: str) -> dict[str, Any]:
    """What holds a model to the outputs of a signature; `patterns` are what some must match.

    A program passes it as its predictor's `config` where a row narrows what can be answered.
    """
    schema = _schema_of(signature)
    for name, one in patterns.items():
        schema["properties"][name] = {"type": "string", "pattern": one}
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": schema},
    }


def _schema_of(signature: Any) -> dict[str, Any]:
    """The JSON schema of a signature's outputs."""
    from pydantic import TypeAdapter  # noqa: PLC0415  only where a field is more than plain

    properties = {}
    for name, one in _outputs(signature):
        plain = _TYPES.get(one.annotation)
        said = {"type": plain} if plain else TypeAdapter(one.annotation).json_schema()
        for constraint in one.metadata:
            if pattern := getattr(constraint, "pattern", None):
                said["pattern"] = pattern
        properties[name] = said
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _outputs(signature: Any) -> list[tuple[str, Any]]:
    return list(signature.output_fields.items())


def _only(signature: Any) -> tuple[str, Any]:
    """The name and the field of the one output. Raises `TypeError` where there are several."""
    outputs = _outputs(signature)
    if len(outputs) != 1:
        names = ", ".join(name for name, _ in outputs)
        raise TypeError(f"a plain answer is one output, and there are {names}")
    return outputs[0]


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return (value or "").rstrip()
    return json.dumps(value, ensure_ascii=False, default=str)


def _told(one: Any) -> str:
    """What an output is, in a few words."""
    said = str((one.json_schema_extra or {}).get("desc") or "")
    return said if said and not said.startswith("${") else "…"
