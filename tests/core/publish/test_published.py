"""The published app, started from its package only, in an environment with only its requirements, and asked questions.

For a model with SmolLM2's architecture, tokenizer and prompt; tests/e2e asks one with InternLM2's code in a browser.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy
import pytest

from core.publish import package as packages
from tests.core.export.gguf import tiny
from tests.fakes import fresh_environment, published_reader

# The expected answer, generated with transformers directly, without streaming.
BY_HAND = """
import json, sys
from importlib.util import find_spec
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
for directory in sys.argv[1:3]:
    model, messages, said = AutoModelForCausalLM.from_pretrained(directory), [], []
    for question in sys.argv[3:]:
        messages.append({"role": "user", "content": question})
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
        ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
        out = model.generate(ids, max_new_tokens=256, do_sample=False, eos_token_id=ends, pad_token_id=ends[0])
        said.append(tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True).strip())
        messages.append({"role": "assistant", "content": said[-1]})
    print(json.dumps(said))
print(json.dumps({name: find_spec(name) is None for name in ("peft", "xtuner", "core")}))
"""
QUESTIONS = ("Who are you?", "19")


def write(directory: Path, seed: int) -> None:
    """Write a Llama in transformers' format whose answers end."""
    tiny.write_model(directory, model_type="llama", max_position_embeddings=2048)
    random = numpy.random.default_rng(seed)
    tensors = {
        name: random.normal(size=t.shape).astype("float32") for name, t in tiny.tensors_of("LlamaForCausalLM").items()
    }
    tiny.write_safetensors(directory / "model.safetensors", tensors)
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture
def package(workspace, exported_run, tmp_path):
    """A package of a tiny model, and an environment with only the packages in its requirements.txt."""
    write(exported_run.merged, 1)
    write(tmp_path / "base", 2)
    made = packages.package(workspace, exported_run, "modelscope", tmp_path / "package")
    python = fresh_environment.make(made.path / "requirements.txt", tmp_path / "env")

    def run(*argv, **environment):
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        env |= {
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [python, *map(str, argv)], cwd=tmp_path, env=env | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    return made.path, run


def test_it_answers_in_an_environment_of_its_own(package, exported_run, tmp_path):
    path, run = package
    base = tmp_path / "base"
    asked, alone = run(published_reader.__file__, path, "--alone", *QUESTIONS, BASE_MODEL=str(base))
    after, before, missing = run("-c", BY_HAND, path, base, *QUESTIONS)
    assert after != before
    assert (asked["answers"], asked["befores"]) == (after, before)
    assert [heading.split(" / ")[1] for heading in asked["headings"]] == ["Before", "After"]
    assert asked["toggles"] == [True]
    # Both are shown while they grow.
    assert asked["growing"] > 6
    # The card is on the page, without the metadata for hubs.
    assert any(f"# {packages.title(exported_run)}" in text for text in asked["card"])
    assert not any("license:" in text for text in asked["card"])
    # With nothing to compare with, no comparison is offered.
    assert (alone["toggles"], alone["befores"], alone["answers"]) == ([], [], after[:1])
    assert missing == {"peft": True, "xtuner": True, "core": True}
