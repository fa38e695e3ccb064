"""``make house``: how the package reads, in numbers, such as long lines and dense code.

Any folder of Python sources can be named, so that other projects are measured by the same rules::

    python -m bench.house                   # ted_memory
    python -m bench.house path/to/package
"""

import ast
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

PACKAGE = Path(__file__).parent.parent / "ted_memory"
LINE = 100  # characters that a line may have
MOST_PATHS = 10
NAMED = 12  # functions that the report names, those with the most paths
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.match_case,
    ast.comprehension,
)
UNSURE = re.compile(r'\bgetattr\(|\bhasattr\(|\.get\("')  # names that no type checker sees
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Measure:
    """What is counted in a package.

    ``code_lines`` have a token that is neither of a comment nor of a docstring; ``paths`` are the
    ways to go of each function (see `paths`).
    """

    file_lines: list[int] = field(default_factory=list)
    code_lines: int = 0
    tokens: int = 0
    long_lines: int = 0
    comprehensions: int = 0
    nested: int = 0
    unsure: int = 0
    public_names: int = 0
    paths: dict[str, int] = field(default_factory=dict)

    def add(self, text: str, place: str) -> None:
        """Count one file; ``place`` names it in the report."""
        tree, lines = ast.parse(text), text.splitlines()
        self.file_lines.append(len(lines))
        self.long_lines += sum(len(line) > LINE for line in lines)
        self.unsure += len(UNSURE.findall(text))
        self._count_tokens(text, _docstring_lines(tree))
        self.public_names += sum(not name.startswith("_") for name in _module_names(tree))
        for node in ast.walk(tree):
            if isinstance(node, COMPREHENSIONS):
                self.comprehensions += 1
                self.nested += any(isinstance(inner, COMPREHENSIONS) for inner in _below(node))
            if isinstance(node, Function):
                self.paths[f"{place}:{node.lineno} {node.name}"] = paths(node)

    def _count_tokens(self, text: str, docstrings: set[int]) -> None:
        of_code = [
            token
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type not in NO_CODE and token.start[0] not in docstrings
        ]
        self.tokens += len(of_code)
        self.code_lines += len({token.start[0] for token in of_code})

    @property
    def with_many_paths(self) -> list[tuple[str, int]]:
        """Functions with more than `MOST_PATHS` paths, those with the most first."""
        many = [(place, count) for place, count in self.paths.items() if count > MOST_PATHS]
        return sorted(many, key=lambda one: -one[1])

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield what is measured, how much it is, and what is aimed at."""
        lines, code = sum(self.file_lines), self.code_lines / 1000
        yield (
            "lines of a file, median / most",
            f"{statistics.median(self.file_lines):.0f} / {max(self.file_lines)}",
            "130 / 400",
        )
        yield "tokens in a line of code", f"{self.tokens / self.code_lines:.1f}", "7.5"
        yield (
            "comprehensions in 1,000 lines of code (nested)",
            f"{self.comprehensions / code:.0f} ({self.nested / code:.1f})",
            "20 (0.5)",
        )
        yield f"lines over {LINE} characters, of 100", f"{100 * self.long_lines / lines:.1f}", "0"
        many = self.with_many_paths
        worst = f", worst {many[0][1]}" if many else ""
        yield f"functions with more than {MOST_PATHS} paths", f"{len(many)}{worst}", "0"
        yield (
            'getattr, hasattr, .get("...") in 1,000 lines of code',
            f"{self.unsure / code:.1f}",
            "8",
        )
        yield "public names of modules", f"{self.public_names}", "200"


def paths(function: Function) -> int:
    """A function's ways to go: one, and one for each branch, loop and further condition in it."""
    count = 1
    for node in _below(function):
        if isinstance(node, BRANCHES):
            count += 1
        if isinstance(node, ast.comprehension):
            count += len(node.ifs)
        if isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
    return count


def measure(package: Path) -> Measure:
    """Measure a folder of Python sources."""
    found = Measure()
    for source in sorted(package.rglob("*.py")):
        text = source.read_text(encoding="utf-8")
        if text.strip():
            found.add(text, str(source.relative_to(package.parent)))
    return found


def _below(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is in a node, but not what is in functions of its own."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            continue
        yield child
        yield from _below(child)


def _docstring_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def _module_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef):
            yield node.name
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def main(args: Sequence[str]) -> None:
    """Print the table for a package, and its functions with the most paths."""
    package = Path(args[0]) if args else PACKAGE
    found, out = measure(package), Console()
    table = Table("measured", package.name, "aim")
    for row in found.rows():
        table.add_row(*row)
    if package == PACKAGE:
        from bench.reference import public_names  # brings the whole package

        table.add_row("names that users may import", f"{len(public_names())}", "200")
    out.print(table)
    for place, count in found.with_many_paths[:NAMED]:
        out.print(f"{count:4} {place}", highlight=False)


if __name__ == "__main__":
    main(sys.argv[1:])
