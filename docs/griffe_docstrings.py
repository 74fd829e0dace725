"""Lets the API pages show docstrings that the code sets by `name.__doc__ = "..."`, as for builders.

The pages are made from the source without importing it, so the site builds where JAX is not installed.
"""

import ast

import griffe


class SetDocstrings(griffe.Extension):
    """Finds assignments to `__doc__` in each module, and gives the text to the name."""

    def on_module_members(self, *, node: ast.AST | griffe.ObjectNode, mod: griffe.Module, **kwargs) -> None:
        if not isinstance(node, ast.Module):
            return
        for statement in node.body:
            if not (isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)):
                continue
            (target, *_) = statement.targets
            if isinstance(target, ast.Attribute) and target.attr == "__doc__":
                name = ast.unparse(target.value)
                if name in mod.members:
                    text = str(statement.value.value)
                    mod.members[name].docstring = griffe.Docstring(text, lineno=statement.lineno)
