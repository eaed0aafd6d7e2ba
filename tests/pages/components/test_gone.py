"""What was deleted and is still needed is said where it is missed, and the one blue button leads to where it is made."""

import shutil

import pytest

from tests.pages.screen import lid, open_page, primary, texts


@pytest.mark.parametrize("page", ["config", "train"])
@pytest.mark.parametrize(("what", "button"), [("dataset", "前往“数据集”"), ("model", "前往“准备”")])
def test_what_a_config_was_made_for_is_gone(workspace, config, page, what, button):
    name = getattr(config, what)
    shutil.rmtree(getattr(workspace, what)(name))
    shown = open_page(page)
    assert primary(shown) == [button]
    assert f"**{name}** 已经不在了" in texts(shown)
    assert not shown.error
    assert "start_training" not in [one.key for one in shown.button]


@pytest.mark.parametrize("what", ["dataset", "model"])
def test_a_finished_run_goes_on_without_what_it_was_made_from(workspace, exported_run, what):
    facts = exported_run.facts
    shutil.rmtree(workspace.dataset(facts.dataset.name) if what == "dataset" else exported_run.model_path)
    for page in ("train", "export", "chat"):
        assert primary(open_page(page)) == ["下一步：生成作业报告"], page
    again = lid(open_page("train"), "start_open")
    assert "已经不在了" in texts(again)
    assert primary(again) == ["下一步：生成作业报告"]


def test_without_its_base_a_run_is_neither_exported_nor_scored(finished_run):
    shutil.rmtree(finished_run.model_path)
    for page in ("export", "chat"):
        shown = open_page(page)
        assert primary(shown) == ["前往“准备”"], page
        assert "基座模型 **demo** 已经不在了" in texts(shown)


@pytest.mark.parametrize("weights", [True, False])
def test_a_merged_model_that_is_gone_is_merged_again(exported_run, weights):
    """Whether all of it was deleted, or the weights alone, which take the room."""
    if weights:
        (exported_run.merged / "model.safetensors").unlink()
    else:
        shutil.rmtree(exported_run.merged)
    assert primary(open_page("export")) == ["转换 + 合并 + 校验"]
    for page in ("train", "chat"):
        assert primary(open_page(page)) == ["下一步：导出模型"], page
    assert [link.proto.label for link in open_page("report").sidebar.get("page_link")] == ["下一步：合并成完整模型"]


def test_an_export_outlives_its_checkpoints(exported_run):
    for checkpoint in exported_run.work_dir.glob("iter_*"):
        checkpoint.unlink()
    page = open_page("export")
    assert primary(page) == ["下一步：生成作业报告"]
    assert "**模型可以用了**" in texts(page)
