"""How a GGUF file gets home: as one zip through the browser where it is small enough, else by rsync or scp, which go on.

A browser's download begins again where it was cut, and Streamlit holds it in memory meanwhile.
"""

import io
import shlex
import zipfile
from pathlib import Path

from core.ground.figures import duration
from core.ground.text import Text
from core.ground.tunnel import login_of_server

MOST_BYTES = 600_000_000
# What a tunnel over a home's line brings, to say how long.
BYTES_PER_SECOND = 2_000_000
_BESIDE = ("Modelfile", "README.md")


def parcel(file: Path) -> bytes:
    """The file with what lies beside it, as a zip of one directory. Weights do not get smaller, so nothing is compressed."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in (file.name, *_BESIDE):
            archive.write(file.with_name(name), f"{file.stem}/{name}")
    return held.getvalue()


def time_for(count: int) -> Text:
    """About how long so many bytes take."""
    return duration(count / BYTES_PER_SECOND)


def fetch_lines(file: Path) -> list[str]:
    """What is typed at home to fetch the file's directory: rsync goes on where it was cut; Windows has scp."""
    login = login_of_server()
    port, there = login.get("port", "22"), f"{login['user']}@HOST:{shlex.quote(str(file.parent))}"
    return [
        f'rsync -rP -e "ssh -p {port}" {there}/ {file.stem}/',
        f"scp -r -P {port} {there} {file.stem}",
    ]
