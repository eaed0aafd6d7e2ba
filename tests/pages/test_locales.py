"""The texts of the pages: complete in both languages, nothing half translated, and the same figures in both."""

import ast
import re
import string
import tomllib
from collections import Counter

import pytest

from core.config.pace import TOY_UPDATES, UPDATES
from core.ground.workspace import PROJECT
from pages.components.text import LANGUAGES, LOCALES, _flat, catalogue
from tests.pages.screen import open_page, texts

SOURCES = [PROJECT / "app.py", *sorted((PROJECT / "pages").rglob("*.py"))]
# Names and terms that are the same in Chinese.
SAME_IN_CHINESE = {
    "download.huggingface",
    *(f"dataset.format_{name}" for name in ("xtuner", "openai", "sharegpt", "alpaca")),
}
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# English permitted in a Chinese text: names, file names, commands, technical terms.
TERMS = set(
    "XTuner Studio InternLM InternLM2 Chat HuggingFace Hugging Face OpenXLab ModelScope CSDN SSH CPU GPU GB token tokens "
    "conda make run xtuner copy cfg list internlm2 chat qlora alpaca dataset map fn None JSON JSONL CSV Python iter pth train "
    "convert to hf merge DeepSpeed LoRA logits NaN SHA json jsonl csv tsv txt md zip OpenAI messages ShareGPT "
    "conversations conversation Alpaca instruction output py e3 PNG Slurm srun sbatch ZeRO gloo "
    "ChatGPT Excel TSV Parquet parquet xlsx docx pdf question answer name author pretrain max length SYSTEM "
    "CUDA torch peft setuptools bf16 PowerShell Windows macOS Linux "
    "Chromium PDF Markdown Ctrl EXIF JPEG WebP GIF MB IP report html "
    "smi vgpu MIG vGPU NVIDIA Qwen2 Coder".split()
)
TERMS |= set("git lfs CPU WebP top".split())
TERMS |= set("GGUF Ollama LM Studio llama cpp q4 q8 f16 rsync".split())
TERMS |= set("DPO ORPO Enter SmolLM2 135M Instruct Apache pip".split())


def patterns() -> list[str]:
    """Return each key that pages use, as a regular expression in which interpolated parts match any word."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("t", "both"):
                key = node.args[0]
                if isinstance(key, ast.Constant):
                    found.append(re.escape(key.value))
                elif isinstance(key, ast.JoinedStr):
                    parts = [re.escape(part.value) if isinstance(part, ast.Constant) else r"\w+" for part in key.values]
                    found.append("".join(parts))
    return found


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_keys_and_values_to_fill_in():
    zh, en = catalogue("zh"), catalogue("en")
    assert set(zh) == set(en)
    assert {key: fields(zh[key]) for key in zh} == {key: fields(en[key]) for key in en}
    assert all(zh.values())
    assert all(en.values())


def test_every_key_that_is_asked_for_is_there():
    keys = set(catalogue("zh"))
    assert len(patterns()) > 200
    for pattern in patterns():
        assert any(re.fullmatch(pattern, key) for key in keys), pattern


def test_no_key_is_left_over():
    asked = [re.compile(pattern) for pattern in patterns()]
    assert [key for key in catalogue("zh") if not any(pattern.fullmatch(key) for pattern in asked)] == []


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_no_key_is_in_two_files(language):
    """The later one would silently win."""
    tables = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted((LOCALES / language).glob("*.toml"))]
    keys = Counter(key for table in tables for key, _ in _flat(table))
    assert [key for key, times in keys.items() if times > 1] == []


def test_chinese_is_chinese():
    zh = catalogue("zh")
    assert {key for key, text in zh.items() if not CHINESE.search(text)} == SAME_IN_CHINESE
    for key, text in zh.items():
        # Text in code style is a command, a name or an error message.
        bare = re.sub(r"\{\w+\}|`[^`]*`|:\w+-badge", "", text)
        foreign = set(re.findall(r"[A-Za-z][A-Za-z0-9]+", bare)) - TERMS
        assert not foreign, (key, foreign)


def test_english_holds_no_chinese():
    # The course's questions are Chinese, and so is the example of a nickname.
    allowed = {"dataset.lesson", "demo.example"}
    assert {key for key, text in catalogue("en").items() if CHINESE.search(text)} <= allowed


def test_no_page_writes_words_of_its_own():
    """Chinese is only in the locales; questions for models are data."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CHINESE.search(node.value):
                assert path.name in {"text.py", "6_chat.py"}, (path.name, node.value)


