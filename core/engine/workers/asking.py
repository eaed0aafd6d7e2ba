"""Query the model being trained between two iterations: greedy answers to many prompts in one padded batch.

Runs inside the training process, for XTuner's evaluations and for early stopping. Consumes no random numbers and leaves
the training state unchanged. The base model's answers are cached for later runs.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.engine.workers import drafting, packed
from core.engine.workers.beginning import begun
from core.engine.workers.few_tokens import inference
from core.ground.kept_answers import KeptAnswers, key

# Where the base model's answers are cached.
KEPT = os.environ.get("XTUNER_STUDIO_ANSWERS")
# Padded tokens per batch when scoring given answers.
MOST_TOKENS = 2048
# Rows of the data in which what follows is looked up.
MOST_ROWS = 2000
# Tokens by which an answer may be longer than a taught one and still be it, since it may begin differently.
SPARE = 12


@dataclass(frozen=True)
class Said:
    """An answer: its tokens, including the one that ended it, and its text without that token."""

    ids: "list[int]" = field(default_factory=list)
    text: str = ""


@dataclass
class Heard:
    """What is known of a runner's model, whoever asked: its data's rows, texts that answers may repeat, and answers.

    These are those after `at` iterations. An answer may be only the beginning of what another question of the same prompt wants.
    """

    packs: bool | None = None
    rows: "list[list[int]] | None" = None
    drafts: "drafting.Drafts | None" = None
    at: int | None = None
    answers: "dict[str, list[int]]" = field(default_factory=dict)


class Asking:
    """Wraps a runner's model so that it can be queried."""

    def __init__(self, runner: Any, tokenizer: Any, stop_words: Sequence[str]) -> None:
        from mmengine.model import is_model_wrapper

        self.runner, self.tokenizer, self.stop_words = runner, tokenizer, list(stop_words)
        self.model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        plain = [tokenizer.encode(word, add_special_tokens=False) for word in self.stop_words]
        self.ends = [ids[0] for ids in plain if len(ids) == 1]
        if tokenizer.eos_token_id is not None:
            self.ends.append(tokenizer.eos_token_id)
        # All ranks must do the same work, whatever one of them finds on its disk.
        self.alone = runner.world_size == 1
        self.kept = KeptAnswers(Path(KEPT) if KEPT and self.alone else None)
        # The previous answer to each prompt, without the base model's.
        self.before: dict[str, list[int]] = {}
        self.heard: Heard = vars(runner).setdefault("studio_heard", Heard())

    def ask(
        self,
        prompts: Sequence[str],
        most: int,
        *,
        base: bool = False,
        at: "int | None" = None,
        enough: "Callable[[str], bool] | None" = None,
        check: "Callable[[], None]" = lambda: None,
    ) -> "list[Said]":
        """Return the answer to each prompt; an answer ends after `most` tokens or when `enough(text)` holds.

        `base`: without what was learned, at the start of training or with the adapter disabled. `at`: the iterations
        that are done; what was answered after as many is not asked again. `check` is called at each token and may
        raise.
        """
        asked = {prompt: self._key(prompt, most) for prompt in prompts} if base and enough is None else {}
        known = {prompt: Said(**kept) for prompt, name in asked.items() if (kept := self.kept.get(name))}
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
        drafts = self._drafts()
        begun_with = [[] for _ in missing] if base else self._begun_with(missing, at)
        pairs = [(prompt, self._cut(ids, most, enough)) for prompt, ids in zip(missing, begun_with, strict=True)]
        answers = {prompt: ids for prompt, ids in pairs if self._over(ids, most, enough)}
        rest = [pair for pair in pairs if pair[0] not in answers]
        if rest:
            answers.update(self._generate(rest, most, base=base, enough=enough, check=check))
        known.update({prompt: self._said(ids) for prompt, ids in answers.items()})
        if drafts is not None:
            for prompt in dict.fromkeys(prompts):
                drafts.add(begun(self.tokenizer, prompt) + known[prompt].ids)
        if not base:
            self.before.update(answers)
            if at is not None and self.alone:
                self.heard.answers.update({prompt: answers[prompt] for prompt, _ in rest})
        self.kept.keep({asked[prompt]: vars(known[prompt]) for prompt in missing if prompt in asked})
        return [known[prompt] for prompt in prompts]

    def taught(self, prompt: str) -> int:
        """Return the tokens of the longest answer that the data give to a prompt; 0 if they give none."""
        asked = begun(self.tokenizer, prompt)
        return max((len(row) - len(asked) for row in self._trained_on() if row[: len(asked)] == asked), default=0)

    def agreed(self, prompts: Sequence[str], answers: "Sequence[list[int]]") -> "list[int]":
        """Return, per given answer, how many of its tokens the model would choose too, given the tokens before."""
        pairs = zip(self._chosen(prompts, answers), answers, strict=True)
        return [sum(one == other for one, other in zip(chosen, ids, strict=True)) for chosen, ids in pairs]

    def _begun_with(self, prompts: Sequence[str], at: "int | None") -> "list[list[int]]":
        """Return what is known of each answer: what was said in this state of the weights, or is said again."""
        if at is not None and self.alone:
            if self.heard.at != at:
                self.heard.at, self.heard.answers = at, {}
            if any(prompt in self.heard.answers for prompt in prompts):
                return [self.heard.answers.get(prompt, []) for prompt in prompts]
        # Drafts do it while they write.
        return [[] for _ in prompts] if self._drafts() is not None else self._said_again(prompts)

    def _cut(self, ids: "list[int]", most: int, enough: "Callable[[str], bool] | None") -> "list[int]":
        """Return an answer as far as it is wanted."""
        return next((ids[:end] for end in range(1, len(ids)) if self._over(ids[:end], most, enough)), ids)

    def _said_again(self, prompts: Sequence[str]) -> "list[list[int]]":
        """Return the part of each previous answer that the model still gives, plus its next token.

        One forward pass checks a previous answer, where generating it takes one per token.
        """
        guesses = [self.before.get(prompt, []) if self.alone else [] for prompt in prompts]
        found = []
        for guess, chosen in zip(guesses, self._chosen(prompts, guesses) if any(guesses) else guesses, strict=True):
            differs = (place for place, (one, other) in enumerate(zip(guess, chosen, strict=True)) if one != other)
            found.append(chosen[: next(differs, len(guess)) + 1])
        return found

    def _chosen(self, prompts: Sequence[str], answers: "Sequence[list[int]]") -> "list[list[int]]":
        """Return the token the model would choose at each position of the given answers, given the tokens before."""
        import torch

        rows = [(begun(self.tokenizer, prompt), ids) for prompt, ids in zip(prompts, answers, strict=True)]
        if self._drafts() is not None:
            with inference(self.model, self.runner.optim_wrapper):
                return packed.chosen(self._plain, [prompt for prompt, _ in rows], answers)
        order = sorted(range(len(rows)), key=lambda n: len(rows[n][0]) + len(rows[n][1]))
        found: list[list[int]] = [[] for _ in rows]
        plain = self._plain
        inner = plain.get_decoder() if hasattr(plain, "get_decoder") else plain.base_model
        head = plain.get_output_embeddings()
        with inference(self.model, self.runner.optim_wrapper):
            while order:
                longest = len(rows[order[-1]][0]) + len(rows[order[-1]][1])
                count = max(1, MOST_TOKENS // longest)
                order, part = order[:-count], order[-count:]
                ids = torch.zeros(len(part), longest, dtype=torch.long, device=self.device)
                mask = torch.zeros_like(ids)
                for place, number in enumerate(part):
                    whole = rows[number][0] + rows[number][1]
                    # Right-padded: causal attention ignores what follows an answer.
                    ids[place, : len(whole)] = torch.tensor(whole)
                    mask[place, : len(whole)] = 1
                hidden = inner(input_ids=ids, attention_mask=mask, use_cache=False)[0]
                for place, number in enumerate(part):
                    first, answer = len(rows[number][0]) - 1, rows[number][1]
                    # Logits for the answers alone: a vocabulary has a hundred thousand entries.
                    found[number] = head(hidden[place, first : first + len(answer)]).argmax(-1).tolist()
        return found

    @property
    def adapted(self) -> bool:
        """Whether the adapter can be disabled temporarily."""
        return hasattr(self.model.llm, "disable_adapter")

    @property
    def _plain(self) -> Any:
        """The language model itself, with the adapter's layers in it."""
        return self.model.llm.get_base_model() if self.adapted else self.model.llm

    @property
    def device(self) -> Any:
        return next(iter(self.model.parameters())).device

    def _key(self, prompt: str, most: int) -> str:
        quantised = getattr(self.model.llm.config, "quantization_config", None)
        precision = [self.device.type, str(self.model.llm.dtype), str(quantised) if quantised else ""]
        return key("trainer", prompt, self.stop_words, most, precision)

    def _generate(
        self,
        asked: "list[tuple[str, list[int]]]",
        most: int,
        *,
        base: bool,
        enough: "Callable[[str], bool] | None",
        check: "Callable[[], None]",
    ) -> "dict[str, list[int]]":
        """Generate the complete answer to each prompt, starting with the given tokens."""
        drafts = self._drafts()
        if drafts is not None:
            left_out = self.model.llm.disable_adapter() if base and self.adapted else contextlib.nullcontext()
            prompts = [begun(self.tokenizer, prompt) + given for prompt, given in asked]

            def ended(row: int, ids: "list[int]") -> bool:
                return self._over(asked[row][1] + ids, most, enough)

            with inference(self.model, self.runner.optim_wrapper), left_out:
                said = drafting.write(self._plain, prompts, drafts, most, ended, check)
            return {prompt: given + ids for (prompt, given), ids in zip(asked, said, strict=True)}
        import torch
        from transformers import StoppingCriteria, StoppingCriteriaList

        llm, ends, over = self.model.llm, self.ends, self._over
        encoded = [begun(self.tokenizer, prompt) + given for prompt, given in asked]
        longest, pad = max(map(len, encoded)), ends[-1] if ends else 0
        rows = [[pad] * (longest - len(ids)) + ids for ids in encoded]
        masks = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in encoded]
        answers: dict[int, list[int]] = {}

        class Over(StoppingCriteria):
            """Ends each finished row, also at stop words that are not single tokens."""

            def __call__(self, input_ids: Any, *_: Any, **__: Any) -> Any:
                check()
                for row, ids in enumerate(input_ids[:, longest:].tolist()):
                    whole = asked[row][1] + ids
                    if row not in answers and over(whole, most, enough):
                        answers[row] = whole
                return torch.tensor([row in answers for row in range(len(rows))], device=input_ids.device)

        left_out = llm.disable_adapter() if base and self.adapted else contextlib.nullcontext()
        with inference(self.model, self.runner.optim_wrapper), left_out:
            llm.generate(
                input_ids=torch.tensor(rows, device=self.device),
                attention_mask=torch.tensor(masks, device=self.device),
                max_new_tokens=most - min(len(given) for _, given in asked),
                do_sample=False,
                eos_token_id=ends or None,
                pad_token_id=pad,
                stopping_criteria=StoppingCriteriaList([Over()]),
            )
        return {prompt: answers[row] for row, (prompt, _) in enumerate(asked)}

    def _drafts(self) -> "drafting.Drafts | None":
        """Return the texts that an answer may repeat: the data's, and all previous answers; None if of no use here."""
        if self.heard.packs is None:
            with inference(self.model, self.runner.optim_wrapper):
                self.heard.packs = self.alone and packed.fits(self._plain)
        if not self.heard.packs:
            return None
        if self.heard.drafts is None:
            self.heard.drafts = drafting.Drafts(self._trained_on())
        return self.heard.drafts

    def _trained_on(self) -> "list[list[int]]":
        """Return the tokens of the data's first rows."""
        if self.heard.rows is None:
            loader = getattr(self.runner, "train_dataloader", None)
            dataset = getattr(loader, "dataset", None) or ()
            self.heard.rows = [dataset[row]["input_ids"] for row in range(min(MOST_ROWS, len(dataset)))]
        return self.heard.rows

    def _over(self, ids: "list[int]", most: int, enough: "Callable[[str], bool] | None") -> bool:
        """Return whether an answer ends with these tokens."""
        if not ids:
            return False
        if ids[-1] in self.ends or len(ids) >= most:
            return True
        text = self._decoded(ids)
        return any(word in text for word in self.stop_words) or bool(enough and enough(text))

    def _said(self, ids: "list[int]") -> Said:
        """Cut a row at its end token and drop the padding."""
        end = next((place for place, token in enumerate(ids) if token in self.ends), len(ids))
        text = self._decoded(ids[:end])
        for word in self.stop_words:
            text = text.partition(word)[0]
        return Said(ids[: end + 1], text.strip())

    def _decoded(self, ids: "list[int]") -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)
