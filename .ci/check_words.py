"""Exit with one line per docstring or comment that begins like the rest of another sentence.

Ruff's D401 checks the mood of known verbs only. This script also refuses docstrings that begin with a preposition or a
relative word, docstrings of functions that begin with a noun phrase, and comments that begin with a preposition or a
relative word. No comment switches a finding off: reword the line instead.

Arguments: the files and folders to check.
"""

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

# A docstring or a comment that begins with one of these needs the name beside it to be understood.
FRAGMENT_WORDS = {
    "among", "and", "as", "at", "beside", "between", "beyond", "by", "for", "from", "how", "in", "its", "nor", "of",
    "on", "or", "per", "so", "than", "that", "those", "to", "what", "whether", "where", "which", "whose", "with",
    "within", "without",
}  # fmt: skip
# A docstring must not begin with these either.
DOCSTRING_WORDS = FRAGMENT_WORDS | {"it", "nothing", "such", "they", "when", "why"}
# A comment must not begin with these, even with a capital letter: no plain sentence starts so.
COMMENT_WORDS = {"How", "Nothing", "Of", "Than", "Those", "What", "Whether", "Which", "Whose"}
# A function's docstring begins with a verb in the imperative, never with an article or a quantifier. Tests are exempt,
# as they are from D401: a test's docstring states what holds.
NOUN_PHRASE_WORDS = {
    "a", "all", "an", "any", "both", "each", "every", "fewer", "five", "four", "many", "more", "most", "no", "none",
    "not", "one", "seven", "several", "six", "some", "the", "these", "this", "three", "two", "whatever",
}  # fmt: skip
DIRECTIVE = re.compile(r"(?:noqa|type|pyright|mypy|fmt|ruff|pragma)\s*:\s*[\w-]+(?:\[[^]]*\])?(?:\s*,\s*[A-Z]+\d+)*")
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Finding = tuple[int, str]  # line number and message


def needs_verb(node: Documented) -> bool:
    """Return True for functions other than tests and properties."""
    if isinstance(node, ast.Module | ast.ClassDef) or node.name.startswith("test_"):
        return False
    return not any(ast.unparse(decorator).endswith("property") for decorator in node.decorator_list)


def docstring_problem(node: Documented, docstring: str) -> str | None:
    """Return what is wrong with the first words of `docstring`, or None."""
    words = docstring.split()
    first = words[0].strip(",.:;`").lower()
    if first in DOCSTRING_WORDS:
        return f'a docstring must not begin with "{words[0]}"; write a sentence or a noun phrase'
    if not needs_verb(node):
        return None
    starts_with_noun = first in NOUN_PHRASE_WORDS or (len(words) > 1 and words[1] == "of")
    if starts_with_noun or not re.match(r"[A-Z]", docstring):
        return f'a function\'s docstring begins with a verb in the imperative, not with "{" ".join(words[:2])}"'
    return None


def docstring_findings(source: str) -> Iterator[Finding]:
    """Yield a finding for each docstring of the module, its classes and functions that begins badly."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Documented) and (docstring := ast.get_docstring(node)):
            problem = docstring_problem(node, docstring)
            if problem:
                yield node.body[0].lineno, problem


def comment_findings(path: Path) -> Iterator[Finding]:
    """Yield a finding for each comment that begins with a preposition or a relative word.

    A comment over several lines is checked at its first line only.
    """
    last_line, last_column = 0, -1  # position of the last comment that had a line of its own
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type != tokenize.COMMENT:
                continue
            line, column = token.start
            continues = (line, column) == (last_line + 1, last_column)
            if token.line[:column].strip():
                last_line, last_column = 0, -1
            else:
                last_line, last_column = line, column
            word = re.match(r"[\W_]*([A-Za-z]*)", DIRECTIVE.sub("", token.string))
            if not continues and word and word[1] in FRAGMENT_WORDS | COMMENT_WORDS:
                yield (
                    line,
                    f'a comment must not begin with "{word[1]}"; write a sentence or a noun phrase with its unit',
                )


def findings(path: Path) -> list[Finding]:
    """Return the findings of one file, sorted by line."""
    return sorted([*docstring_findings(path.read_text(encoding="utf-8")), *comment_findings(path)])


def python_files(arguments: list[str]) -> list[Path]:
    """Return each Python file below the arguments once, although symbolic links show some folders twice."""
    found = {}
    for argument in map(Path, arguments):
        for path in sorted(argument.rglob("*.py")) if argument.is_dir() else [argument]:
            found.setdefault(path.resolve(), path)
    return sorted(found.values())


def main(arguments: list[str]) -> int:
    """Print every finding and return 1 if there is one, otherwise 0; return 2 if no file or folder is named."""
    if not arguments:
        print("name files or folders to check, such as bayescale models", file=sys.stderr)
        return 2
    lines = [f"{path}:{line}: {message}" for path in python_files(arguments) for line, message in findings(path)]
    print("\n".join(lines) if lines else "Each docstring and comment can be read alone.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
