"""Which cells of a lesson an exercise needs: those that bind the names that its answer and its check use.

Of a cell that is needed for what it imports, the import alone is taken.

So an exercise of a lesson that trains is graded without training, unless it uses what the training made. What a cell
changes in place, and does not bind, is not seen: a check that needs a trained model must name something that the
training cell binds.
"""

import ast
import symtable
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """The names of a cell, at the top level of the notebook."""

    bound: frozenset[str]
    """Those that it assigns, imports or defines."""
    used: frozenset[str]
    """Those that it uses, in functions too, before it binds them itself."""


def plain_python(source: str) -> str:
    """A cell's source with its magics (`%time`, `!ls`) turned into calls.

    Raises:
        SyntaxError: it is no Python.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        code = TransformerManager().transform_cell(source)
        compile(code, "<cell>", "exec", dont_inherit=True, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (ValueError, RecursionError, MemoryError) as error:  # characters that are none, brackets without end
        raise SyntaxError(str(error) or type(error).__name__) from error
    return code


def names(source: str) -> Names:
    """The names that a cell binds and uses; none where it is no Python."""
    bound: set[str] = set()
    used: set[str] = set()
    try:
        for statement in ast.parse(plain_python(source)).body:
            binds, uses = _names_of(ast.unparse(_AsGenerators().visit(statement)))
            used |= uses - bound
            bound |= binds
    except (SyntaxError, RecursionError):  # the latter from hundreds of operations in one expression
        return Names(frozenset(), frozenset())
    return Names(frozenset(bound), frozenset(used))


class _AsGenerators(ast.NodeTransformer):
    """Makes each comprehension a generator: from Python 3.12 on, names of the others count among the cell's own."""

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        self.generic_visit(node)
        return ast.GeneratorExp(node.elt, node.generators)

    visit_SetComp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        self.generic_visit(node)
        return ast.GeneratorExp(ast.Tuple([node.key, node.value], ast.Load()), node.generators)


def _names_of(statement: str) -> tuple[set[str], set[str]]:
    top = symtable.symtable(statement, "<cell>", "exec")
    bound = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    used = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    inner = list(top.get_children())
    while inner:
        table = inner.pop()
        inner += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                used.add(symbol.get_name())
            if symbol.is_declared_global() and symbol.is_assigned():
                bound.add(symbol.get_name())
    return bound, used


def imports(source: str) -> dict[str, str]:
    """The statement that gives a cell each name that it imports: `{"F": "import torch.nn.functional as F"}`."""
    try:
        statements = ast.parse(plain_python(source)).body
    except SyntaxError:
        return {}
    found = {}
    for statement in statements:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                found[alias.asname or alias.name.partition(".")[0]] = ast.unparse(ast.Import([alias]))
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                one = ast.ImportFrom(statement.module, [alias], statement.level)
                found[alias.asname or alias.name] = ast.unparse(one)
    return found


def needed_cells(sources: Sequence[str], wanted: Iterable[int]) -> tuple[list[int], list[str]]:
    """What to run so that the `wanted` cells find their names, each from the last cell before that binds it.

    Returns:
        The cells to run, by index and in order, and the import statements to run before them.
    """
    cells, statements = [names(source) for source in sources], [imports(source) for source in sources]
    chosen: set[int] = set()
    imported: dict[str, str] = {}
    left = list(wanted)
    while left:
        index = left.pop()
        if index in chosen:
            continue
        chosen.add(index)
        for name in cells[index].used:
            binder = max((earlier for earlier in range(index) if name in cells[earlier].bound), default=None)
            if binder is not None and name in statements[binder]:
                imported[name] = statements[binder][name]
            elif binder is not None:
                left.append(binder)
    return sorted(chosen), sorted(imported.values())
