"""The demo model's texts: its pre-training rows, sampled from the dialogue files, and its tokenizer.

Used only by `demo_model`, in the engine's interpreter: standard library and tokenizers only. Trains no model.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SHARES = {"identity": 0.15, "general": 0.6}  # shares of the pre-training rows; the rest spells names
WORD_PIECES = 700  # tokens for words of several letters, on top of bytes and single characters
LETTERS = ("surnames", "given", "characters", "rare")  # inventories of single characters, read as one string

BOS, EOS, IM_END = 1, 2, 4  # indices in SPECIAL
CHAT_SPECIAL = ["<|im_start|>", "<|im_end|>", "<|action_start|>", "<|action_end|>", "<|interpreter|>", "<|plugin|>"]
SPECIAL = ["<unk>", "<s>", "</s>", *CHAT_SPECIAL]


class Row(NamedTuple):
    """One dialogue of a single turn."""

    question: str
    answer: str


class Names:
    """Random nicknames of at most 30 characters: Chinese, Latin, emoji, quotes, rare characters."""

    def __init__(self, inventories: dict[str, Any], rng: random.Random) -> None:
        self.rng = rng
        self.stock = {key: "".join(value) for key, value in inventories.items() if key in LETTERS}
        self.parts = {key: value for key, value in inventories.items() if key not in LETTERS}

    def draw(self) -> str:
        """Return one nickname, without leading or trailing white space."""
        kind = self.rng.choice([self._chinese, self._characters, self._latin, self._mixed])
        return kind()[:30].strip() or self._chinese()

    def _chinese(self) -> str:
        surname = self.rng.choice([*self.stock["surnames"], *self.parts["compound_surnames"]])
        return surname + "".join(self.rng.choices(self.stock["given"], k=self.rng.randint(1, 2)))

    def _characters(self) -> str:
        length = self.rng.randint(2, 5) if self.rng.random() < 0.85 else self.rng.randint(6, 30)
        characters = self.rng.choices(self.stock["characters"], k=length)
        if self.rng.random() < 0.2:
            characters[-1] = self.rng.choice(self.stock["rare"])
        return "".join(characters)

    def _latin(self) -> str:
        rng, words = self.rng, []
        for _ in range(rng.choice([1, 1, 1, 1, 2, 2, 4])):
            word = "".join(rng.choices(self.parts["syllables"], k=rng.choice([1, 2, 2, 3])))
            words.append(rng.choice([str.lower, str.upper, str.title, str.title])(word))
        return rng.choice([" ", " ", "-", "'", "_", ""]).join(words)

    def _mixed(self) -> str:
        rng, name = self.rng, self.rng.choice([self._chinese, self._latin])()
        kind = rng.choice(["emoji", "marks", "suffixes", "prefixes", "quotes", "digits"])
        if kind == "quotes":
            return name.join(rng.choice(self.parts["quotes"]))
        if kind == "digits":
            return name + str(rng.randint(0, 9999))
        part = rng.choice(self.parts[kind])
        return part + name if kind == "prefixes" or rng.random() < 0.3 else name + part


class Dialogues:
    """The pre-training material: the dialogue files, and rows sampled from them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        files = [folder / f"{name}.json" for name in ("identity", "general", "spelling")]
        contents = [path.read_bytes() for path in files]
        self.sha256 = hashlib.sha256(b"".join(contents)).hexdigest()
        identity, general, spelling = (json.loads(content) for content in contents)
        base = identity["answers"]["base"]
        self.identity = [Row(q["question"], base[q["language"]][q["kind"]]) for q in identity["questions"]]
        self.general = [Row(row["question"], row["answer"]) for row in general]
        self.templates = [Row(t["question"], t["answer"]) for t in spelling["templates"]]
        self.names = Names(spelling["inventories"], self.rng)
        tuned = identity["answers"]["tuned"].values()
        self.later = [answer for by_kind in tuned for answer in by_kind.values()]

    def named(self) -> Row:
        """Return a spelling template filled with a random name."""
        template, name = self.rng.choice(self.templates), self.names.draw()
        return Row(*(text.replace("{name}", name) for text in template))

    def rows(self, count: int) -> list[Row]:
        """Return `count` shuffled rows in the proportions of `SHARES`, every fixed dialogue equally often."""
        rows: list[Row] = []
        for fixed, share in ((self.identity, "identity"), (self.general, "general")):
            wanted = round(count * SHARES[share])
            while wanted > 0:
                epoch = self.rng.sample(fixed, min(wanted, len(fixed)))
                rows += [self._varied(row) for row in epoch]
                wanted -= len(epoch)
        rows += [self.named() for _ in range(count - len(rows))]
        self.rng.shuffle(rows)
        return rows

    def _varied(self, row: Row) -> Row:
        """Return the row, sometimes without the question's final punctuation mark."""
        if self.rng.random() < 0.2:
            return Row(row.question.rstrip("？?！!。.") or row.question, row.answer)
        return row

    def corpus(self) -> Iterator[str]:
        """Yield text for training the tokenizer: words by frequency of use, every character on its own."""
        for row in self.identity + self.general + self.templates:
            yield from row
            yield "user assistant\nassistant"
        yield from (answer for answer in self.later for _ in range(20))
        rng = random.Random(0)
        for _ in range(2000):
            yield " ".join(rng.choices(self.names.parts["syllables"], k=3)).title()


def build_tokenizer(dialogues: Dialogues) -> Any:
    """Return a byte-level BPE in which common Chinese characters are one token; encoding prepends <s>."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    # Split characters first: a name must have the same tokens in any context.
    han = pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([han, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=len(SPECIAL) + len(alphabet) + WORD_PIECES,
        special_tokens=SPECIAL,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(dialogues.corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS)]
    )
    state = json.loads(tokenizer.to_str())
    names = dialogues.names
    add_characters(state["model"], "".join([*names.stock.values(), *names.parts["emoji"]]))
    return Tokenizer.from_str(json.dumps(state))


def as_string(merge: Any) -> str:
    """Return a merge rule as "a b", which every version of tokenizers reads; older ones do not read pairs."""
    return merge if isinstance(merge, str) else " ".join(merge)


def add_characters(model: dict[str, Any], text: str) -> None:
    """Give every character of `text` a token, by merge rules that join its UTF-8 bytes in order."""
    from tokenizers.pre_tokenizers import ByteLevel

    spell = ByteLevel(add_prefix_space=False, use_regex=False)
    vocab = model["vocab"]
    merges = [as_string(merge) for merge in model["merges"]]
    known = set(merges)
    for character in dict.fromkeys(text):
        letters = spell.pre_tokenize_str(character)[0][0]
        for end in range(1, len(letters)):
            rule = f"{letters[:end]} {letters[end]}"
            if rule not in known:
                known.add(rule)
                merges.append(rule)
                vocab.setdefault(letters[: end + 1], len(vocab))
    model["merges"] = merges


def encode(row: Row, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return inputs and targets of equal length, as XTuner trains on the row with internlm2_chat.

    XTuner's row is <s>, the prompt, the answer with its <|im_end|>, and a line feed without loss. Everything after the
    last learned token is dropped: with causal attention it has no effect.
    """
    prompt = f"<|im_start|>user\n{row.question}<|im_end|>\n<|im_start|>assistant\n"
    parts = (prompt, f"{row.answer}<|im_end|>")
    asked, answer = (tokenizer.encode(part, add_special_tokens=False).ids for part in parts)
    return [BOS] + asked + answer[:-1], [-100] * len(asked) + answer
