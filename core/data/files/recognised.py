"""What is recognised in other people's data, as a table for people: written from the tables that the import reads by.

python -m core.data.files.recognised > docs/data.md
"""

from core.data.files import chatlog_records, chatlog_text, dialogue, formats, notes, source
from core.data.files.fields import KNOWN


def document() -> str:
    """The document, in Chinese with the English beside it."""
    parts = [
        "# 认得的数据 / What is recognised\n\n"
        "由程序里的表写出（`python -m core.data.files.recognised`），测试会核对。字段没有用到的，都会告诉你是哪一列、几行；"
        "NaN、#N/A 一类的值当作空的。\n\n"
        "Written from the program's own tables; a test compares. A field that is not used is told with its rows; NaN, #N/A and "
        "the like count as empty.\n",
        _formats(),
        "## 字段 / Fields\n\n不分大小写，不管空格和符号。/ Case, spaces and marks do not count.\n\n"
        + _table(
            ("字段 / Field", "名字 / Names", "会怎样 / What becomes of it"),
            [(kind, ", ".join(sorted(known.names)), f"{known.becomes.zh} / {known.becomes.en}") for kind, known in KNOWN.items()],
        ),
        "## 写成文字的对话 / Dialogues written as text\n\n在任何字段、单元格、txt、md、docx、PDF、html 里。/ In any field, cell or document.\n\n"
        + _table(
            ("", "样子 / How it looks"),
            [(family.name, family.shown) for family in dialogue.FAMILIES]
            + [("llama2", "[INST] <<SYS>> … <</SYS>> … [/INST] …"), ("headings", "# …？（标题是问题 / headings that ask）")],
        ),
        "## 聊天记录 / Chat logs\n\n要选谁是助手；停顿超过两小时算另一段；名字、号码、链接默认遮住。/ Who is the assistant is asked; a pause "
        "of two hours ends a conversation; names, numbers and links are masked unless switched off.\n\n"
        + _table(
            ("列 / Column", "名字 / Names"),
            [(what, ", ".join(names)) for what, names in chatlog_records.COLUMNS.items()],
        )
        + "\n"
        + _table(("", "一条消息的第一行 / First line of a message"), list(chatlog_text.SHOWN.items())),
        "## 会告诉你的 / What is told\n\n"
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