PARTS = {
    "dataset": [("new_dataset", None)],
    "config": [
        ("new_config", None),
        ("more_settings", None),
        *(("config_tab", f"config.{tab}") for tab in ("text", "edits", "forecast")),
    ],
    "train": [("runs_open", None), ("machine_open", None)],
    "chat": [("chat_tab", "chat.tab_score")],
    "report": [("report_tab", f"report.tab_{tab}") for tab in ("content", "shots", "publish")],
}


@pytest.mark.usefixtures("exported_run")
@pytest.mark.parametrize("page", ["setup", "dataset", "config", "train", "export", "chat", "report"])
def test_every_page_is_drawn_in_both_languages(page):
    chinese, english = open_page(page), open_page(page, lang="en")
    assert chinese.title[0].value == catalogue("zh")[f"{page}.title"]
    assert english.title[0].value == catalogue("en")[f"{page}.title"]
    data = ("小明", "书生", "请介绍", "你在实战营", "法国", "你是谁", "ChatGPT", "景点", "我是一个小助手")
    # What is drawn only when it is opened, too.
    opened = [{key: catalogue("en")[tab] if tab else True} for key, tab in PARTS.get(page, ())]
    pages = [english, *(open_page(page, parts, lang="en") for parts in opened)]
    assert len({texts(shown) for shown in pages}) == len(pages), "something more is on each"
    for shown in pages:
        left = [line for line in texts(shown).splitlines() if CHINESE.search(line) and not any(d in line for d in data)]
        assert not left


@pytest.mark.usefixtures("workspace")
def test_what_was_typed_stays_when_the_language_changes():
    page = open_page("dataset")
    page.text_input(key="dataset_nickname").set_value("小红").run()
    page.button_group(key="language_switch").set_value("en").run()
    assert page.title[0].value == "Dataset"
    assert page.text_input(key="dataset_nickname").value == "小红"
    assert page.text_input(key="dataset_nickname").label == "Nickname"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_how_many_updates_is_for_the_preflight(language):
    """The text of a recipe must not promise a number: it depends on the model, and the page shows the preflight."""
    words = catalogue(language)
    unit = {"zh": "次参数更新", "en": r" (optimizer )?updates"}[language]
    said = {key: text for key, text in words.items() if re.search(rf"\d[\d,.]*\s*{unit}", text)}
    assert not said
    assert {"zh": "几十到两百次", "en": "some dozens to two hundred"}[language] in words["config.recipe_fast_caption"]
    assert 24 <= UPDATES <= TOY_UPDATES <= 200


@pytest.mark.parametrize("language", ["zh", "en"])
def test_how_many_tokens_is_for_a_tokenizer(language):
    """The dataset form states the rows; an estimate of their tokens would differ from the preflight's count."""
    form = [text for key, text in catalogue(language).items() if key.startswith(("dataset.effect", "dataset.short"))]
    assert form
    assert not [text for text in form if "token" in text]


def test_how_long_the_demo_takes():
    """On the page and in the README: a minute or two, as measured."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert "第一次约一分半，之后约 40 秒" in readme
    assert "about a minute and a half on 2 CPU cores, some 40 seconds the next time" in readme
    for language, words in (("zh", "一两分钟"), ("en", "a minute or two")):
        told = " ".join(text for key, text in catalogue(language).items() if key.startswith("demo."))
        assert words in told.lower()
    for path in (PROJECT / "docs").glob("*.md"):
        assert not re.search(r"2 (到|to) 4 (分钟|min)", path.read_text(encoding="utf-8")), path.name
