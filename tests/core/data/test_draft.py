"""Edits are stored immediately, undone one by one, and become a version that leaves the older one unchanged."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.data import dataset as datasets
from core.data import split, versions
from core.data.draft import Draft
from core.data.row import single
from core.data.storage import store
from core.ground.errors import BadInput


@pytest.fixture
def ten(workspace):
    """Ten rows, 1 to 10; the fifth repeats the fourth."""
    rows = [single(f"问题{number}", f"回答{number}") for number in (1, 2, 3, 4, 4, 6, 7, 8, 9, 10)]
    return store(workspace, "ten", "ten", rows, {"kind": "import", "nickname": "小明"})


def questions(draft):
    return [row["conversation"][0]["input"] for _, row in draft.each()]


def test_edits_survive_and_are_undone(workspace, ten):
    draft = Draft.open(workspace, ten)
    draft.set(2, single("二", "贰"))
    draft.delete([1, 10])
    new = draft.add(single("新", "新"))
    draft.set(new, single("新的", "新的"))
    assert draft.replace("问题", "Q") == 7
    assert draft.replace("没有的", "x") == 0
    draft.set(3, single("三", "叁"))
    again = Draft.open(workspace, ten)
    wanted = ["二", "三", "Q4", "Q4", "Q6", "Q7", "Q8", "Q9", "新的"]
    assert questions(again) == wanted
    assert (again.rows, again.place_of(new), again.place_of(1), again.place_of(10)) == (9, 8, None, None)
    for first in range(10):
        page = again.page(first, 3)
        assert [row["conversation"][0]["input"] for _, row in page] == wanted[first : first + 3]
        assert [again.place_of(number) for number, _ in page] == list(range(first, min(first + 3, 9)))
    while again.undo():
        pass
    assert questions(again) == questions(Draft.open(workspace, ten))
    assert questions(again)[0] == "问题1"
    assert not again.path.exists()


def test_many_deletions(workspace, ten):
    draft = Draft.open(workspace, ten)
    draft.delete([1, 2, 3, 5, 6, 9])
    assert [number for number, _ in draft.page(0, 10)] == [4, 7, 8, 10]
    assert [number for number, _ in draft.page(2, 1)] == [8]
    draft.delete([4, 7, 8, 10])
    assert draft.page(0, 5) == []
    with pytest.raises(BadInput):
        versions.save(workspace, draft)


def test_clean(workspace):
    rows = [single("a\u200b", "b"), single("a", "b"), single("c", "d\x07"), single("a\u200b", "b")]
    made = store(workspace, "x", "x", rows, {"kind": "import"})
    draft = Draft.open(workspace, made)
    assert draft.clean() == (3, 2)
    assert [row for _, row in draft.each()] == [single("a", "b"), single("c", "d")]


def test_half_a_line_is_no_edit(workspace, ten):
    draft = Draft.open(workspace, ten)
    draft.set(1, single("一", "壹"))
    with draft.path.open("a") as file:
        file.write('{"edit": "set", "row": 2, "val')
    assert questions(Draft.open(workspace, ten))[:2] == ["一", "问题2"]
    Draft.open(workspace, ten).set(3, single("三", "叁"))
    assert questions(Draft.open(workspace, ten))[:3] == ["一", "问题2", "三"]


def test_two_tabs_edit_one_dataset(workspace, ten):
    here, there = Draft.open(workspace, ten), Draft.open(workspace, ten)
    here.set(1, single("一", "壹"))
    there.set(2, single("二", "贰"))
    # Another tab edits other parts of the same row: neither knows of the other's edit before making its own.
    here.change(3, lambda row: {"conversation": [{**row["conversation"][0], "input": "三"}]})
    there.change(3, lambda row: {"conversation": [{**row["conversation"][0], "output": "叁"}]})
    assert (here.add(single("四", "肆")), there.add(single("五", "伍"))) == (-1, -2)
    there.delete([-2])
    assert here.add(single("六", "陆")) == -3
    now = Draft.open(workspace, ten)
    assert questions(now)[:3] + questions(now)[-2:] == ["一", "二", "三", "四", "六"]
    assert now.row(3) == single("三", "叁")
    there.delete([4])
    with pytest.raises(BadInput):
        here.set(4, single("x", "y"))


def test_what_another_tab_does_meanwhile_is_not_taken_back(workspace, ten):
    here = Draft.open(workspace, ten)
    here.set(1, single("一", "壹"))
    here.set(2, single("二", "贰"))
    Draft.open(workspace, ten).set(3, single("三", "叁"))
    assert here.undo()
    assert questions(here)[:3] == ["一", "问题2", "三"]
    stale = Draft.open(workspace, ten)
    Draft.open(workspace, ten).set(4, single("四", "肆"))
    made = versions.save(workspace, stale)
    assert [row["conversation"][0]["input"] for row in made.load()][:4] == ["一", "问题2", "三", "问题4"]
    left = Draft.open(workspace, ten)
    assert (len(left), questions(left)[:4]) == (1, ["问题1", "问题2", "问题3", "四"])
    left.discard()
    assert not left.path.exists()


def test_edits_of_many_tabs_are_all_kept(workspace, ten):
    tabs = [Draft.open(workspace, ten) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        numbers = [number for found in pool.map(lambda tab: [tab.add(single("q", "a")) for _ in range(20)], tabs)
                   for number in found]  # fmt: skip
    assert sorted(numbers) == list(range(-160, 0))
    assert len(Draft.open(workspace, ten)) == 160


def test_problems_are_looked_for_where_they_can_be(workspace, ten, monkeypatch):
    draft = Draft.open(workspace, ten)
    draft.set(1, single("一", " "))
    draft.replace("问题", "Q")
    with monkeypatch.context() as patch:
        patch.setattr(type(ten), "each", lambda *_: pytest.fail("every row was read"))
        assert [number for number, _ in draft.problems()] == [1]
    draft.replace("回答2", " ")
    assert [number for number, _ in draft.problems()] == [1, 2]
    assert [number for number, _ in draft.problems(everywhere=False)] == [1]
    draft.delete([1, 2])
    assert draft.problems() == []


def test_version(workspace, ten):
    before = {path.name: path.read_bytes() for path in ten.path.iterdir()}
    draft = Draft.open(workspace, ten)
    draft.set(1, single("你是谁", "我是小明的助手"))
    draft.replace("小明", "小红")
    draft.add({"conversation": [{"system": "S", "input": "a", "output": "b"}, {"input": "c", "output": "d"}]})
    made = versions.save(workspace, draft)
    assert (made.name, made.version, made.nickname, made.rows) == ("ten-v2", 2, "小红", 11)
    assert made.made["changes"] == {"changed": 1, "added": 1, "deleted": 0, "all_rows": 1}
    assert len(Draft.open(workspace, ten)) == 0
    assert {path.name: path.read_bytes() for path in ten.path.iterdir()} == before
    next_draft = Draft.open(workspace, made)
    next_draft.delete([2])
    third = versions.save(workspace, next_draft)
    assert third.name == "ten-v3"
    assert [version.name for version in versions.lineage(workspace, third)] == ["ten", "ten-v2", "ten-v3"]
    for version in (made, third):
        again, same = versions.remake(workspace, version)
        assert same
        assert again.data.read_bytes() == version.data.read_bytes()


def test_a_row_that_cannot_be_trained_on_is_kept_but_not_saved(workspace, ten):
    draft = Draft.open(workspace, ten)
    draft.set(3, single("三", " "))
    with pytest.raises(BadInput) as refused:
        versions.save(workspace, draft)
    assert "第 3 行" in str(refused.value)
    assert questions(Draft.open(workspace, ten))[2] == "三"
    draft.set(3, single("三", "叁"))
    assert versions.save(workspace, draft).rows == 10


def test_remade_from_the_file(workspace, tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("q,a\n你好,嗨\n", encoding="gb18030")
    made, _ = datasets.import_file(workspace, file)
    assert versions.remake(workspace, made)[1]
    file.write_text("q,a\n你好,嗯\n", encoding="gb18030")
    with pytest.raises(BadInput) as refused:
        versions.remake(workspace, made)
    assert str(file) in str(refused.value)


def test_split_lets_nothing_leak(workspace):
    rows = [single(f"问题{number % 50}{'？' * (number % 3)}", f"{number}") for number in range(300)]
    made = store(workspace, "all", "all", rows, {"kind": "import", "nickname": "小明"})
    train, held_out = split.split(workspace, made, 0.2)
    assert (train.name, held_out.name, train.nickname) == ("all-train", "all-heldout", "小明")
    assert train.rows + held_out.rows == 300
    asked = [{row["conversation"][0]["input"].rstrip("？") for row in part.load()} for part in (train, held_out)]
    assert not asked[0] & asked[1]
    assert 3 <= len(asked[1]) <= 20
    assert versions.remake(workspace, held_out)[1]
    with pytest.raises(BadInput):
        split.split(workspace, made, 0.2)
    one = store(workspace, "one", "one", [single("a", "b")] * 5, {"kind": "import"})
    with pytest.raises(BadInput):
        split.split(workspace, one, 0.5)
    for share in (0, 1, -1):
        with pytest.raises(BadInput):
            split.split(workspace, made, share)
    assert {path.name for path in workspace.datasets.iterdir()} == {
        "all",
        "all-train",
        "all-heldout",
        "all-heldout-again",
        "one",
    }


def test_large_datasets_are_lines_and_read_by_page(workspace):
    rows = [single(f"{number}", "答") for number in range(20_500)]
    rows[20_300] = {"conversation": [{"system": "S", "input": "a", "output": "b"}, {"input": "c", "output": "d"}]}
    made = store(workspace, "many", "many", rows, {"kind": "import"})
    assert made.data.name == "data.jsonl"
    assert made.page(20_298, 4) == rows[20_298:20_302]
    assert made.page(20_499, 10) == rows[20_499:]
    assert made.page(30_000, 10) == []
    assert made.load() == rows
    keys = {tuple(json.loads(line)["conversation"][0]) for line in made.data.read_text().splitlines()}
    assert keys == {("system", "input", "output")}
    draft = Draft.open(workspace, made)
    draft.delete([20_301])
    assert [number for number, _ in draft.page(20_299, 2)] == [20_300, 20_302]


def test_tokens_of_a_template_are_taken_off_at_once(workspace):
    rows = [single("你好", "你好<|im_end|>"), single("<|im_start|>user\n在吗", "在</s>"), single("<b>粗</b>", "[1] 好")]
    made = store(workspace, "tokens", "tokens", rows, {"kind": "import"})
    draft = Draft.open(workspace, made)
    assert draft.strip() == 2
    assert draft.strip() == 0
    saved = versions.save(workspace, draft)
    assert saved.load() == [single("你好", "你好"), single("在吗", "在"), single("<b>粗</b>", "[1] 好")]
    assert versions.remake(workspace, saved)[1]
