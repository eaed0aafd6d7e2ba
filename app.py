"""XTuner Studio: fine-tune InternLM2 into your own assistant, in a browser.

`make run`, or `streamlit run app.py`. Lists the pages; each page is complete without this file.
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
from pages.components.contents import list_pages
from pages.components.server.access import Access
from pages.components.server.compression import CompressedFiles, compress_ahead
from pages.components.server.entrance import Names, Token
from pages.components.server.memory import few_heaps, give_back
from pages.components.server.uploads import SpooledUploads


@st.cache_resource(show_spinner=False)
def forget_the_imports() -> None:
    """Once, after the imports: Streamlit collects garbage after every run, and need not look at modules each time."""
    gc.collect()
    gc.freeze()


def read_ahead() -> None:
    """What charts need, and the history of the newest run, before someone waits for them."""
    from pages.components.train import monitor

    # Where the workspace cannot be used, each page says so.
    with contextlib.suppress(StudioError):
        monitor.read_ahead(Workspace.open())
    compress_ahead()


@contextlib.asynccontextmanager
async def serving(_: st.App) -> AsyncIterator[None]:
    """While the server serves; a thread of its own reads ahead, and keeps nobody from ending it."""
    threading.Thread(target=read_ahead, daemon=True).start()
    giving_back = asyncio.create_task(give_back())
    yield
    giving_back.cancel()


if __name__ == "__main__":
    # A person's page is drawn.
    page = list_pages()
    forget_the_imports()
    page.run()
else:
    # The server looks for what is to be served.
    few_heaps()
    # Every name is judged before Streamlit sees it, and those of proxies are not in its list.
    config.set_option("server.allowedHosts", ["*"])
    entrance = Middleware(Access, names=Names.of_environment(), token=Token.of_environment())
    app = st.App(
        __file__, lifespan=serving, middleware=[entrance, Middleware(CompressedFiles), Middleware(SpooledUploads)]
    )
