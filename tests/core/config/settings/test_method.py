"""What a config trains and how, read from its text."""

import pytest

from core.config.settings import method
from core.engine.config_file import ConfigFile

ONE = "train_dataloader = dict(dataset=dict(type=process_hf_dataset"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{ONE}, template_map_fn=dict(template=PROMPT_TEMPLATE.qwen_chat)))", "qwen_chat"),
        (f"prompt_template = PROMPT_TEMPLATE.default\n{ONE}, template_map_fn=dict(template=PROMPT_TEMPLATE.gemma)))", "gemma"),
        ("prompt_template = PROMPT_TEMPLATE.gemma\ntrain_dataloader = dict(dataset=dict(type=ConcatDataset))", "gemma"),
        ("custom_hooks = [dict(type=EvaluateChatHook, prompt_template=PROMPT_TEMPLATE.gemma)]", "gemma"),
        (f"prompt_template = PROMPT_TEMPLATE.gemma\n{ONE}, template_map_fn=None))", None),
        ("x = 1", None),
    ],
)  # fmt: skip
def test_the_template_that_the_data_is_wrapped_in(text, name):
    found = method.prompt_template(ConfigFile(text))
    assert (found and found.name) == name
