"""A fake chat worker that speaks the protocol and answers with the prompt and the side."""

import json
import os
import socket
import sys
import time

from core.ground.progress import progress_file, write_progress


def main() -> None:
    """Serve; the prompt determines what goes wrong."""
    directory = os.open(progress_file().parent, os.O_RDONLY | os.O_DIRECTORY)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(f"/proc/self/fd/{directory}/socket")
    server.listen(8)
    write_progress(done=1.0, note="ready")
    while True:
        connection, _ = server.accept()
        with connection, connection.makefile("rw", encoding="utf-8") as stream:
            request = json.loads(stream.readline())
            if any("queue" in row["prompt"] for row in request["rows"]):
                stream.write(json.dumps({"queued": 2}) + "\n")
            for number, row in enumerate(request["rows"]):
                answer = f"{row['side']}: {row['prompt']}"
                if "die" in answer:
                    sys.exit(3)
                lines = [{"row": number, "text": answer[:3]}] if request["stream"] else []
                lines.append({"row": number, "answer": answer, "tokens": 1, "ttft_ms": 1.0, "tokens_per_s": None})
                if "fail" in answer:
                    lines = [{"error": "RuntimeError: as asked"}]
                if "hang" in answer:
                    time.sleep(600)
                for line in lines:
                    stream.write(json.dumps(line) + "\n")
            stream.write(json.dumps({"done": True}) + "\n")


if __name__ == "__main__":
    main()
