"""An adapter for DSPy with few words: small models read less, and train on fewer tokens.

The system's turn holds the instructions and the outputs' names, a user's turn the inputs under
theirs, the assistant's turn is one line of JSON. Where the model's server can, it is held to the
schema of the outputs, so that every answer can be read.
"""

from __future__ import annotations

import json
from typing import Any

from flywheel.lm.bridge import dspy

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


class TerseAdapter(dspy.JSONAdapter):  # type: ignore[misc]  # DSPy is not typed
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


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return (value or "").rstrip()
    return json.dumps(value, ensure_ascii=False, default=str)


def _told(one: Any) -> str:
    """What an output is, in a few words."""
    said = str((one.json_schema_extra or {}).get("desc") or "")
    return said if said and not said.startswith("${") else "…"
