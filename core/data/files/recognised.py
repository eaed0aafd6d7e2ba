"""Writes the document about supported data from the tables that the import uses.

python -m core.data.files.recognised > docs/data.md
"""

from core.data.files import chatlog_records, chatlog_text, dialogue, formats, notes, source
from core.data.files.fields import KNOWN


def document() -> str:
    """Return the document, in Chinese and English."""
    parts = [
        "# 支持的数据 / Supported data\n\n"
        "由程序里的表生成（`python -m core.data.files.recognised`），有测试核对。没有用到的字段会列出列名和行数；"
        "NaN、#N/A 一类的值当作空值。\n\n"
        "Generated from the program's own tables, and checked by a test. Unused fields are reported with their rows; NaN, #N/A and similar values count as empty.\n",
        _formats(),
        "## 字段 / Fields\n\n不区分大小写，忽略空格和符号。/ Case, spaces and punctuation are ignored.\n\n"
        + _table(
            ("字段 / Field", "名字 / Names", "怎样使用 / How it is used"),
            [(kind, ", ".join(sorted(known.names)), f"{known.becomes.zh} / {known.becomes.en}") for kind, known in KNOWN.items()],
        ),
        "## 写成文字的对话 / Dialogues written as text\n\n在任何字段、单元格、txt、md、docx、PDF、html 里。/ In any field, cell or document.\n\n"
        + _table(
            ("", "写法 / Form"),
            [(family.name, family.shown) for family in dialogue.FAMILIES]
            + [("llama2", "[INST] <<SYS>> … <</SYS>> … [/INST] …"), ("headings", "# …？（标题是问题 / headings are questions）")],
        ),
        "## 聊天记录 / Chat logs\n\n要选择谁是助手；停顿超过两小时算新的对话；名字、号码、链接默认遮住。/ You choose who is the assistant; a pause of two hours ends a conversation; names, numbers and links are masked by default.\n\n"
        + _table(
            ("列 / Column", "名字 / Names"),
            [(what, ", ".join(names)) for what, names in chatlog_records.COLUMNS.items()],
        )
        + "\n"
        + _table(("", "一条消息的第一行 / First line of a message"), list(chatlog_text.SHOWN.items())),
        "## 导入时的提示 / Notices\n\n"
        + _table(
            ("中文", "English"),
            [(f"{kind.message.zh.replace('{}', 'N')}。{kind.hint.zh}", f"{kind.message.en.replace('{}', 'N')}. {kind.hint.en}")
             for kind in notes.KINDS.values()],
        ),
    ]  # fmt: skip
    return "\n".join(parts)


def _formats() -> str:
    shapes = (formats.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
    kinds = ", ".join(source.KINDS)
    return f"## 文件和格式 / Files and formats\n\n{kinds}\n\n```\n{shapes}\n```\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    print(document(), end="")
