"""Ports for servers that bind them a moment later. It keeps no port: whoever asked binds it."""

import random
import socket

# Below those that the system itself gives to connections and to whoever binds port 0.
_FIRST, _END = 10_000, 29_000


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nothing listens on, and that nobody will be given without asking for it."""
    # The tests' own random numbers are the same in all processes.
    drawn = random.SystemRandom()
    while True:
        port = drawn.randrange(_FIRST, _END)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
