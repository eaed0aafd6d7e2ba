"""The content of an upload, in memory or on disk. tests/e2e checks that large ones go to disk."""

from pathlib import Path

from streamlit.proto.Common_pb2 import FileURLs
from streamlit.runtime.uploaded_file_manager import UploadedFile, UploadedFileRec

from pages.components.server import uploads


def uploaded(file_id: str, data: bytes) -> UploadedFile:
    return UploadedFile(UploadedFileRec(file_id=file_id, name="a.png", type="image/png", data=data), FileURLs())


def test_the_content_of_a_small_one_and_of_a_large_one(tmp_path: Path, monkeypatch):
    large = tmp_path / "large"
    large.write_bytes(b"pixels")
    monkeypatch.setattr(uploads, "_HERE", {"large": large})
    assert uploads.content(uploaded("small", b"few")) == b"few"
    assert uploads.content(uploaded("large", b"")) == b"pixels"
    assert not large.exists()
