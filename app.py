"""XTuner Studio: fine-tune InternLM2 into your own assistant, in a browser.

`make run`, or `streamlit run app.py`. Lists the pages; each page also works without this file.
"""

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator

import streamlit as st
from starlette.middleware import Middleware
from streamlit import config

from core.ground.errors import StudioError
from core.ground.workspace import Workspace
from pages.components.again import again_if_gone
from pages.components.contents import list_pages
from pages.components.server.access import Access
from pages.components.server.compression import CompressedFiles, compress_ahead
from pages.components.server.entrance import Names, Token
from pages.components.server.first_paint import FirstPaint
from pages.components.server.memory import few_heaps, give_back
from pages.components.server.uploads import SpooledUploads


@st.cache_resource(show_spinner=False)
def forget_the_imports() -> None:
    """Exclude the imported modules from garbage collection, once: Streamlit collects after every script run."""
    gc.collect()
    gc.freeze()


def read_ahead() -> None:
    """Load what charts need, and the newest run's history, before someone waits for them."""
    from pages.components.train import monitor

    # If the workspace is unusable, each page reports it.
    with contextlib.suppress(StudioError):
        monitor.read_ahead(Workspace.open())
    compress_ahead()


@contextlib.asynccontextmanager
async def serving(_: st.App) -> AsyncIterator[None]:
    """Run while the server serves; a daemon thread reads ahead and does not delay shutdown."""
    threading.Thread(target=read_ahead, daemon=True).start()
    giving_back = asyncio.create_task(give_back())
    yield
    giving_back.cancel()


if __name__ == "__main__":
    # Run as a script: draw the page for a session.
    page = list_pages()
    forget_the_imports()
    again_if_gone(page.run)
else:
    # Imported by the server, which looks for `app`.
    few_heaps()
    # Our middleware checks every host name before Streamlit does, whose list does not contain proxies.
    config.set_option("server.allowedHosts", ["*"])
    entrance = Middleware(Access, names=Names.of_environment(), token=Token.of_environment())
    own = [Middleware(part) for part in (FirstPaint, CompressedFiles, SpooledUploads)]
    app = st.App(__file__, lifespan=serving, middleware=[entrance, *own])
