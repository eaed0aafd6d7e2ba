"""Exports of the real demo model: equal to PEFT's merge, complete or absent, and the failures that verify detects."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from core.export.verdict import causes, verdict
from tests.e2e.conftest import Demo, engine


@pytest.fixture(scope="module")
def cases(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of each function in `export_cases`."""
    out = tmp_path_factory.mktemp("exports")
    said = engine(demo.workspace, "-m", "tests.e2e.export_cases", str(demo.workspace.root), str(demo.run), str(out))
    return json.loads(said.splitlines()[-1])


def caught(found: dict[str, Any]) -> list[str]:
    """Return the kinds of causes of a failed verification, after checking their explanations in both languages."""
    assert found["ok"] is False
    assert "不一致" in verdict(found).zh
    assert all(text.zh and text.en for text in causes(found))
    return [cause["kind"] for cause in found["causes"]]


def test_merged_as_peft_merges_tensor_by_tensor(cases: dict[str, Any]) -> None:
    found = cases["as_peft_merges"]
    assert {kind: made["difference"] for kind, made in found.items()} == dict.fromkeys(found, 0.0)
    assert {made["method"] for made in found.values() if "method" in made} == {"tensors"}
    assert found["bfloat16"]["config"] == "bfloat16"


@pytest.mark.parametrize("kind", ["use_dora", "modules_to_save"])
def test_other_adapters_go_through_peft_and_are_named(cases: dict[str, Any], kind: str) -> None:
    found = cases["through_peft"][kind]
    assert (found["method"], found["difference"], found["ok"]) == (f"peft: {kind}", 0.0, True)


def test_shards_are_as_large_as_asked(cases: dict[str, Any]) -> None:
    found = cases["shards_as_asked"]
    assert len(found["files"]) > 1
    # A single tensor may be larger.
    assert found["largest"] < 2_300_000
    assert (found["difference"], found["loads"]) == (0.0, 0.0)


def test_a_base_in_pytorch_files_is_merged_too(cases: dict[str, Any]) -> None:
    assert (cases["pytorch_files"]["method"], cases["pytorch_files"]["difference"]) == ("tensors", 0.0)


def test_a_wrong_base_is_caught(cases: dict[str, Any]) -> None:
    assert caught(cases["wrong_base"]["verify"]) == ["wrong_base"]
    assert caught(cases["wrong_base"]["not trained on"]) == ["not_trained_on"]


def test_a_swapped_adapter_is_caught(cases: dict[str, Any]) -> None:
    found = cases["swapped_adapter"]
    assert caught(found["verify"]) == ["stale_adapter", "other_adapter"]
    assert caught(found["unsigned"]) == ["other_adapter"]
    assert caught(found["other layers"]) == ["other_adapter"]
    assert caught(found["not merged"]) == ["not_merged"]


def test_an_overflow_is_caught(cases: dict[str, Any]) -> None:
    found = cases["overflow"]
    assert found["merge"]["overflowed"] == 3
    assert caught(found["verify"]) == ["overflow"]
    assert "bfloat16" in str(causes(found["verify"])[0].en)
    assert caught(found["quiet"]) == ["overflow"]
    assert found["kept"]["ok"]


def test_a_loss_of_precision_is_caught_unless_it_was_chosen(cases: dict[str, Any]) -> None:
    found = cases["precision"]
    assert caught(found["verify"]) == ["precision"]
    assert found["chosen"]["ok"]
    assert found["chosen"]["dtype"] == "torch.bfloat16"


def test_an_adapter_of_another_size_is_refused_and_leaves_nothing(cases: dict[str, Any]) -> None:
    assert "does not fit this base model" in cases["misfit"]["merge"]["stopped"]
    assert cases["misfit"]["left"] == []


def test_a_base_without_its_code_is_refused_and_leaves_nothing(cases: dict[str, Any]) -> None:
    assert "configuration_internlm2.py" in cases["missing_code"]["merge"]["stopped"]
    assert not cases["missing_code"]["there"]


def test_a_full_fine_tune_needs_no_merge(cases: dict[str, Any]) -> None:
    found = cases["full_fine_tune"]
    assert found["difference"] == 0.0
    assert found["verify"]["ok"]
    assert found["convert"]["method"] == "full"


def test_converting_twice_changes_nothing(cases: dict[str, Any]) -> None:
    found = cases["twice"]
    assert found["again"]["unchanged"]
    assert (found["kept"], found["difference"], found["loads"]) == (True, 0.0, 64.0)


def test_what_is_beside_the_merged_model(demo: Demo) -> None:
    merged = demo.run / "merged"
    made = json.loads((merged / "export.json").read_text(encoding="utf-8"))
    assert made["method"] == "tensors"
    assert made["adapter_sha256"]
    assert math.isclose(made["made"], (merged / "config.json").stat().st_mtime, abs_tol=5)
    card = (merged / "README.md").read_text(encoding="utf-8")
    assert "base_model: demo" in card
    base = demo.workspace.models / "demo"
    there = {path.name for path in base.iterdir()} - {"demo_model.json"}
    assert there <= {path.name for path in merged.iterdir()}
    assert Path(merged, "xtuner_config.py").read_text() == (demo.run / "config.py").read_text()
