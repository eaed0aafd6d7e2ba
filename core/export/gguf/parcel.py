"""Ways to download a GGUF file: a zip through the browser if it is small enough, else rsync or scp.

An interrupted browser download starts over, and Streamlit holds the file in memory meanwhile; rsync resumes.
"""

import io
import shlex
import zipfile
from pathlib import Path

from core.ground.figures import duration
from core.ground.text import Text
from core.ground.tunnel import login_of_server

MOST_BYTES = 600_000_000
# Typical speed of a tunnel over a home connection, for the estimate.
BYTES_PER_SECOND = 2_000_000
_BESIDE = ("Modelfile", "README.md")


def parcel(file: Path) -> bytes:
    """Return the file and its texts as a zip of one directory; not compressed, since weights do not shrink."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in (file.name, *_BESIDE):
            archive.write(file.with_name(name), f"{file.stem}/{name}")
    return held.getvalue()


def time_for(count: int) -> Text:
    """Return the approximate download time."""
    return duration(count / BYTES_PER_SECOND)


def fetch_lines(file: Path) -> list[str]:
    """Return the commands to download the file's directory: rsync resumes; Windows has scp."""
    login = login_of_server()
    port, there = login.get("port", "22"), f"{login['user']}@HOST:{shlex.quote(str(file.parent))}"
    return [
        f'rsync -rP -e "ssh -p {port}" {there}/ {file.stem}/',
        f"scp -r -P {port} {there} {file.stem}",
    ]
