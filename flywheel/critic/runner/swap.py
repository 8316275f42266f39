"""Putting a change into a process that has already imported the module.

The smallest top-level statement that holds the change is compiled before and after; the two
trees of code objects are walked side by side. Where only function bodies differ, the code of
the live function objects is swapped (objects, not names: aliases, wrapped and registered
functions are the same object). Anything else (a constant, a decorator, a default argument, a
class body, a free variable) cannot be swapped truly, and `Structural` says so: such a change
is judged by importing anew.
"""

from __future__ import annotations

import dis
import gc
import types
from typing import Any, Dict, List, Set, Tuple

Function = types.FunctionType
Code = types.CodeType
Key = Tuple[str, int, str]


class Structural(Exception):
    """The change reaches beyond the bodies of live functions; the argument says how."""


class NoChange(Exception):
    """Both sources compile to the same code."""


def live_functions(root: str) -> Dict[Key, List[Function]]:
    """Every live function whose code was compiled from a file below `root`."""
    found = {}  # type: Dict[Key, List[Function]]
    for thing in gc.get_objects():
        if type(thing) is Function:
            code = thing.__code__
            if code.co_filename.startswith(root):
                key = (code.co_filename, code.co_firstlineno, code.co_name)
                found.setdefault(key, []).append(thing)
    return found


def suspended(root: str) -> Set[Code]:
    """Code of generators and coroutines that already exist: they keep what they began with."""
    kinds = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
    found = set()  # type: Set[Code]
    for thing in gc.get_objects():
        if type(thing) in kinds:
            code = getattr(thing, "gi_code", None) or getattr(thing, "cr_code", None)
            code = code or getattr(thing, "ag_code", None)
            if code is not None and code.co_filename.startswith(root):
                found.add(code)
    return found


def compile_statement(segment: str, edit: Dict[str, Any], filename: str) -> Code:
    """Compile one top-level statement as if it stood where it does in the file.

    A call `name.attribute()` compiles otherwise where `name` is bound by an import of the same
    module, so those names are imported on the first line; the code is compiled, never run.
    """
    line = edit["line"]
    head = ""
    if line > 1 and edit["imported"]:
        head = "import " + ",".join(edit["imported"])
    source = head + "\n" * (line - 1) + segment
    compiled = compile(source, filename, "exec", flags=edit["flags"], dont_inherit=True)
    assert isinstance(compiled, Code)
    return compiled


def pairs(old: Code, new: Code) -> List[Tuple[Code, Code, bool]]:
    """Function code objects to swap: (old, new, must be live).

    Raises `Structural` when more than function bodies changed, `NoChange` when nothing did.
    """
    found = []  # type: List[Tuple[Code, Code, bool]]
    _walk(old, new, found, executed=True)
    if not found:
        raise NoChange
    return found


def kind_changed(swaps: List[Tuple[Code, Code, bool]]) -> bool:
    """True when more than the changed lines may behave otherwise.

    A function became or ceased to be a generator or coroutine, or a name changed its scope.
    """
    return any(
        (old.co_flags ^ new.co_flags) & 0x2A0
        or set(old.co_varnames) != set(new.co_varnames)
        or set(old.co_cellvars) != set(new.co_cellvars)
        for old, new, _ in swaps
    )


def apply(
    swaps: List[Tuple[Code, Code, bool]],
    live: Dict[Key, List[Function]],
    begun: Set[Code],
    filename: str,
) -> None:
    """Swap the code of live functions.

    Raises `Structural` where one that must live does not, or where its code is already under
    way in a generator of `begun`.
    """
    ready = []  # type: List[Tuple[Function, Code]]
    for old, new, must_live in swaps:
        if old in begun:
            raise Structural("a generator of %s was made at import" % old.co_name)
        matches = [
            function
            for function in live.get((filename, old.co_firstlineno, old.co_name), ())
            if function.__code__ == old
        ]
        if must_live and not matches:
            raise Structural("no live function %s" % old.co_name)
        if matches and old.co_freevars != new.co_freevars:
            raise Structural("free variables of %s changed" % old.co_name)
        ready.extend((function, new) for function in matches)
    for function, code in ready:
        function.__code__ = code


