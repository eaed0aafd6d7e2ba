"""Tiny models of five families complete the entire workflow, from link to package.

Training, chat and published model use the same prompt text, and a model that cannot be trained is refused when it is
linked. `make models` runs it for all families.
"""

import contextlib
import io
import json

import pytest

from benchmarks import models
from core import __main__ as command_line
from tests.conftest import stop_jobs

# A template of XTuner with a default system prompt in the model's own; one written out, with BOS between turns and a
# space that the tokenizer adds; one with an end-of-turn token besides the end token; one with two tokens at the
# beginning and no end of its own.
NAMES = ["Qwen2.5-0.5B-Instruct", "Llama-2-7b-chat", "gemma-2-2b-it", "glm-4-9b-chat-hf", "vicuna-7b"]
UNTRAINABLE = "MiniCPM-2B"


class Here(models.Product):
    """The commands in this process: eight more for each model take as long as its training."""

    def __call__(self, *words):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = command_line.main([*words, "--workspace", str(self.workspace), "--json"])
        if code:
            raise models.Unfit(err.getvalue().strip())
        return json.loads(out.getvalue())


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """One workspace for all models, with the models next to it."""
    workspace = tmp_path_factory.mktemp("models")
    models.build([*NAMES, UNTRAINABLE], workspace / "given")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XTUNER_STUDIO_LANG", "en")
        yield Here(workspace)
    stop_jobs(workspace)


@pytest.mark.parametrize("name", NAMES)
def test_one_text_is_trained_asked_and_published(product, name):
    way = models.go(product, name, product.workspace / "given" / name)
    assert (way.wrong, way.done[-1]) == ("", "package")
    assert set(way.texts) == {"trained", "asked", "published"}
    assert len(set(way.texts.values())) == 1
    assert models.QUESTION in way.texts["published"]
    assert "You are Qwen" not in way.texts["published"]


def test_what_cannot_be_trained_is_told_at_once(product):
    way = models.go(product, UNTRAINABLE, product.workspace / "given" / UNTRAINABLE)
    assert (way.trainable, way.done) == (False, ["link"])
    assert "modeling_minicpm.py" in way.texts["why"]
