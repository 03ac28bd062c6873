"""Logging in at an OpenID Connect issuer, for clients of a server that believes one."""

from ._oidc_login import DeviceCode, IssuerAbout, OidcLogin, log_in, renewed

__all__ = ["DeviceCode", "IssuerAbout", "OidcLogin", "log_in", "renewed"]
