"""Models are refused with a reason, from their small files."""

import json

import pytest

from core.export.gguf.families import FAMILIES, refusal
from tests.core.export.gguf import tiny


@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_known_ones(tmp_path, architecture):
    tiny.write_model(tmp_path, architecture)
    assert refusal(tmp_path) is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"architectures": ["GlmForCausalLM"]}, "GlmForCausalLM cannot"),
        ({"architectures": []}, "? cannot"),
        ({"architectures": None}, "? cannot"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope_scaling in config.json is yarn"),
        ({"rope_scaling": {"rope_type": "longrope"}}, "longrope"),
        ({"rope_scaling": None}, None),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, None),
    ],
)
def test_refused_by_the_config(tmp_path, config, said):
    tiny.write_model(tmp_path, **config) if "architectures" not in config else tiny.write_model(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    why = refusal(tmp_path)
    assert (why is None) if said is None else (said in why.en)


def test_refused_by_the_tokenizer(tmp_path):
    tiny.write_model(tmp_path)
    tiny.write_tokenizer(tmp_path, {"type": "Whitespace"})
    assert "Whitespace" in refusal(tmp_path).en
    (tmp_path / "tokenizer.json").unlink()
    assert "-" in refusal(tmp_path).zh
