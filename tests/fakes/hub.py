"""A hub on 127.0.0.1: the parts of Hugging Face's and ModelScope's interfaces that their download clients use.

It can require a token, truncate a file, send a wrong one and be slow, and it counts what it sent.
"""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """One repository, `org/NAME`, with the files of a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.token: str | None = None
        # By file: bytes to send before the connection is cut, once.
        self.cuts: dict[str, int] = {}
        # Files to send with wrong bytes, and how often.
        self.wrong: Counter[str] = Counter()
        self.seconds_per_block = 0.0
        # Where it redirects requests for a large file.
        self.elsewhere: str | None = None
        self.sent: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.address = ""

    @property
    def repository(self) -> str:
        return f"org/{self.directory.name}"

    def files(self) -> list[Path]:
        return sorted(path for path in self.directory.rglob("*") if path.is_file())


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` at `hub.address` during the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:  # noqa: N802
            self.answer(body=False)

        def do_GET(self) -> None:  # noqa: N802
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            parts = urlsplit(self.path)
            path, query = unquote(parts.path), {key: value[0] for key, value in parse_qs(parts.query).items()}
            said = self.headers.get("Authorization", "") + self.headers.get("Cookie", "")
            if hub.token and hub.token not in said:
                self.tell({"error": "token", "Message": "token"}, 401)
            elif path.startswith(f"/api/models/{hub.repository}"):
                self.tell(self.model_info())
            elif path.startswith(f"/api/v1/models/{hub.repository}/repo/files"):
                self.tell({"Code": 200, "Success": True, "Data": {"Files": self.listing()}})
            elif path == f"/api/v1/models/{hub.repository}/repo":
                self.file(query["FilePath"], body=body)
            elif path.startswith(f"/{hub.repository}/resolve/"):
                self.file(path.split("/", 5)[5], body=body)
            else:
                self.tell({"error": "not found", "Code": 404, "Message": "not found"}, 404)

        def model_info(self) -> dict:
            siblings = []
            for file in hub.files():
                content, name = file.read_bytes(), str(file.relative_to(hub.directory))
                blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
                entry = {"rfilename": name, "size": len(content), "blobId": blob}
                if name.endswith(".safetensors"):
                    entry["lfs"] = {
                        "sha256": hashlib.sha256(content).hexdigest(),
                        "size": len(content),
                        "pointerSize": 134,
                    }
                siblings.append(entry)
            return {"id": hub.repository, "modelId": hub.repository, "sha": COMMIT, "siblings": siblings, "tags": []}

        def listing(self) -> list[dict]:
            return [
                {
                    "Path": str(file.relative_to(hub.directory)),
                    "Name": file.name,
                    "Size": file.stat().st_size,
                    "Sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                    "Type": "blob",
                    "Revision": COMMIT,
                }
                for file in hub.files()
            ]

        def file(self, name: str, *, body: bool) -> None:
            path = hub.directory / name
            if not path.is_file():
                self.tell({"error": "entry"}, 404)
                return
            if hub.elsewhere and name.endswith(".safetensors"):
                self.send_response(302)
                self.send_header("Location", f"{hub.elsewhere}/{name}")
                self.send_header("Content-Length", "0")
                # Like Hugging Face, so that its client follows.
                self.send_header("X-Linked-Size", str(path.stat().st_size))
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", '"x"')
                self.end_headers()
                return
            content = path.read_bytes()
            digest, size = hashlib.sha256(content).hexdigest(), len(content)
            if body and hub.wrong[name] > 0:
                hub.wrong[name] -= 1
                content = bytes(byte ^ 1 for byte in content)
            start = 0
            if asked := self.headers.get("Range"):
                hub.ranges.append(f"{name} {asked}")
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start = int(first or 0)
                content = content[start : int(last) + 1 if last else None]
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{start + len(content) - 1}/{size}")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{digest}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Size", str(size))
            self.end_headers()
            if not body:
                return
            most = hub.cuts.pop(name, None)
            for at in range(0, len(content), 4096):
                block = content[at : at + 4096]
                if most is not None and at + len(block) > most:
                    self.close_connection = True
                    self.connection.close()
                    return
                try:
                    self.wfile.write(block)
                except OSError:
                    return
                hub.sent[name] += len(block)
                time.sleep(hub.seconds_per_block)

        def tell(self, value: dict, code: int = 200) -> None:
            content = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
