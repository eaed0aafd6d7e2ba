"""Where the app is served: at the root, or below a path of its own (`server.baseUrlPath`), behind a proxy that keeps it."""

from streamlit import config


def below_base(path: str) -> str:
    """A request's path as it would be at the root; as it is where it is not below the base."""
    base = str(config.get_option("server.baseUrlPath")).strip("/")
    return path.removeprefix(f"/{base}") if base and path.startswith(f"/{base}/") else path
