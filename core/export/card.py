"""The model card next to an adapter or merged model: what it is, what it is based on, how to use it. Writes no file."""

from core.export.prompt import talks
from core.training.record import Run

_LOAD = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(PATH, trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained(PATH, torch_dtype="auto", trust_remote_code=True).eval()
```"""
_LOAD_ADAPTER = """```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(PATH, trust_remote_code=True)
base = AutoModelForCausalLM.from_pretrained(BASE, torch_dtype="auto", trust_remote_code=True)
model = PeftModel.from_pretrained(base, PATH).eval()
```"""

_ASK = """```python
messages = [{"role": "user", "content": "你是谁？"}]
ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
print(tokenizer.decode(model.generate(ids, max_new_tokens=128)[0, ids.shape[1] :], skip_special_tokens=True))
```"""


def card(run: Run, checkpoint: str | None, *, whole: bool) -> str:
    """Return the README.md (Markdown) for the export of a `checkpoint` of `run`; `whole` for a full fine-tune."""
    model, dataset = run.facts.model, run.facts.dataset
    nickname = f"（{run.nickname} 的小助手 / {run.nickname}'s assistant）" if run.nickname else ""
    lines = [
        "---",
        f"base_model: {model.name}",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [xtuner, internlm]",
        "---",
        "",
        f"# {run.id}{nickname}",
        "",
        "用 XTuner Studio 微调 / fine-tuned with XTuner Studio.",
        "",
        "| | |",
        "| --- | --- |",
        f"| 基座 / base model | {model.name} ({model.architecture or '-'}) |",
        f"| 方法 / method | {'全量微调 / full fine-tune' if whole else 'LoRA'} |",
        f"| 检查点 / checkpoint | {checkpoint or '-'} |",
        f"| 数据集 / dataset | {dataset.name}, {dataset.rows} rows, sha256 `{dataset.sha256[:16]}…` |",
        f"| 对话模板 / prompt template | {run.template.title} |",
        f"| XTuner | {run.facts.versions.get('xtuner') or '-'} |",
        "",
        "怎样生成的：`export.json`、`xtuner_config.py`。 / How it was created: `export.json`, `xtuner_config.py`.",
        "",
        "完整的模型（合并后）/ the complete model (merged):",
        "",
        _LOAD,
    ]
    if not whole:
        lines += ["", "只有适配器 / the adapter only:", "", _LOAD_ADAPTER]
    if talks(run):
        asked = "提问：分词器的 chat_template 就是训练时用的模板 / to ask it: the tokenizer's chat_template is the one used in training:"
        lines += ["", asked, "", _ASK]
    return "\n".join(lines) + "\n"
