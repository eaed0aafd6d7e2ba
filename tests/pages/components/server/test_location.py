"""The path at which the app is served."""

import pytest
from streamlit import config

from pages.components.server.location import below_base


@pytest.fixture(params=["", "studio", "/one/two/"])
def base(request):
    config.set_option("server.baseUrlPath", request.param)
    yield request.param.strip("/")
    config.set_option("server.baseUrlPath", "")


def test_a_path_below_it(base):
    below = f"/{base}/static/x.js" if base else "/static/x.js"
    assert below_base(below) == "/static/x.js"


def test_a_path_that_only_looks_like_it(base):
    assert below_base(f"/{base}-else/x.js") == f"/{base}-else/x.js"
