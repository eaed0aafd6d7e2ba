"""Downloads: a zip that unpacks into one directory, and commands that resume."""

import io
import zipfile

import pytest

from core.export.gguf.parcel import BYTES_PER_SECOND, fetch_lines, parcel, time_for


def test_the_zip(tmp_path):
    for name, text in (("a-q8_0.gguf", "weights"), ("Modelfile", "FROM"), ("README.md", "# a"), ("gguf.json", "{}")):
        (tmp_path / name).write_text(text)
    with zipfile.ZipFile(io.BytesIO(parcel(tmp_path / "a-q8_0.gguf"))) as archive:
        assert sorted(archive.namelist()) == ["a-q8_0/Modelfile", "a-q8_0/README.md", "a-q8_0/a-q8_0.gguf"]
        assert archive.read("a-q8_0/a-q8_0.gguf") == b"weights"


@pytest.mark.parametrize(("connection", "port"), [("", "22"), ("10.0.0.2 50000 10.0.0.9 37367", "37367")])
def test_lines_to_fetch_it(tmp_path, monkeypatch, connection, port):
    monkeypatch.setenv("SSH_CONNECTION", connection)
    monkeypatch.setenv("USER", "ming")
    place = tmp_path / "a b"
    rsync, scp = fetch_lines(place / "x-f16.gguf")
    assert rsync == f"rsync -rP -e \"ssh -p {port}\" ming@HOST:'{place}'/ x-f16/"
    assert scp == f"scp -r -P {port} ming@HOST:'{place}' x-f16"


def test_how_long():
    assert time_for(60 * BYTES_PER_SECOND).en.startswith("1 min")
