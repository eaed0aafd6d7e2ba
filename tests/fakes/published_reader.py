"""Opens a published app and asks it questions like a reader: `python published_reader.py PACKAGE [--alone] QUESTION…`.

Runs in the app's own environment, where nothing of this project can be imported. Prints JSON objects, one per line:
first with the model before training next to it, if the app offers that; with `--alone` the first question once more,
without BASE_MODEL, which an adapter cannot do without. Each has the final `answers` and `befores`; `growing` (in how
many texts the first answers were drawn), `card` (the texts of the model card), `toggles`, `headings`, `seconds` (to the
first page, then per question).
"""

import json
import os
import sys
import time
from pathlib import Path

import streamlit
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

DRAWN: list[str] = []
MOST_SECONDS = 600


def watch() -> None:
    """Record every text that is drawn."""
    draw = DeltaGenerator.text

    def noted(self, body, **options):  # noqa: ANN001, ANN003, ANN202
        DRAWN.append(str(body))
        return draw(self, body, **options)

    DeltaGenerator.text = noted


def ask(package: Path, questions: list[str]) -> dict:
    """Open the app and ask."""
    began = time.monotonic()
    page = AppTest.from_file(str(package / "app.py"), default_timeout=MOST_SECONDS).run()
    seconds = [time.monotonic() - began]
    toggles = [toggle.value for toggle in page.toggle]
    if page.toggle and not page.toggle[0].value:
        page.toggle[0].set_value(True).run()
    card = [markdown.value for markdown in page.expander[0].markdown]
    growing = 0
    for number, question in enumerate(questions):
        DRAWN.clear()
        began = time.monotonic()
        page.chat_input[0].set_value(question).run()
        seconds.append(time.monotonic() - began)
        assert not page.exception, page.exception
        growing = growing if number else len({text for text in DRAWN if text.strip("… ")})
    said = [[text.value for text in message.text] for message in page.chat_message if message.name == "assistant"]
    captions = [[caption.value for caption in message.caption] for message in page.chat_message]
    return {
        "answers": [texts[-1] for texts in said],
        "befores": [texts[0] for texts in said if len(texts) > 1],
        "headings": captions[-1],
        "growing": growing,
        "card": card,
        "toggles": toggles,
        "seconds": seconds,
    }


if __name__ == "__main__":
    watch()
    words = [word for word in sys.argv[2:] if word != "--alone"]
    print(json.dumps(ask(Path(sys.argv[1]), words)), flush=True)
    if "--alone" in sys.argv:
        os.environ.pop("BASE_MODEL", None)
        streamlit.cache_resource.clear()
        print(json.dumps(ask(Path(sys.argv[1]), words[:1])))
