"""torchrun, whose store listens where it was told to and nowhere else (`near_store`): `python -m
core.engine.workers.launcher`, with torchrun's own options."""

import sys

from core.engine.workers import near_store

if __name__ == "__main__":
    # Before anything takes the name from there.
    near_store.install()
    from torch.distributed.run import main

    main(near_store.a_word(sys.argv[1:]))
