"""A run's GGUF files, downloaded: zipped, unpacked in an empty directory, and asked where there is only llama.cpp.

    BENCHMARK_WORKSPACE=DIR python -m benchmarks.taken_home [--run R]

DIR is a workspace with a run whose GGUF files exist; the newest, or R. llama.cpp is `xllamacpp` in an environment that
contains nothing else, asked over its own chat endpoint with one thread.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.measure import WORKSPACE, say, write
from core.export.gguf import conversion, llama_cpp
from core.export.gguf.parcel import parcel
from core.ground.workspace import Workspace
from core.training import run as runs

# The program that runs there, with only the standard library and xllamacpp: FILE QUESTION…
ALONE = """
import importlib.metadata, json, os, sys, time, urllib.request, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.cpuparams.n_threads = sys.argv[1], 2048, 1, 1
params.warmup = params.fit_params = False
began = time.monotonic()
server = xllamacpp.Server(params)
seconds, answers = [time.monotonic() - began], []
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for question in sys.argv[2:]:
    began = time.monotonic()
    asked = json.dumps({"messages": [{"role": "user", "content": question}], "temperature": 0}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.listening_address + "/v1/chat/completions", asked, headers)
    answers.append(json.load(opener.open(request, timeout=600))["choices"][0]["message"]["content"])
    seconds.append(time.monotonic() - began)
packages = sorted(one.name for one in importlib.metadata.distributions())
print(json.dumps({"seconds": seconds, "answers": answers, "packages": packages}), flush=True)
os._exit(0)
"""


def environment(place: Path) -> Path:
    """Return the Python of a new environment that contains only llama.cpp."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    package = llama_cpp.package()
    wanted, target = f"{package.name}=={package.version}", place / "lib" / "llama"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wanted]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "llama.pth").write_text(f"{target}\n")
    return place / "bin" / "python"


def asked(python: Path, archive: bytes, place: Path, questions: tuple[str, ...]) -> dict[str, Any]:
    """Ask llama.cpp with the file from a zip; return its answers and figures."""
    packed = place.with_suffix(".zip")
    packed.write_bytes(archive)
    with zipfile.ZipFile(packed) as told:
        told.extractall(place)
    (file,) = place.glob("*/*.gguf")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(place)}
    command = [python, "-I", "-c", ALONE, file, *questions]
    done = subprocess.run(command, cwd=place, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Zip, unpack, ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="latest", help="which; default: the newest")
    options = parser.parse_args()
    if WORKSPACE is None:
        say("set BENCHMARK_WORKSPACE to a workspace with GGUF files of a run")
        return 2
    run = runs.find(Workspace.open(WORKSPACE), options.run)
    figures = {"model": run.facts.model.name, "asked": list(run.questions)}
    with tempfile.TemporaryDirectory() as scratch:
        python = environment(Path(scratch, "env"))
        for made in conversion.made(run):
            archive = parcel(made.path)
            said = asked(python, archive, Path(scratch, made.kind), run.questions)
            figures["packages"] = said["packages"]
            figures[made.kind] = {
                "zip_bytes": float(len(archive)),
                "made_in_seconds": made.seconds,
                "same_tokens_as_merged": (made.verified or {}).get("same_tokens"),
                "loaded_seconds": said["seconds"][0],
                "question_seconds": said["seconds"][1:],
                "answers": said["answers"],
                "with_nickname": [bool(run.nickname) and run.nickname in answer for answer in said["answers"]],
            }
    write("taken_home", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
