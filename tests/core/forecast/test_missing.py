"""What a config names but does not exist: layers, files, and a conversion of rows that need none."""

import pytest

from core.engine.workers.built_config import paths
from core.forecast.missing import conversion, missing
from core.models import model as models
from core.models.shape import layers
from tests.fakes.model import write_model, write_safetensors

INTERNLM2 = [
    f"model.layers.{n}.{name}"
    for n in range(2)
    for name in ("attention.wqkv", "attention.wo", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3")
]


@pytest.fixture
def model(workspace):
    place = write_model(workspace.model("demo"), demo=True)
    tensors = {f"{name}.weight": [4, 4] for name in INTERNLM2}
    others = {"model.tok_embeddings.weight": [8, 4], "output.weight": [8, 4], "model.norm.weight": [4]}
    write_safetensors(place / "model.safetensors", tensors | others)
    return models.find(workspace, "demo")


def targets(value):
    return {"model": {"lora": {"r": 8, "target_modules": value}}, "paths": []}


def test_layers_without_head_embeddings_and_norms(model):
    assert layers(model.path) == frozenset(INTERNLM2)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "all-linear",
        ["wqkv"],
        ["attention.wqkv", "w1"],
        ["model.layers.0.attention.wo"],
        r".*\.(wqkv|wo)",
        r"model\.layers\.1\.feed_forward\.w\d",
    ],
)
def test_layers_that_are_there(model, value):
    assert missing(targets(value), model) == []


@pytest.mark.parametrize(
    ("value", "severity", "kept"),
    [
        (["q_proj", "v_proj"], "error", ["w1", "w2", "w3", "wo", "wqkv"]),
        (["wqkv", "q_proj"], "warning", ["wqkv"]),
        (["qkv"], "error", ["w1", "w2", "w3", "wo", "wqkv"]),
        (["layers"], "error", ["w1", "w2", "w3", "wo", "wqkv"]),
        (r".*q_proj", "error", ["w1", "w2", "w3", "wo", "wqkv"]),
        ("wqkv", "error", ["w1", "w2", "w3", "wo", "wqkv"]),
        ("[", "error", ["w1", "w2", "w3", "wo", "wqkv"]),
    ],
)
def test_layers_that_are_not(model, value, severity, kept):
    (problem,) = missing(targets(value), model)
    assert (problem.severity, problem.where, problem.fix) == (severity, "target_modules", {"target_modules": kept})
    assert "wqkv" in problem.message.zh


def test_a_model_whose_headers_say_nothing_is_not_judged(model):
    (model.path / "model.safetensors").unlink()
    assert missing(targets(["q_proj"]), model) == []
    assert missing({"model": {"lora": None}, "paths": []}, model) == []


def test_paths(model, tmp_path):
    there = tmp_path / "there.pth"
    there.write_bytes(b"")
    told = {
        "model": {},
        "paths": [
            ["load_from", "/no/such.pth"],
            ["data_files", str(there)],
            ["data_files", "C:\\data\new.json"],
            ["pretrained_pth", "relative/projector.pth"],
        ],
    }
    found = {problem.where: problem for problem in missing(told, model)}
    assert set(found) == {"load_from", "data_files", "pretrained_pth"}
    assert all(problem.severity == "error" for problem in found.values())
    assert "/no/such.pth" in found["load_from"].message.en
    assert "Windows" in found["data_files"].message.zh


def test_which_values_are_paths():
    built = {
        "work_dir": "/out",
        "load_from": "checkpoint.pth",
        "resume": False,
        "unused": "/not/read",
        "model": {
            "llm": {"pretrained_model_name_or_path": "/models/a", "type": {"$name": "x./y"}},
            "tokenizer": {"pretrained_model_name_or_path": "internlm/internlm2"},
        },
        "train_dataloader": {"dataset": {"dataset": {"path": "json", "data_files": {"train": ["./a.json", "D:/b.json"]}}}},
        "custom_hooks": [{"evaluation_inputs": ["/help me"], "system": "/s"}, {"file": "https://a/b"}, {"out_dir": "/o"}],
    }  # fmt: skip
    assert paths(built) == [
        ["pretrained_model_name_or_path", "/models/a"],
        ["train", "./a.json"],
        ["train", "D:/b.json"],
        ["load_from", "checkpoint.pth"],
    ]


def test_rows_that_need_no_conversion(dataset):
    assert conversion({"map_fn": None}, dataset) is None
    problem = conversion({"map_fn": "alpaca_map_fn"}, dataset)
    assert problem.fix == {"dataset_map_fn": None}
    assert problem.severity == "error"
