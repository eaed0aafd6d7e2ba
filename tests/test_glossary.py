"""docs/glossary.md is followed, one term for one thing, in the locales, messages, command help, docs and comments."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.ground.workspace import PROJECT

GLOSSARY = PROJECT / "docs" / "glossary.md"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
PAGES = [page for page in (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))) if page != GLOSSARY]
SOURCES = [path for room in ("core", "pages") for path in sorted((PROJECT / room).rglob("*.py"))]
# Verbatim quotations of others.
QUOTED = {
    "docs/data.md": ("系统, 系统提示, 系统提示词",),
    "core/config/settings/fields.py": ("quantisation=",),
    "core/forecast/findings.py": ("quantisation=",),
}


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table below a heading of the glossary."""
    section = GLOSSARY.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    assert len(rows) > 3, heading
    return rows[2:]


TERMS = table("Terms")
ENGLISH, CHINESE_WORDS = table("English that must not come back"), table("不再用的说法")


def pattern(rows: list[list[str]], *, chinese: bool) -> re.Pattern[str]:
    """Return a pattern of the banned words: complete words in English; in Chinese, except within longer valid terms."""
    if chinese:
        # 系统提示 is wrong unless it continues as 系统提示词.
        words = [
            re.escape(wrong)
            + (f"(?!{re.escape(right[len(wrong) :])})" if right.startswith(wrong) and right != wrong else "")
            for wrong, right in rows
        ]
        return re.compile("|".join(words))
    words = [re.escape(wrong.rstrip("*")) + ("" if wrong[-1] in "*:" else r"(?!\w)") for wrong, _ in rows]
    return re.compile(rf"(?<![\w-])(?:{'|'.join(words)})", re.IGNORECASE)


WRONG = {"en": pattern(ENGLISH, chinese=False), "zh": pattern(CHINESE_WORDS, chinese=True)}


def texts(table: dict[str, Any]) -> Iterator[str]:
    """Yield all texts of a locale file."""
    for value in table.values():
        if isinstance(value, dict):
            yield from texts(value)
        else:
            yield re.sub(r"`[^`]*`", "", value)


def literal(node: ast.AST) -> str | None:
    """Return the text of a string literal; interpolated parts become an ellipsis."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


def pairs(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield each (Chinese, English) pair that is adjacent in a call or a tuple."""
    for node in ast.walk(tree):
        for beside in (getattr(node, "args", None), getattr(node, "elts", None)):
            texts = [literal(part) for part in beside] if isinstance(beside, list) else []
            for zh, en in zip(texts, texts[1:], strict=False):
                if zh and en and CHINESE.search(zh) and not CHINESE.search(en):
                    yield zh, en


def helps(tree: ast.AST) -> Iterator[str]:
    """Yield the help of command-line options."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "help" and (text := literal(value)):
                    yield text


def prose(page: Path) -> str:
    """Return a page without code, tables generated from measurements, and quotations."""
    text = page.read_text(encoding="utf-8")
    for quote in QUOTED.get(page.relative_to(PROJECT).as_posix(), ()):
        text = text.replace(quote, "")
    text = re.sub(r"^\| note \|.*", "", text, flags=re.M)
    text = re.sub(r"<!-- (\w[\w ]*): begin -->.*?<!-- \1: end -->", "", text, flags=re.S)
    return re.sub(r"^```.*?^```|`[^`\n]*`|\]\([^)]*\)", " ", text, flags=re.S | re.M)


def found(language: str, texts: Iterator[str] | list[str]) -> list[str]:
    return [f"{match[0]!r} in {text[:120]!r}" for text in texts if (match := WRONG[language].search(text))]


def test_a_term_stands_once_in_either_language():
    assert 55 <= len(TERMS) <= 80
    for column in (0, 1):
        words = [row[column] for row in TERMS]
        assert sorted(words) == sorted(set(words))
    assert not found("en", [row[1] for row in TERMS] + [right for _, right in ENGLISH])
    assert not found("zh", [row[0] for row in TERMS] + [right for _, right in CHINESE_WORDS])


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_pages_keep_to_it(language):
    for path in sorted((PROJECT / "pages" / "locales" / language).glob("*.toml")):
        assert not found(language, texts(tomllib.loads(path.read_text(encoding="utf-8")))), path.name


def test_messages_and_command_help_keep_to_it():
    wrong = []
    for path in SOURCES:
        tree, name = ast.parse(path.read_text(encoding="utf-8")), path.relative_to(PROJECT).as_posix()
        said = list(pairs(tree))
        english = [en for _, en in said] + (list(helps(tree)) if "headless" in path.parts else [])
        english = [text for text in english if not any(quote in text for quote in QUOTED.get(name, ()))]
        wrong += [f"{name}: {problem}" for problem in found("en", english) + found("zh", [zh for zh, _ in said])]
    assert not wrong, "\n".join(wrong)


def comments(path: Path) -> Iterator[str]:
    """Yield the docstrings and the comment lines of a module, without its own names."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""
    yield from re.findall(r"^ *# (.*)", text, re.M)


def test_docstrings_and_comments_keep_to_it():
    wrong = []
    for room in ("core", "pages", "benchmarks", "tests"):
        for path in sorted((PROJECT / room).rglob("*.py")):
            said = [
                re.sub(r"`[^`]*`|\bpython -m .*|github\.com/\S+|“[^”]*”|\"[^\"]*\"", "", text)
                for text in comments(path)
            ]
            wrong += [f"{path.relative_to(PROJECT)}: {problem}" for problem in found("en", said)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_docs_keep_to_it(page):
    lines = prose(page).splitlines()
    assert not found("en", lines) + found("zh", lines)


def test_a_word_that_must_not_come_back_is_found():
    assert WRONG["en"].search("Its log is told anew")
    assert WRONG["en"].search("two Whole models")
    assert not WRONG["en"].search("the fine-tuned model says early stopping")
    assert WRONG["zh"].search("系统提示为空") and not WRONG["zh"].search("系统提示词为空")
