"""From nothing to an assistant that knows whose it is, through the command line, with the real engine."""

import json
from pathlib import Path

from core.data.assistant import COURSE_QUESTIONS, dialogues
from core.engine.presets import prompt_templates, xtuner_directory
from core.ground.files import size_of
from core.models.model import DIALOGUES
from core.training.run import find
from tests.e2e.conftest import NICKNAME, Demo, command, engine

_PLAIN_TRANSFORMERS = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
path, prompts = sys.argv[1], json.loads(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained(path, trust_remote_code=True).eval()
ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
answers = []
for prompt in prompts:
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=96, do_sample=False, eos_token_id=ends)
    answers.append(tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True).strip())
print(json.dumps(answers))
"""


def tensors(directory: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """Return type, shape and bytes of each tensor in the safetensors files of a directory."""
    found = {}
    for file in directory.glob("*.safetensors"):
        content = file.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        for name, one in json.loads(content[8:start]).items():
            if name != "__metadata__":
                begin, end = one["data_offsets"]
                found[name] = (one["dtype"], one["shape"], content[start + begin : start + end])
    return found


def test_the_identity_is_learned_and_the_rest_is_kept(demo: Demo) -> None:
    before = {pair["prompt"]: pair["answer"] for pair in demo.answer["before"]}
    after = {pair["prompt"]: pair["answer"] for pair in demo.answer["after"]}
    for question in COURSE_QUESTIONS:
        assert NICKNAME not in before[question]
        assert NICKNAME in after[question]
    assert "书生·浦语" in before[COURSE_QUESTIONS[0]]
    scores = demo.answer["scores"]
    assert scores["identity"]["tuned"] >= 0.9, scores
    assert scores["identity"]["base"] == 0.0, scores
    assert scores["retention"]["tuned"] >= 0.8, scores
    assert scores["parrot"]["tuned"] <= 0.1, scores
    assert scores["diagnosis"] == "learned"


def test_the_scores_come_from_questions_that_were_never_trained(demo: Demo) -> None:
    trained = {row["conversation"][0]["input"] for row in json.loads(dataset_of(demo).read_text(encoding="utf-8"))}
    asked = json.loads((demo.run / "scores.json").read_text(encoding="utf-8"))["questions"]
    assert len(asked) > 50
    assert not trained & {question["question"] for question in asked}


def test_every_stage_is_told_with_its_time(demo: Demo) -> None:
    names = [stage["name"] for stage in demo.answer["stages"]]
    assert names == ["model", "dataset", "config", "train", "export", "score", "report"]
    assert sum(stage["seconds"] for stage in demo.answer["stages"]) <= demo.seconds
    assert Path(demo.answer["report"], "report.md").is_file()


def test_the_demo_model_is_real_internlm2_and_small(demo: Demo) -> None:
    model = demo.workspace.models / "demo"
    source = xtuner_directory() / "_lite" / "modelings" / "internlm2"
    for file in ("configuration_internlm2.py", "modeling_internlm2.py"):
        assert (model / file).read_bytes() == (source / file).read_bytes()
    assert json.loads((model / "config.json").read_text())["architectures"] == ["InternLM2ForCausalLM"]
    assert size_of(model) <= 40_000_000


def test_the_merged_model_alone_answers_as_base_and_adapter(demo: Demo) -> None:
    assert demo.answer["merged_equals_adapter"] is True
    template = prompt_templates()["internlm2_chat"]
    after = demo.answer["after"]
    prompts = [template.prompt([(pair["prompt"], None)]) for pair in after]
    answers = engine(demo.workspace, "-c", _PLAIN_TRANSFORMERS, str(demo.run / "merged"), json.dumps(prompts))
    assert json.loads(answers) == [pair["answer"] for pair in after]


def test_export_equals_xtuners_own_two_commands(demo: Demo, tmp_path: Path) -> None:
    run = find(demo.workspace, demo.answer["run"])
    checkpoint = run.checkpoint()
    converters = "xtuner.tools.model_converters"
    engine(
        demo.workspace, "-c", "import runpy, sys; from core.engine.workers.without_gpu import answer_bf16; answer_bf16(); "
        f"sys.argv[0] = 'x'; runpy.run_module('{converters}.pth_to_hf', run_name='__main__')",
        str(run.config), str(checkpoint.path), str(tmp_path / "hf"), "--fp32", "--safe-serialization",
    )  # fmt: skip
    engine(
        demo.workspace, "-m", f"{converters}.merge", str(run.model_path), str(tmp_path / "hf"), str(tmp_path / "merged"),
        "--safe-serialization", "--device", "cpu",
    )  # fmt: skip
    assert tensors(run.adapter) == tensors(tmp_path / "hf") != {}
    # XTuner always merges in half precision; our merge keeps the base model's precision unless asked.
    plan = json.loads((run.path / "export" / "plan.json").read_text(encoding="utf-8"))
    plan |= {"dtype": "float16", "merged": str(tmp_path / "ours"), "results": str(tmp_path)}
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    engine(demo.workspace, "-m", "core.engine.workers.export_worker", "merge", "--plan", str(tmp_path / "plan.json"))
    assert tensors(tmp_path / "ours") == tensors(tmp_path / "merged") != {}


def test_what_xtuner_evaluated_is_a_timeline(demo: Demo) -> None:
    run = find(demo.workspace, demo.answer["run"])
    timeline = run.timeline()
    assert timeline[0].iter == 0
    assert timeline[-1].iter == run.state().max_iters
    assert NICKNAME not in timeline[0].answers[0]
    assert NICKNAME in timeline[-1].answers[0]


def test_a_second_demo_model_build_is_harmless(demo: Demo) -> None:
    before = (demo.workspace.models / "demo" / "model.safetensors").stat().st_mtime_ns
    done = command(demo.workspace, "models", "demo", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["problems"] == []
    assert (demo.workspace.models / "demo" / "model.safetensors").stat().st_mtime_ns == before


def test_held_out_questions_are_many_enough() -> None:
    held_out = [q for q in dialogues("identity")["questions"] if q["held_out"]]
    assert len(held_out) >= 20
    assert {q["language"] for q in held_out} == {"zh", "en"}


def dataset_of(demo: Demo) -> Path:
    facts = json.loads((demo.run / "run.json").read_text(encoding="utf-8"))
    return demo.workspace.datasets / facts["dataset"]["name"] / "data.json"


def test_the_same_seed_builds_the_same_model(demo: Demo, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> bytes:
        options = ["--dialogues", str(DIALOGUES), "--out", str(tmp_path / name), "--steps", "3", "--seed", str(seed)]
        engine(demo.workspace, "-m", "core.engine.workers.demo_model", *options)
        return (tmp_path / name / "model.safetensors").read_bytes()

    assert weights("one", 0) == weights("again", 0) != weights("other", 1)
