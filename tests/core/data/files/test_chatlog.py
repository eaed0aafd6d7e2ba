"""Chat logs: the assistant is chosen, consecutive messages are joined, pauses end conversations, names are masked."""

import json

import pytest

from core.data import intake
from core.data.files.chatlog_text import style_of, when
from core.data.files.choices import Choices
from core.data.intake import Wanted
from core.ground.errors import BadInput

WECHAT_CSV = (
    "id,MsgSvrID,type_name,is_sender,talker,room_name,msg,src,CreateTime\n"
    "1,1,文本,0,wxid_b,wxid_b,周末有空吗,,2025-03-01 09:00:00\n2,2,文本,0,wxid_b,wxid_b,一起爬山,,2025-03-01 09:00:10\n"
    "3,3,图片,0,wxid_b,wxid_b,,a.jpg,2025-03-01 09:00:20\n4,4,文本,1,me,wxid_b,有空,,2025-03-01 09:01:00\n"
    "5,5,文本,1,me,wxid_b,几点,,2025-03-01 09:01:05\n6,6,文本,0,wxid_b,wxid_b,在吗,,2025-03-01 20:00:00\n"
    "7,7,文本,1,me,wxid_b,在,,2025-03-01 20:00:30\n"
)
SAID = [
    ("小北", "周末有空吗"),
    ("小北", "一起爬山"),
    ("阿南", "有空"),
    ("阿南", "几点"),
    ("小北", "在吗"),
    ("阿南", "在"),
]
TIMES = ["09:00:00", "09:00:10", "09:01:00", "09:01:05", "20:00:00", "20:00:30"]


def telegram():
    messages = [{"id": n, "type": "message", "date": f"2025-03-01T{time}", "from": name, "from_id": name,
                 "text": [text[:1], {"type": "plain", "text": text[1:]}]} for n, ((name, text), time)
                in enumerate(zip(SAID, TIMES, strict=True))]  # fmt: skip
    return {"name": "群", "type": "private_group", "id": 1,
            "messages": [*messages, {"id": 9, "type": "service", "date": "2025-03-01T21:00:00", "action": "x", "text": ""}]}  # fmt: skip


def discord():
    return {"guild": {"id": "1"}, "channel": {"name": "c"}, "messages": [
        {"id": str(n), "type": "Default", "timestamp": f"2025-03-01T{time}.000+08:00", "content": text,
         "author": {"id": name, "name": name, "nickname": name}} for n, ((name, text), time)
        in enumerate(zip(SAID, TIMES, strict=True))]}  # fmt: skip


def lines(pattern):
    return "\n".join(
        pattern.format(name=name, text=text, time=time, short=time[:5])
        for (name, text), time in zip(SAID, TIMES, strict=True)
    )


