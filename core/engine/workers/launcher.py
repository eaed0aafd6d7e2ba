"""torchrun with a store that listens only at the given address (`near_store`).

Run as `python -m core.engine.workers.launcher`, with torchrun's own options.
"""

import sys

from core.engine.workers import near_store
from core.ground import garbage

if __name__ == "__main__":
    # Before any module imports the name.
    near_store.install()
    from torch.distributed.run import main

    garbage.resume()
    main(near_store.a_word(sys.argv[1:]))
