"""Model directories with a randomly damaged file: each is inspected as by the pages, with or without problems."""

import random
from pathlib import Path

from core.ground.problem import Problem
from core.models import chat_template, family, fingerprint, place, shape, weights
from core.models import model as models
from tests.fakes.model import write_model
from tests.fuzz.damage import mutate, refusal

FILES = ("config.json", "tokenizer_config.json", "tokenizer.json", "model.safetensors.index.json", "*.safetensors")
FILES += ("special_tokens_map.json", "README.md", "config.json")
SPECIAL = '{"bos_token": {"content": "<s>"}, "additional_special_tokens": ["<|x|>"]}'


def trial(directory: Path, rng: random.Random) -> None:
    """Inspect one model; raises what is wrong."""
    path = write_model(directory / "model", shards=rng.choice((1, 2)))
    (path / "special_tokens_map.json").write_text(SPECIAL)
    for name in rng.sample(FILES, rng.randint(1, 2)):
        for file in list(path.glob(name))[:1]:
            content = file.read_bytes()
            # Of weights, only the header is read.
            head = content[:2000] if file.suffix == ".safetensors" else content
            file.write_bytes(mutate(head, rng) + content[len(head) :])
    if rng.random() < 0.1:
        (path / "adapter_config.json").write_bytes(mutate(b'{"base_model_name_or_path": "x/y", "r": 8}', rng))
    # The parts, whose exceptions `look` would turn into a problem; templates are not rendered each time.
    found = weights.examine(path)[2]
    assert all(isinstance(problem, Problem) and len(problem.message.en) < 1000 for problem in found)
    chat_template.read(path)
    chat_template.stamp(path)
    fingerprint.fingerprint(path)
    models.look(path) if rng.random() < 0.02 else None
    family.size_of(models.Model(name="x", path=path))
    form = shape.shape(path)
    if form is not None:
        assert form.parameters >= 0
        shape.typical(form.parameters or 1)
    shape.layers(path)
    shape.knows_sdpa(path)
    refusal(lambda: place.refuse_no_model(path))
