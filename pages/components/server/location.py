"""Where the app is served: at the root, or at a path (`server.baseUrlPath`) behind a proxy that preserves it."""

from streamlit import config


def below_base(path: str) -> str:
    """Return a request's path relative to the base path; unchanged if it is not below that."""
    base = str(config.get_option("server.baseUrlPath")).strip("/")
    return path.removeprefix(f"/{base}") if base and path.startswith(f"/{base}/") else path
