"""Reads a program's configuration, which is Python source, as data; nothing in it is run.

    read_config("model = dict(depth=50, strides=(1, 2, 1, 1))")  # {"model": {"depth": 50, "strides": (...)}}

Numbers, text, None, True, False, tuples, lists and dicts are read, also dicts written as `dict(a=1)`, and
names that were assigned before. Anything else becomes `UNREADABLE`, so that the rest can still be used.
"""

import ast

LONGEST = 1 << 20
"""Characters; mmsegmentation's longest configurations have some ten thousand."""


class _Unreadable:
    """Stands for what is no plain data, such as a sum or a call."""

    def __repr__(self) -> str:
        return "an expression"


UNREADABLE = _Unreadable()


def read_config(text: str) -> dict[str, object] | None:
    """Reads the assignments of a configuration; a later one replaces an earlier one.

    Returns:
      {name: value}; None if the text is no Python source, or too long or too deep.
    """
    if len(text) > LONGEST:
        return None
    try:
        statements = ast.parse(text).body
        found: dict[str, object] = {}
        for statement in statements:
            if isinstance(statement, ast.Assign):
                value = _value(statement.value, found)
                names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
                found |= dict.fromkeys(names, value)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # of the parser, or of `_value`
        return None
    return found


def _value(node: ast.expr, names: dict[str, object]) -> object:
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):  # bool is an int
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Tuple(elts=parts):
            return tuple(_value(part, names) for part in parts)
        case ast.List(elts=parts):
            return [_value(part, names) for part in parts]
        case ast.Dict(keys=keys, values=values) if all(_is_text(key) for key in keys):
            pairs = zip(keys, values, strict=True)
            return {key.value: _value(value, names) for key, value in pairs if isinstance(key, ast.Constant)}
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords) if all(
            keyword.arg for keyword in keywords
        ):
            return {str(keyword.arg): _value(keyword.value, names) for keyword in keywords}
        case ast.Name(id=name) if name in names:
            return names[name]
    return UNREADABLE


def _is_text(key: ast.expr | None) -> bool:
    return isinstance(key, ast.Constant) and isinstance(key.value, str)
