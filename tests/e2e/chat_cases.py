"""The chat's decoding against `generate` with PEFT, on the demo model, in one process: `chat_cases WORKSPACE RUN`."""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.engine.workers import answering
from core.engine.workers.adapter import read_adapter
from core.engine.workers.answering import Answer, plainly
from core.engine.workers.decoding import Decoder, Draw, Row
from core.ground import garbage

WORKSPACE, RUN = map(Path, sys.argv[1:3])
BASE = WORKSPACE / "models" / "demo"
QUESTIONS = ["请介绍一下你自己", "你在实战营做什么", "法国的首都是哪里？", "Who are you?", "2加3等于几？"]
TOKENIZER = AutoTokenizer.from_pretrained(BASE, trust_remote_code=True)
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")


def model():
    return AutoModelForCausalLM.from_pretrained(BASE, torch_dtype="auto", trust_remote_code=True).eval()


def ids(question):
    return TOKENIZER(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n").input_ids


def written(steps):
    """Return the tokens of each row up to its end."""
    rows = [list(row) for row in zip(*steps, strict=True)]
    return [row[: row.index(END)] if END in row else row for row in rows]


def generated(peft, question):
    prompt = torch.tensor([ids(question)])
    options = {"attention_mask": torch.ones_like(prompt), "max_new_tokens": 48, "do_sample": False}
    out = peft.generate(input_ids=prompt, eos_token_id=END, pad_token_id=2, **options)[0, prompt.shape[1] :].tolist()
    return out[: out.index(END)] if END in out else out


def main():
    decoder = Decoder(model())
    decoder.adapters.add("tuned", read_adapter(RUN / "adapter"))
    peft = PeftModel.from_pretrained(model(), str(RUN / "adapter")).eval()
    with torch.inference_mode():
        tuned = [generated(peft, question) for question in QUESTIONS]
        with peft.disable_adapter():
            base = [generated(peft, question) for question in QUESTIONS]
    greedy = Draw()
    pairs = [written(decoder.write([Row(ids(q)), Row(ids(q), "tuned")], 48, greedy)) for q in QUESTIONS]
    # All in one batch: rows of different lengths whose adapters alternate.
    rows = [Row(ids(q), adapter) for q in QUESTIONS for adapter in ("tuned", None)]
    mixed = written(decoder.write(rows, 48, greedy))
    draw = Draw(temperature=0.9, top_p=0.9, seed=7)
    twins = written(decoder.write([Row(ids("你好"), "tuned")] * 2, 24, draw))
    again = written(decoder.write([Row(ids("你好"), "tuned")], 24, draw))
    other = written(decoder.write([Row(ids("你好"), "tuned")], 24, Draw(temperature=5.0, top_p=1.0, seed=8)))
    # As in a CUDA graph: every step attends to the entire cache.
    batch = decoder.batch([None, "tuned"], 256)
    run = type(batch)._run
    type(batch)._run = lambda self, _: run(self, self.length)
    whole = written(decoder.write([Row(ids(QUESTIONS[0])), Row(ids(QUESTIONS[0]), "tuned")], 48, greedy))
    type(batch)._run = run
    decoder.forget("tuned")
    forgotten = decoder.adapters.names
    texts = []
    answer = Answer(TOKENIZER, 0, {END}, ["停"], 0.0)
    for token in TOKENIZER("小助手😀𠮷，停了", add_special_tokens=False).input_ids:
        if not answer.finish and answer.take(token):
            texts.append(answer.text)
    print()
    worker = object.__new__(answering.Worker)
    worker.base, worker.device = str(BASE), "cpu"
    found = []
    for available in (10**12, answering.weights_of(BASE)):
        answering.available_bytes = lambda available=available: available
        try:
            worker.look_for_room(BASE)
            found.append("room")
        except MemoryError:
            found.append("none")
    print(
        json.dumps(
            {
                "usable": decoder.usable,
                "pairs": pairs == [list(pair) for pair in zip(base, tuned, strict=True)],
                "mixed": mixed == [row for pair in zip(tuned, base, strict=True) for row in pair],
                "plain": written(plainly(decoder, [Row(ids(q)) for q in QUESTIONS[:2]], 48, greedy)) == base[:2],
                "whole": whole == [base[0], tuned[0]],
                "seed": [twins[0] == twins[1] == again[0], other[0] != again[0]],
                "differ": base[0] != tuned[0],
                "forgotten": forgotten,
                "room": found,
                "texts": texts,
            }
        )
    )


if __name__ == "__main__":
    garbage.resume()
    main()