LOGS = {
    "wechat.csv": (WECHAT_CSV, "me"),
    "telegram.json": (json.dumps(telegram(), ensure_ascii=False), "阿南"),
    "discord.json": (json.dumps(discord(), ensure_ascii=False), "阿南"),
    "discord.txt": (lines("[01-Mar-25 {short}] {name}\n{text}\n"), "阿南"),
    "qq.txt": ("消息记录（此消息记录为文本格式，不支持重新导入）\n\n" + lines("2025-03-01 {time} {name}(12345678)\n{text}\n"), "阿南"),
    "wechat.txt": (lines("{name} 2025-03-01 {time}\n{text}\n"), "阿南"),
    "whatsapp.txt": (lines("[2025/3/1, {time}] {name}: {text}"), "阿南"),
    "android.txt": (lines("01/03/25, {short} - {name}: {text}"), "阿南"),
    "telegram.txt": (lines("{name}, [01.03.2025 {short}]\n{text}\n"), "阿南"),
    "inline.txt": (lines("2025-03-01 {time} {name}：{text}"), "阿南"),
    "memo.csv": ("localId,TalkerId,Type,SubType,IsSender,CreateTime,StrContent,Remark,NickName,Sender\n" + "".join(
        f"{n},1,1,0,{int(name == '阿南')},{1740790800 + n * 60 + 40000 * (n > 3)},{text},,,{'' if name == '阿南' else name}\n"
        for n, (name, text) in enumerate(SAID)), "我"),
    "table.csv": ("发送者,内容,时间\n" + lines("{name},{text},2025-03-01 {time}"), "阿南"),
    "lines.jsonl": ("\n".join(json.dumps({"speaker": name, "text": text, "time": 1740790800 + n * 60 + 40000 * (n > 3)})
                              for n, (name, text) in enumerate(SAID)), "阿南"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_each_kind_of_log(workspace, tmp_path, name):
    text, speaker = LOGS[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        intake.import_file(workspace, tmp_path / name)
    assert "聊天记录" in str(refused.value) and f"{speaker} (3)" in str(refused.value)
    peeked = intake.peek(tmp_path / name)
    assert (peeked.format, peeked.speaker) == ("log", speaker)
    assert {count for _, count in peeked.speakers} <= {3, 4}
    made, report = intake.import_file(workspace, tmp_path / name, wanted=Wanted(choices=Choices(speaker=speaker)))
    assert [row["conversation"] for row in made.load()] == [
        [{"input": "周末有空吗\n一起爬山", "output": "有空\n几点"}], [{"input": "在吗", "output": "在"}]]  # fmt: skip
    assert made.load() == peeked.rows
    assert made.made["choices"] == {"speaker": speaker}
    other, _ = intake.import_file(
        workspace, tmp_path / name, wanted=Wanted(choices=Choices(speaker=speaker, pause_hours=24))
    )
    assert [len(row["conversation"]) for row in other.load()] == [2]
    if name in ("wechat.csv", "telegram.json"):
        assert "1 条" in next(found for found in report.problems if found.kind == "not_text").message.zh


def test_named_speakers_without_any_time(workspace, tmp_path):
    (tmp_path / "x.txt").write_text(lines("{name}：{text}"), encoding="utf-8")
    made, _ = intake.import_file(workspace, tmp_path / "x.txt", wanted=Wanted(choices=Choices(speaker="小北")))
    assert made.load() == [{"conversation": [{"input": "有空\n几点", "output": "在吗"}]}]
    record = {"messages": [{"role": name, "content": f"{text}吧吧吧吧吧吧吧"} for name, text in SAID]}
    (tmp_path / "x.jsonl").write_text(json.dumps(record), encoding="utf-8")
    peeked = intake.peek(tmp_path / "x.jsonl")
    assert dict(peeked.speakers) == {"小北": 1} and not peeked.rows
    with pytest.raises(BadInput) as refused:
        intake.import_file(workspace, tmp_path / "x.jsonl")
    assert "--speaker" in str(refused.value)
    made, _ = intake.import_file(workspace, tmp_path / "x.jsonl", wanted=Wanted(choices=Choices(speaker="阿南")))
    assert len(made.load()[0]["conversation"]) == 2


def test_names_numbers_and_links_are_masked(workspace, tmp_path):
    said = [("张小北", "王阿南在吗，我的电话 138-0013-8000，QQ 123456789"), ("王阿南", "在的张小北，见 https://a.b/c?d=1 和 me@x.com"),
            ("张小北", "2025 年 3 月花了 1200 元"), ("王阿南", "wxid_abc123 加我，98.5 分")]  # fmt: skip
    (tmp_path / "x.txt").write_text(
        "\n".join(f"2025-03-01 09:00:0{n} {name}: {text}" for n, (name, text) in enumerate(said))
    )
    made, report = intake.import_file(workspace, tmp_path / "x.txt", wanted=Wanted(choices=Choices(speaker="王阿南")))
    assert made.load()[0]["conversation"] == [
        {"input": "[名字]在吗，我的电话 [号码]，QQ [号码]", "output": "在的[名字]，见 [链接] 和 [邮箱]"},
        {"input": "2025 年 3 月花了 1200 元", "output": "[账号] 加我，98.5 分"},
    ]
    assert "masked" in {problem.kind for problem in report.problems}
    made, _ = intake.import_file(
        workspace, tmp_path / "x.txt", wanted=Wanted(choices=Choices(speaker="王阿南", mask=False))
    )
    assert "138-0013-8000" in made.load()[0]["conversation"][0]["input"]


def test_a_table_of_roles_asks_nobody(workspace, tmp_path):
    (tmp_path / "x.csv").write_text(
        "conversation_id,role,content\n1,system,简短\n1,user,几点开门 13800138000\n1,assistant,九点\n2,user,几点关\n2,assistant,六点\n"
    )
    made, _ = intake.import_file(workspace, tmp_path / "x.csv")
    assert [row["conversation"] for row in made.load()] == [
        [{"system": "简短", "input": "几点开门 13800138000", "output": "九点"}], [{"input": "几点关", "output": "六点"}]]  # fmt: skip


@pytest.mark.parametrize("text", ["时间：九点\n地点：北楼\n人员：全体\n事项：开会\n备注：准时", "他说：好\n她说：不好\n" + "然后他们就走了，走了很远很远。\n" * 9,
                          "2025-03-01 09:00 开会\n2025-03-02 10:00 放假\n" + "正文很长。\n" * 20])  # fmt: skip
def test_prose_is_no_log(text):
    assert style_of(text) is None


def test_articles_are_no_log(tmp_path):
    rows = [{"author": name, "date": "2025-03-01", "content": "很长的文章。" * 100} for name in "甲乙甲乙"]
    (tmp_path / "x.json").write_text(json.dumps(rows), encoding="utf-8")
    assert intake.peek(tmp_path / "x.json").format == "text"


@pytest.mark.parametrize(("text", "seconds"), [
    ("2025-03-01 09:00:00", 0), ("2025/3/1 9:00", 0), ("2025年3月1日 09:00", 0), ("2025-03-01T09:00:00.000+08:00", 0),
    ("01-Mar-25 09:00 AM", 0), ("2025-03-01 下午 9:00", 43200), ("2025-03-01 9:00 PM", 43200),
])  # fmt: skip
def test_moments(text, seconds):
    assert when(text) - when("2025-03-01 09:00:00") == seconds
