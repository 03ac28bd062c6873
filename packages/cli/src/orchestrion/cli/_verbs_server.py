"""The commands that serve an orchestrator to the network, as they are typed. See `_verbs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from ._arguments import Argument
from ._options import PLUGIN, Host, State


def dev(
    *,
    state: State = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, Argument(("--port", "-p"), "Where to listen; 0 takes a free port.")] = 7070,
) -> int:
    """Serve an orchestrator of this machine, for trying things out.

    Ctrl-C stops everything that runs.

    Example: orchestrion dev
    """
    from ._server import Request, run_server

    return run_server(state, Request(host=host, port=port, tls=None, plugins={}, drains=True, invites=True))


def server(
    *,
    state: State = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, Argument(("--port", "-p"), "Where to listen; 0 takes a free port.")] = 7070,
    tls: Annotated[
        bool | None, Argument(("--tls",), "Whether to speak TLS; by default beyond this machine.", can_be_denied=True)
    ] = None,
    tls_names: Annotated[
        tuple[str, ...], Argument(("--tls-name",), "A name or an address that the certificate is to be for besides.")
    ] = (),
    tls_cert: Annotated[
        Path | None, Argument(("--tls-cert",), "A certificate of your own, in PEM, read again when it is another.")
    ] = None,
    tls_key: Annotated[Path | None, Argument(("--tls-key",), "The key of that certificate, in PEM.")] = None,
    runtime: Annotated[str | None, Argument(("--runtime",), PLUGIN, default="process")] = None,
    cluster: Annotated[str | None, Argument(("--cluster",), PLUGIN, default="local")] = None,
    scheduler: Annotated[str | None, Argument(("--scheduler",), PLUGIN, default="packing")] = None,
    store: Annotated[str | None, Argument(("--store",), PLUGIN, default="sqlite")] = None,
    webhook_network: Annotated[
        tuple[str, ...], Argument(("--webhook-network",), "A network such as 10.0.0.0/8 in which webhooks may be.")
    ] = (),
    log: Annotated[
        Literal["text", "json"], Argument(("--log",), "How the log is written to stderr; json has each request.")
    ] = "text",
    proxies: Annotated[
        tuple[str, ...], Argument(("--proxy",), "A network of proxies, believed about whom they speak for.")
    ] = (),
    trace: Annotated[str | None, Argument(("--trace",), "Where an OTLP receiver takes traces: a URL.")] = None,
    oidc_config: Annotated[
        Path | None, Argument(("--oidc-config",), "A TOML file about an issuer of tokens that is believed.")
    ] = None,
    oidc_issuer: Annotated[
        str | None, Argument(("--oidc-issuer",), "An OpenID Connect issuer whose tokens are good here: its URL.")
    ] = None,
    oidc_client_id: Annotated[
        str | None, Argument(("--oidc-client-id",), "The audience that the issuer's tokens have to be for.")
    ] = None,
    oidc_user_claim: Annotated[
        str | None, Argument(("--oidc-user-claim",), "What in them is the user's name.", default="sub")
    ] = None,
    oidc_groups_claim: Annotated[
        str | None, Argument(("--oidc-groups-claim",), "What in them lists the user's groups.", default="groups")
    ] = None,
    oidc_prefix: Annotated[
        str | None, Argument(("--oidc-prefix",), "Put before names and groups of the issuer.", default="oidc:")
    ] = None,
    oidc_authority: Annotated[
        Path | None, Argument(("--oidc-authority",), "Certificates of who signs the issuer's, if not a public one.")
    ] = None,
) -> int:
    """Serve an orchestrator to the network.

    What runs goes on running when the server ends; the next one takes it up. At its first start it makes a token for
    an administrator, and says where.

    Example: orchestrion server --host 0.0.0.0
    """
    from ._oidc import issuer_config
    from ._server import Request, run_server

    typed = {
        "issuer": oidc_issuer,
        "client_id": oidc_client_id,
        "name_claim": oidc_user_claim,
        "groups_claim": oidc_groups_claim,
        "name_prefix": oidc_prefix,
        "groups_prefix": oidc_prefix,
        "authority": None if oidc_authority is None else str(oidc_authority),
    }
    plugins = {"runtime": runtime, "cluster": cluster, "scheduler": scheduler, "store": store}
    given = {interface: name for interface, name in plugins.items() if name is not None}
    request = Request(
        host=host,
        port=port,
        tls=tls,
        tls_names=tls_names,
        tls_cert=tls_cert,
        tls_key=tls_key,
        plugins=given,
        drains=False,
        webhook_networks=webhook_network,
        log=log,
        proxies=proxies,
        trace=trace or "",
        oidc=issuer_config(oidc_config, typed),
    )
    return run_server(state, request)
