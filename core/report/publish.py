"""The package to publish: merged model, model card, a small chat app with its requirements, git-lfs attributes.

Makes a directory that is ready to be pushed; uploads nothing.
"""

import shutil
from pathlib import Path
from typing import Literal

from core.chat.diagnosis import diagnose
from core.chat.score import stored
from core.export.export import exported
from core.ground.errors import BadInput
from core.ground.files import new_directory, write_text
from core.report.markup import escaped
from core.report.writeup import Report
from core.training.run import Run

Target = Literal["openxlab", "modelscope", "huggingface"]
TARGETS: tuple[Target, ...] = ("openxlab", "modelscope", "huggingface")
_LFS = "".join(f"*.{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in ("safetensors", "bin", "model"))
_PUSH = {
    "openxlab": "https://code.openxlab.org.cn/USERNAME/REPOSITORY.git",
    "modelscope": "https://www.modelscope.cn/USERNAME/REPOSITORY.git",
    "huggingface": "https://huggingface.co/USERNAME/REPOSITORY",
}
_APP = '''"""Chat with the model in this directory: `pip install -r requirements.txt`, then `streamlit run app.py`."""

import streamlit as st
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = "."
INSTRUCTION = {instruction!r}
STOP_WORDS = {stop_words!r}


@st.cache_resource
def load():
    tokenizer = AutoTokenizer.from_pretrained(MODEL, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(MODEL, torch_dtype="auto", trust_remote_code=True)
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def answer(question: str) -> str:
    tokenizer, model = load()
    ids = tokenizer(INSTRUCTION.replace("{{input}}", question), return_tensors="pt").input_ids.to(model.device)
    ends = [tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(STOP_WORDS)]
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=256,
        do_sample=False,
        eos_token_id=ends,
        pad_token_id=ends[0],
    )
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()


st.title({title!r})
for role, text in st.session_state.setdefault("said", []):
    st.chat_message(role).write(text)
if question := st.chat_input("…"):
    st.chat_message("user").write(question)
    reply = answer(question)
    st.chat_message("assistant").write(reply)
    st.session_state.said += [("user", question), ("assistant", reply)]
'''


def package(run: Run, target: Target, out: Path | None = None) -> Report:
    """Make the package of a merged run for `target`. Raises BadInput where it is not merged, or `out` is taken."""
    if target not in TARGETS:
        raise BadInput(
            f"没有目标 {target}：可用 {'、'.join(TARGETS)}", f"there is no target {target}: use {', '.join(TARGETS)}"
        )
    merged = exported(run).merged
    if merged is None:
        raise BadInput(
            f"训练 {run.id} 还没有合并：先 export merge", f"the run {run.id} is not merged yet: export merge first"
        )
    path = (out or run.path / f"package-{target}").absolute()
    try:
        with new_directory(path) as partial:
            shutil.copytree(run.merged, partial, dirs_exist_ok=True, ignore=shutil.ignore_patterns("export.json"))
            template = run.template
            title = f"{run.nickname}的小助手" if run.nickname else run.id
            app = _APP.format(instruction=template.instruction, stop_words=list(template.stop_words), title=title)
            versions = run.facts["versions"]
            needs = ("streamlit", "torch", "transformers")
            write_text(partial / "app.py", app)
            write_text(
                partial / "requirements.txt",
                "".join(f"{n}=={versions[n]}\n" for n in needs) + "einops\nsentencepiece\n",
            )
            write_text(partial / ".gitattributes", _LFS)
            write_text(partial / "README.md", card(run, target, title))
    except FileExistsError:
        raise BadInput(f"{path} 已存在：请换一个目录", f"{path} is there already: choose another directory") from None
    except OSError as error:
        raise BadInput(
            f"写不到 {path}（{error.strerror}）：请换一个目录",
            f"{path} cannot be written to ({error.strerror}): choose another directory",
        ) from error
    return Report(path=path, files=sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()))


def card(run: Run, target: Target, title: str) -> str:
    """The model card, Chinese first."""
    scores = stored(run)
    lines = [
        "---",
        "license: other",
        "language:",
        "- zh",
        "- en",
        "tags:",
        "- xtuner",
        "- internlm2",
        "---",
        f"# {escaped(title)}",
        "",
    ]
    lines += [
        f"由 XTuner 微调：基座 `{run.facts['model']['name']}`，数据 `{run.facts['dataset']['name']}`"
        f"（{run.facts['dataset']['rows']} 行），配方 `{run.facts['config']['recipe']}`。",
        "",
        f"Fine-tuned with XTuner from `{run.facts['model']['name']}` on {run.facts['dataset']['rows']} rows, recipe "
        f"`{run.facts['config']['recipe']}`. The licence of the base model holds for this one too.",
        "",
    ]
    if scores:
        lines += [
            "| 指标 score | 微调前 before | 微调后 after |",
            "| --- | --- | --- |",
            f"| 身份 identity | {scores.identity['base']:.2f} | {scores.identity['tuned']:.2f} |",
            f"| 保持 retention | {scores.retention['base']:.2f} | {scores.retention['tuned']:.2f} |",
            f"| 复读 parrot | {scores.parrot['base']:.2f} | {scores.parrot['tuned']:.2f} |",
            "",
            f"{diagnose(scores).words.zh}。{diagnose(scores).words.en}.",
            "",
        ]
    lines += ["## 发布 Publish", "", "```bash", "git lfs install", f"git clone {_PUSH[target]} ../repository"]
    lines += [
        "cp -r ./. ../repository/ && cd ../repository",
        'git add . && git commit -m "Add the model" && git push',
        "```",
        "",
    ]
    return "\n".join(lines)