def _walk(old: Code, new: Code, found: List[Tuple[Code, Code, bool]], executed: bool) -> None:
    """`executed`: this code ran at import (module or class body), so it must not have changed."""
    old_inner = _inner(old)
    new_inner = _inner(new)
    if executed:
        if _skeleton(old) != _skeleton(new) and _steps(old) != _steps(new):
            raise Structural("code that runs at import changed in %s" % old.co_name)
        for before, after in zip(old_inner, new_inner):
            if _is_function(before) != _is_function(after):
                raise Structural("%s changed its kind" % before.co_name)
            if not _is_function(before):
                _walk(before, after, found, executed=True)
            elif not _same(before, after):
                if before.co_name.startswith("<"):
                    # Two lambdas of one line cannot be told apart among live objects.
                    raise Structural("an expression at import changed")
                if before.co_flags & 0x0C != after.co_flags & 0x0C or _signature(
                    before
                ) != _signature(after):
                    raise Structural("signature of %s changed" % before.co_name)
                found.append((before, after, True))
                _nested(before, after, found)
        return


def _nested(old: Code, new: Code, found: List[Tuple[Code, Code, bool]]) -> None:
    """Functions inside a changed function: live closures of them change too."""
    old_inner = [code for code in _inner(old) if _is_function(code)]
    new_inner = [code for code in _inner(new) if _is_function(code)]
    if [c.co_name for c in old_inner] != [c.co_name for c in new_inner]:
        return
    for before, after in zip(old_inner, new_inner):
        if not _same(before, after):
            found.append((before, after, False))
            _nested(before, after, found)


def _inner(code: Code) -> List[Code]:
    return [const for const in code.co_consts if type(const) is Code]


def _is_function(code: Code) -> bool:
    return bool(code.co_flags & 0x02)  # CO_NEWLOCALS: class bodies lack it


def _signature(code: Code) -> Any:
    count = code.co_argcount + code.co_kwonlyargcount
    return (code.co_argcount, code.co_posonlyargcount, code.co_varnames[:count])


def _skeleton(code: Code) -> Any:
    consts = tuple(
        (const.co_name, _is_function(const)) if type(const) is Code else (type(const), const)
        for const in code.co_consts
    )
    return (code.co_code, _typed(consts), code.co_names, code.co_varnames, code.co_flags)


def _steps(code: Code) -> Any:
    """Instructions of a class body, without what Python 3.13 notes there of its methods.

    `__static_attributes__` lists the attributes that methods assign, `__firstlineno__` is a
    position: neither says that the body runs otherwise.
    """
    steps = []  # type: List[Any]
    for step in dis.get_instructions(code):
        if step.opname == "STORE_NAME" and step.argval in (
            "__static_attributes__",
            "__firstlineno__",
        ):
            steps[-1:] = [("noted", step.argval)]
            continue
        value = step.argval
        if type(value) is Code:
            value = (value.co_name, _is_function(value))
        steps.append((step.opname, _typed(value)))
    return (steps, code.co_flags)


def _same(old: Code, new: Code) -> bool:
    """Equal but for positions."""
    if (
        old.co_code != new.co_code
        or old.co_names != new.co_names
        or old.co_varnames != new.co_varnames
        or old.co_freevars != new.co_freevars
        or old.co_cellvars != new.co_cellvars
        or old.co_flags != new.co_flags
        or _signature(old) != _signature(new)
        or getattr(old, "co_exceptiontable", b"") != getattr(new, "co_exceptiontable", b"")
        or len(old.co_consts) != len(new.co_consts)
    ):
        return False
    for before, after in zip(old.co_consts, new.co_consts):
        if type(before) is Code and type(after) is Code:
            if before.co_name != after.co_name or not _same(before, after):
                return False
        elif _typed(before) != _typed(after):
            return False
    return True


def _typed(value: Any) -> Any:
    """Equality that tells 1 from 1.0 and True, and 0.0 from -0.0."""
    if isinstance(value, tuple):
        return tuple(_typed(item) for item in value)
    if isinstance(value, frozenset):
        return (frozenset, frozenset(_typed(item) for item in value))
    return (type(value).__name__, repr(value))
