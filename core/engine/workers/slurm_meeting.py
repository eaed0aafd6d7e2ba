"""Where the processes that srun started meet: what mmengine asks the environment for, told so that it works anywhere.

mmengine takes the name of the first node and port 29500. The name may resolve nowhere, while Slurm itself knows an
address; another user's training on the node may have the port; and gloo and NCCL would listen on the interface of the
machine's own host name. What the user has set stays. Imports nothing of ours.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys

_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
_SIOCGIFADDR = 0x8915
# Below the ports that the kernel gives to connections.
_FIRST_PORT, _PORTS = 20_000, 12_000


def agree() -> None:
    """Set the address, the port and the interface; end with an explanation if the first node cannot be found."""
    if "MASTER_ADDR" not in os.environ:
        os.environ["MASTER_ADDR"] = _address()
    if "MASTER_PORT" not in os.environ:
        step = int(os.environ.get("SLURM_JOB_ID", "0")) + int(os.environ.get("SLURM_STEP_ID", "0"))
        os.environ["MASTER_PORT"] = str(_FIRST_PORT + step % _PORTS)
    name = _interface_to(os.environ["MASTER_ADDR"])
    if name == "lo" and _nodes() > 1 and not os.environ["MASTER_ADDR"].startswith("127."):
        # The first node's own name for itself; the others come over another interface.
        name = None
    for variable in _INTERFACES:
        if name and variable not in os.environ:
            os.environ[variable] = name


def _address() -> str:
    """Return an address of the first node that resolves here: its name, else the address that Slurm uses."""
    if _nodes() == 1:
        return "127.0.0.1"
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ["SLURM_NODELIST"]
    first = _said("scontrol", "show", "hostnames", nodes).split("\n")[0]
    told = _said("scontrol", "--oneliner", "show", "node", first).split()
    known = [word.partition("=")[2] for word in told if word.startswith("NodeAddr=")]
    found = [name for name in (first, *known) if _resolved(name)]
    if found:
        # A host may know its own name as 127.0.1.1, where the others cannot reach it.
        return next((name for name in found if not any(at.startswith("127.") for at in _resolved(name))), found[0])
    here = os.environ.get("SLURMD_NODENAME", socket.gethostname())
    sys.exit(
        f"The first node cannot be found: {' and '.join(dict.fromkeys((first, *known)))} resolve to nothing on {here}"
    )


def _nodes() -> int:
    return int(os.environ.get("SLURM_STEP_NUM_NODES") or os.environ.get("SLURM_NNODES") or "1")


def _resolved(name: str) -> "set[str]":
    """Return the addresses of a name; none if it resolves to nothing here."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(name, None)}
    except OSError:
        return set()


def _said(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _interface_to(address: str) -> "str | None":
    """Return the interface over which `address` is reached; None if there is none with an IPv4 address."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Sends nothing: the kernel only looks up the route.
            probe.connect((address, 9))
            own = socket.inet_aton(probe.getsockname()[0])
            for _, name in socket.if_nameindex():
                try:
                    told = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                except OSError:
                    continue
                if told[20:24] == own:
                    return name
    except OSError:
        pass
    return None
