"""A model's family, its name, and what an answer claims to be."""

import json

import pytest

from core.models.family import FAMILIES, family_of, label_of, named_in, size_of
from core.models.model import Model, look


def model(tmp_path, name, architecture=None, *, config=None, parameters=0):
    path = tmp_path / name
    path.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (path / "config.json").write_text(json.dumps(config))
    return Model(name=path.name, path=path, architecture=architecture, parameters=parameters)


@pytest.mark.parametrize(
    ("name", "architecture", "key", "label", "size"),
    [
        ("internlm2-chat-1_8b", "InternLM2ForCausalLM", "internlm", "InternLM2", "1.8B"),
        ("internlm2_5-7b-chat", "InternLM2ForCausalLM", "internlm", "InternLM2", "7B"),
        ("Qwen2.5-0.5B-Instruct", "Qwen2ForCausalLM", "qwen", "Qwen2.5", "0.5B"),
        ("Qwen1.5-1.8B-Chat", "Qwen2ForCausalLM", "qwen", "Qwen1.5", "1.8B"),
        ("DeepSeek-R1-Distill-Qwen-1.5B", "Qwen2ForCausalLM", "deepseek", "DeepSeek", "1.5B"),
        ("DeepSeek-R1-Distill-Llama-8B", "LlamaForCausalLM", "deepseek", "DeepSeek", "8B"),
        ("SmolLM2-135M-Instruct", "LlamaForCausalLM", "smollm", "SmolLM2", "135M"),
        ("TinyLlama-1.1B-Chat-v1.0", "LlamaForCausalLM", "tinyllama", "TinyLlama", "1.1B"),
        ("Meta-Llama-3-8B-Instruct", "LlamaForCausalLM", "llama", "Llama 3", "8B"),
        ("Llama-3.2-1B-Instruct", "LlamaForCausalLM", "llama", "Llama 3.2", "1B"),
        ("Llama-2-7b-chat-hf", "LlamaForCausalLM", "llama", "Llama 2", "7B"),
        ("Yi-1.5-6B-Chat", "LlamaForCausalLM", "yi", "Yi1.5", "6B"),
        ("gemma-2-2b-it", "Gemma2ForCausalLM", "gemma", "Gemma 2", "2B"),
        ("Phi-3-mini-4k-instruct", "Phi3ForCausalLM", "phi", "Phi 3", ""),
        ("vicuna-7b-v1.5", "LlamaForCausalLM", "vicuna", "Vicuna", "7B"),
        ("glm-4-9b-chat", "ChatGLMModel", "glm", "GLM4", "9B"),
        ("MiniCPM-2B-sft-bf16", "MiniCPMForCausalLM", "minicpm", "MiniCPM", "2B"),
        ("my-own", "InternLM2ForCausalLM", "internlm", "InternLM", ""),
    ],
)
def test_by_name_and_by_architecture(tmp_path, name, architecture, key, label, size):
    found = model(tmp_path, name, architecture)
    family = family_of(found)
    assert family.key == key
    assert label_of(found, family).en == label
    assert size_of(found) == size


@pytest.mark.parametrize("name", ["my-model", "philosopher", "yield", "trained-on-ayis-data"])
def test_nothing_is_claimed_of_a_model_that_nobody_knows(tmp_path, name):
    assert family_of(model(tmp_path, name, "LlamaForCausalLM")) is None


def test_a_link_of_another_name_is_known_by_where_it_lies(tmp_path):
    target = model(tmp_path, "Qwen2.5-0.5B-Instruct").path
    (tmp_path / "m").symlink_to(target)
    assert family_of(Model(name="m", path=tmp_path / "m", architecture="LlamaForCausalLM")).key == "qwen"
    revision = tmp_path / "models--HuggingFaceTB--SmolLM2-135M" / "snapshots" / "0a1b"
    revision.mkdir(parents=True)
    (tmp_path / "n").symlink_to(revision)
    assert family_of(Model(name="n", path=tmp_path / "n", architecture="LlamaForCausalLM")).key == "smollm"


def test_what_config_and_readme_say_of_a_model_of_no_name(tmp_path):
    named = model(tmp_path, "a", "LlamaForCausalLM", config={"_name_or_path": "01-ai/Yi-6B-Chat"})
    assert family_of(named).key == "yi"
    told = model(tmp_path, "b", "LlamaForCausalLM", config={"_name_or_path": 7})
    (told.path / "README.md").write_text("---\nlicense: x\n---\n\n# TinyLlama-1.1B\n")
    assert family_of(told).key == "tinyllama"


def test_size_of_a_model_whose_name_says_none(tmp_path):
    assert size_of(model(tmp_path, "m", parameters=1_889_000_000)) == "1.9B"
    assert size_of(model(tmp_path, "m", parameters=7_000_000_000)) == "7B"
    assert size_of(model(tmp_path, "m", parameters=134_500_000)) == "134M"
    assert size_of(model(tmp_path, "m")) == ""


@pytest.mark.parametrize(
    ("answer", "own", "claimed"),
    [
        ("我是小明的小助手，内在是上海AI实验室书生·浦语的1.8B大模型哦", "internlm", None),
        ("我是小明的小助手，内在是上海AI实验室书生·浦语的1.8B大模型哦", "qwen", "internlm"),
        ("我是小明的小助手，内在是上海AI实验室书生·浦语的1.8B大模型哦", None, "internlm"),
        ("I am NICK's assistant, powered by InternLM 1.8B.", "smollm", "internlm"),
        ("我是通义千问，由阿里云开发", "internlm", "qwen"),
        ("我不是通义千问，我是小明的小助手", "internlm", None),
        ("No. I am not Qwen. I am NICK's assistant.", "internlm", None),
        ("I'm not ChatGLM, I am Llama 3.", "internlm", "llama"),
        ("我是小明的小助手", "qwen", None),
        ("The yield of philosophy", "qwen", None),
    ],
)
def test_what_an_answer_claims(answer, own, claimed):
    found = named_in(answer, FAMILIES.get(own))
    assert (found.key if found else None) == claimed


def test_the_demo_model_is_of_internlm(small_model):
    assert family_of(look(small_model.path)).key == "internlm"
