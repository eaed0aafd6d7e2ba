"""An environment for each peer from the package index, with links to this project's torch instead of another download."""

import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions, version
from pathlib import Path

from benchmarks.measure import say

PEERS = {"llamafactory": "llamafactory==0.9.4", "swift": "ms-swift==3.12.6"}


def install(names: Sequence[str], peers: Path) -> None:
    """Create them in `peers`."""
    torch = [f"{name}=={version(name)}" for name in ("torch", "torchvision")]
    for name in names:
        place = peers / name
        say(f"{PEERS[name]}, {torch[0]} into {place}")
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        _link_torch(next(place.glob("lib/python*/site-packages")))
        # Packages built for another torch do not load.
        pins = [*torch, f"torchaudio=={version('torch')}"]
        subprocess.run([str(place / "bin" / "pip"), "install", "-q", PEERS[name], *pins], check=True)


def versions(name: str, peers: Path) -> dict[str, str]:
    """Return the versions of the libraries that train, as installed for a peer."""
    site = next((peers / name).glob("lib/python*/site-packages"))
    # An installation that was cut off leaves directories without a name.
    found = {one.name.lower(): one.version for one in distributions(path=[str(site)]) if one.metadata["Name"]}
    return {one: found[one] for one in ("torch", "transformers", "peft", "accelerate") if one in found}


def _link_torch(site: Path) -> None:
    """Link torch, torchvision and the libraries they are built on: the same release, not downloaded again."""
    for one in distributions():
        if re.match(r"torch$|torchvision$|triton$|nvidia-.*-cu\d+$", one.metadata["Name"].replace("_", "-")):
            for part in {file.parts[0] for file in one.files or () if file.parts[0] not in ("..", "__pycache__")}:
                if not (site / part).exists():
                    (site / part).symlink_to(Path(str(one.locate_file(part))))
