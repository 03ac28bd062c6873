"""The server for the network: a module of its own, because it needs much that a command on one machine does not."""

from ._loading import LOADING
from ._peer import is_loopback

with LOADING:
    from ._identity.oidc_config import OidcConfig, oidc_config_of
    from ._web.assembly import Options, Served, embedded, serving

__all__ = ["OidcConfig", "Options", "Served", "embedded", "is_loopback", "oidc_config_of", "serving"]
