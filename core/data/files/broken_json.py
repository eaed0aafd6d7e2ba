"""Explains in words why a text is not valid JSON: Chinese quotation marks, Python syntax, a missing comma."""

import json
import re

from core.ground.text import Text

_PYTHON = re.compile(r"[\[{,:]\s*(?:'|True\b|False\b|None\b)")
_BY_MESSAGE = (
    ("Unterminated string", Text("引号没有成对", "a quotation mark is not closed")),
    ("Expecting ',' delimiter", Text('少了逗号，或者文字里的双引号没有写成 \\"', 'a comma is missing, or a quotation mark inside a text is not written as \\"')),
    ("Expecting ':' delimiter", Text("字段名后面少了冒号", "a colon is missing after a name")),
    ("Expecting property name", Text("字段名要放在英文双引号里", "names must be in double quotes")),
    ("Illegal trailing comma", Text("最后一项后面多了逗号", "there is a comma after the last item")),
    ("Invalid \\", Text("反斜杠要写成 \\\\", "a backslash must be written as \\\\")),
    ("Invalid control character", Text("文字里有控制字符", "a text contains a control character")),
    ("Extra data", Text("后面多出了内容", "there is content after the end")),
    ("Exceeds the limit", Text("有一个数字太长", "a number is too long")),
    ("Expecting value", Text("少了一个值，或值没有放在英文双引号里", "a value is missing, or a text is not in double quotes")),
)  # fmt: skip


def reason(error: Exception, text: str = "", at: int = 0) -> Text:
    """Return what is wrong with a text that is not JSON; `at` is the offset where the value begins."""
    if isinstance(error, RecursionError):
        return Text("嵌套太深", "nested too deeply")
    place = getattr(error, "pos", at)
    near = text[max(at, place - 40) : place + 40]
    why, where = _why(str(error), text[place : place + 2], near), Text("", "")
    if isinstance(error, json.JSONDecodeError):
        where = Text(f"（{error.lineno} 行 {error.colno} 列）", f" (line {error.lineno}, column {error.colno})")
    return Text(f"不是合法的 JSON：{why.zh}{where.zh}", f"not valid JSON: {why.en}{where.en}")


def _why(message: str, here: str, near: str) -> Text:
    if here[:1] in ("“", "”", "‘", "’", "＂") or re.search(r"[{,:]\s*[“”‘’＂]", near):
        return Text(
            '用了中文引号 “ ”，要换成英文双引号 "', 'Chinese quotation marks “ ” are used instead of double quotes "'
        )
    if here[:1] in ("，", "：") or (message.startswith("Expecting") and here[:1] in ("｛", "【", "、")):
        return Text("用了中文的逗号或冒号，要换成英文的 , 和 :", "Chinese commas or colons are used instead of , and :")
    if here == "//" or here == "/*" or here[:1] == "#":
        return Text("JSON 里不能有注释，请删去", "JSON does not allow comments: delete them")
    if here[:1] == "'" or _PYTHON.search(near):
        return Text(
            "是 Python 的写法（单引号、True、None），请用 json.dumps 写出",
            "it is Python syntax (single quotes, True, None): write it with json.dumps",
        )
    if not here:
        return Text("内容在这里中断了", "it ends prematurely")
    return next((why for begin, why in _BY_MESSAGE if message.startswith(begin)), _BY_MESSAGE[-1][1])
