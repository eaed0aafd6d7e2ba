"""A hub on 127.0.0.1 that accepts a model: the parts of both hubs' interfaces that their clients use to upload files.

Imitates Hugging Face and ModelScope. Requires a token with write permission, keeps what is sent in memory, and can
break a connection.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_a-token-that-may-write"


class UploadHub:
    """A hub: its repositories' files by name, what was uploaded, and how often a large file still fails."""

    def __init__(self) -> None:
        self.address = ""
        self.files: dict[str, bytes] = {}
        self.large: dict[str, bytes] = {}
        self.put: list[str] = []
        self.failures = 0
        self.created: list[dict] = []


@contextmanager
def serve(hub: UploadHub) -> Iterator[UploadHub]:
    """Serve `hub` at `hub.address` during the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:  # noqa: N802
            path = urlsplit(self.path).path
            if not self.allowed():
                return
            if "/v1/" in path:
                self.modelscope(path)
            else:
                siblings = []
                for name, content in hub.files.items():
                    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
                    entry = {"rfilename": name, "size": len(content), "blobId": blob}
                    if name.endswith(".safetensors"):
                        digest = hashlib.sha256(content).hexdigest()
                        entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
                    siblings.append(entry)
                self.tell({"id": "me/model", "modelId": "me/model", "sha": COMMIT, "siblings": siblings, "tags": []})

        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not self.allowed():
                return
            path = urlsplit(self.path).path
            if path == "/api/v1/models" and hub.created:
                # The client asks for a public repository before every file; the name is taken.
                self.tell({"Code": 10010101001, "Success": False, "Message": "the name is taken"}, 400)
            elif path == "/api/v1/models":
                hub.created.append(json.loads(body))
                self.tell({"Code": 200, "Success": True, "Data": {"Name": "model", "Path": "me"}})
            elif path.startswith("/api/v1/repos/models/me/model/commit/"):
                for told in json.loads(body)["actions"]:
                    large = told["type"] == "lfs"
                    hub.files[told["path"]] = hub.large[told["sha256"]] if large else base64.b64decode(told["content"])
                self.tell({"Code": 200, "Success": True, "Data": {"CommitId": COMMIT}})
            elif path == "/api/repos/create":
                hub.created.append(json.loads(body))
                self.tell({"url": "https://huggingface.co/me/model", "name": "me/model", "id": "me/model"})
            elif path == "/api/validate-yaml":
                self.tell({"errors": [], "warnings": []})
            elif "/preupload/" in path:
                files = [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                        "shouldIgnore": False,
                    }
                    for file in json.loads(body)["files"]
                ]
                self.tell({"files": files})
            elif path.endswith("/info/lfs/objects/batch"):
                objects = []
                for asked in json.loads(body)["objects"]:
                    action = {"upload": {"href": f"{hub.address}/put/{asked['oid']}"}}
                    objects.append({**asked, **({} if asked["oid"] in hub.large else {"actions": action})})
                self.tell({"transfer": "basic", "objects": objects})
            elif "/commit/" in path:
                for line in map(json.loads, body.splitlines()):
                    told = line["value"]
                    if line["key"] == "file":
                        hub.files[told["path"]] = base64.b64decode(told["content"])
                    elif line["key"] == "lfsFile":
                        hub.files[told["path"]] = hub.large[told["oid"]]
                self.tell(
                    {
                        "success": True,
                        "commitOid": COMMIT,
                        "commitUrl": f"https://huggingface.co/me/model/commit/{COMMIT}",
                    }
                )
            else:
                self.tell({"error": path}, 404)

        def do_PUT(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if hub.failures > 0:
                hub.failures -= 1
                self.tell({"error": "busy"}, 500)
                return
            hub.large[self.path.rpartition("/")[2]] = body
            hub.put.append(self.path)
            self.tell({})

        def modelscope(self, path: str) -> None:
            """Answer as ModelScope about the repository, once it exists."""
            if not hub.created:
                self.tell({"Code": 404, "Success": False, "Message": "not found"}, 404)
            elif path.endswith("/repo/files"):
                files = [
                    {"Path": name, "Name": name, "Size": len(content), "Type": "blob",
                     "Sha256": hashlib.sha256(content).hexdigest()}
                    for name, content in hub.files.items()
                ]  # fmt: skip
                self.tell({"Code": 200, "Success": True, "Data": {"Files": files}})
            else:
                told = {"Name": "model", "Path": "me", "Id": 1}
                self.tell({"Code": 200, "Success": True, "Data": told, "success": True, "data": told})

        def allowed(self) -> bool:
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                return True
            self.tell({"error": "Invalid credentials"}, 401)
            return False

        def tell(self, value: dict, code: int = 200) -> None:
            content = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
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
