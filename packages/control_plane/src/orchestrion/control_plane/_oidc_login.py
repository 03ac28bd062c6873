"""Logging in at an OpenID Connect issuer, as a command on a machine that may have no browser (RFC 8628)."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import trio
from attrs import evolve, field, frozen
from orchestrion.shared_types import ConfigInvalid, Denied, NetworkFailure, Problem, Unauthenticated

from ._identity.oidc_config import about_url, check_issuer, is_safe_url
from ._outgoing import HttpAnswer, Outgoing

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
ANSWER_SECONDS: Final = 30.0
"""How long an issuer may take for one answer."""

EARLY_SECONDS: Final = 60.0
"""So long before its end a token is got anew, so that it is still good when it arrives."""

MAX_ANSWER_BYTES: Final = 1_048_576
_INTERVAL_SECONDS: Final = 5.0
_SLOWER_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 1800.0


@frozen(kw_only=True)
class IssuerAbout:
    """Where one logs in, as a server tells it.

    Attributes:
        issuer: The issuer's URL.
        client_id: As what a client asks it.
        scopes: What it asks for.
    """

    issuer: str
    client_id: str
    scopes: tuple[str, ...]

    @classmethod
    def of(cls, data: Any, /) -> IssuerAbout:
        """Return what a server has told at `/issuer.json`.

        Raises:
            ConfigInvalid: It is not that, or the issuer could be listened to on the way.
        """
        try:
            about = cls(issuer=data["issuer"], client_id=data["client_id"], scopes=tuple(data["scopes"]))
            texts = (about.issuer, about.client_id, *about.scopes)
        except (LookupError, TypeError) as err:
            raise ConfigInvalid((Problem("what the server tells of its issuer can't be read"),)) from err
        if not all(isinstance(text, str) and text.isprintable() for text in texts):
            raise ConfigInvalid((Problem("what the server tells of its issuer can't be read"),))
        check_issuer(about.issuer)
        return about


@frozen(kw_only=True)
class DeviceCode:
    """What a person is to do to log in.

    Attributes:
        url: Where to go with a browser.
        code: What to enter there.
        complete_url: Where to go instead, with nothing to enter; empty where there is no such place.
        seconds: How long that is possible.
    """

    url: str
    code: str
    complete_url: str
    seconds: float


@frozen(kw_only=True)
class OidcLogin:
    """What somebody is known by who has logged in at an issuer.

    Attributes:
        issuer: The issuer's URL.
        client_id: As what the client asked it.
        token_endpoint: Where tokens are got anew.
        id_token: What servers are shown.
        refresh_token: By what a new one is got; empty where that is not possible.
    """

    issuer: str
    client_id: str
    token_endpoint: str
    id_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)

    def is_due(self, now: datetime, /) -> bool:
        """Whether the token has come to its end, or will soon. One that does not say when is never due."""
        try:
            piece = self.id_token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4)))
            ends = float(claims["exp"])
        except (LookupError, TypeError, ValueError, binascii.Error):
            return False
        return now.timestamp() >= ends - EARLY_SECONDS


async def log_in(
    about: IssuerAbout, tell: Callable[[DeviceCode], None], /, outgoing: Outgoing | None = None
) -> OidcLogin:
    """Log a person in, who uses a browser anywhere for it.

    **Cancellation.** *Atomic* here; the issuer forgets what was begun after a while.

    Args:
        about: Where.
        tell: Tells the person what to do. It is called once.
        outgoing: Sends the requests; None trusts whom the system trusts.

    Raises:
        ConfigInvalid: The issuer has no such login.
        Denied: The person has refused.
        NetworkFailure: The issuer can't be reached, or says what can't be understood.
        Unauthenticated: Nothing was entered in time.
    """
    outgoing = outgoing or Outgoing(max_answer_bytes=MAX_ANSWER_BYTES)
    offered = await _asked(outgoing, about_url(about.issuer))
    if offered.get("issuer") != about.issuer:
        raise NetworkFailure(f"what is at {about.issuer} is about another issuer")
    device_endpoint = _url_of(offered, "device_authorization_endpoint")
    token_endpoint = _url_of(offered, "token_endpoint")
    begun = await _asked(outgoing, device_endpoint, {"client_id": about.client_id, "scope": " ".join(about.scopes)})
    code, device_code = _code_of(begun), _text_of(begun, "device_code")
    tell(code)
    fields = {"grant_type": DEVICE_GRANT, "device_code": device_code, "client_id": about.client_id}
    interval = _seconds_of(begun, "interval", _INTERVAL_SECONDS)
    with trio.move_on_after(code.seconds):
        while True:
            await trio.sleep(interval)
            try:
                status, answer = await _token_answer(outgoing, token_endpoint, fields)
            except NetworkFailure:
                interval *= 2  # RFC 8628, section 3.5
                continue
            if status == 200:
                login = OidcLogin(
                    issuer=about.issuer, client_id=about.client_id, token_endpoint=token_endpoint, id_token=""
                )
                return _with_tokens(login, answer)
            interval = _next_interval(answer, interval)
    raise _too_late()


async def renewed(login: OidcLogin, /, outgoing: Outgoing | None = None) -> OidcLogin:
    """Return a login with a new token.

    **Cancellation.** *Indeterminate*: an issuer that gives a new refresh token each time may have done so.

    Raises:
        Unauthenticated: The issuer gives no more; the person has to log in again.
        NetworkFailure: The issuer can't be reached, or says what can't be understood.
    """
    if not login.refresh_token or not is_safe_url(login.token_endpoint):
        raise _again("the token has expired, and the issuer gave nothing to get a new one by")
    outgoing = outgoing or Outgoing(max_answer_bytes=MAX_ANSWER_BYTES)
    fields = {"grant_type": "refresh_token", "refresh_token": login.refresh_token, "client_id": login.client_id}
    status, answer = await _token_answer(outgoing, login.token_endpoint, fields)
    if status != 200:
        raise _again(f"the issuer gives no new token: {_shown(answer.get('error'))}")
    return _with_tokens(login, answer)


def _next_interval(answer: Mapping[str, Any], interval: float) -> float:
    match answer.get("error"):
        case "authorization_pending":
            return interval
        case "slow_down":
            return interval + _SLOWER_SECONDS
        case "access_denied":
            raise Denied("the login was refused in the browser", remedy="Begin anew if that was a mistake.")
        case "expired_token":
            raise _too_late()
        case error:
            raise NetworkFailure(f"the issuer ends the login: {_shown(error)}")


def _too_late() -> Unauthenticated:
    return Unauthenticated("the code was not entered in time", remedy="Begin anew.")


def _again(why: str) -> Unauthenticated:
    return Unauthenticated(why, remedy="Log in anew: orchestrion login URL --oidc")


def _with_tokens(login: OidcLogin, answer: Mapping[str, Any]) -> OidcLogin:
    token = answer.get("id_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or token.count(".") != 2:
        raise NetworkFailure("the issuer gives no id token", remedy="Let the scopes of the server have `openid`.")
    refresh = answer.get("refresh_token")
    return evolve(login, id_token=token, refresh_token=refresh if isinstance(refresh, str) else login.refresh_token)


def _code_of(begun: Mapping[str, Any]) -> DeviceCode:
    url, complete = _url_of(begun, "verification_uri"), begun.get("verification_uri_complete", "")
    return DeviceCode(
        url=url,
        code=_text_of(begun, "user_code"),
        complete_url=complete if isinstance(complete, str) and is_safe_url(complete) else "",
        seconds=_seconds_of(begun, "expires_in", _LONGEST_SECONDS),
    )


def _url_of(data: Mapping[str, Any], name: str) -> str:
    url = data.get(name)
    if name == "device_authorization_endpoint" and url is None:
        raise ConfigInvalid(
            (Problem("the issuer knows no login of devices (RFC 8628)"),),
            remedy="Get a token another way, and give it: --token-file FILE or --token-command COMMAND",
        )
    if not isinstance(url, str) or not is_safe_url(url):
        raise NetworkFailure(f"the issuer gives no {name} that is an https URL")
    return url


def _text_of(data: Mapping[str, Any], name: str) -> str:
    text = data.get(name)
    if not isinstance(text, str) or not text or not text.isprintable():
        raise NetworkFailure(f"the issuer gives no {name}")
    return text


def _seconds_of(data: Mapping[str, Any], name: str, default: float) -> float:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        return default
    return min(float(value), _LONGEST_SECONDS)


async def _token_answer(outgoing: Outgoing, url: str, fields: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
    answer = await _within(outgoing, url, fields)
    return answer.status, _object(answer, url)


async def _asked(outgoing: Outgoing, url: str, fields: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    answer = await _within(outgoing, url, fields)
    document = _object(answer, url)
    if answer.status != 200:
        raise NetworkFailure(f"{url} answers with status {answer.status}: {_shown(document.get('error'))}")
    return document


async def _within(outgoing: Outgoing, url: str, fields: Mapping[str, str] | None) -> HttpAnswer:
    try:
        with trio.fail_after(ANSWER_SECONDS):
            if fields is None:
                return await outgoing.get(url)
            return await outgoing.post_form(url, urlencode(fields).encode())
    except trio.TooSlowError as err:
        raise NetworkFailure(f"no answer from {url!r:.200} in {ANSWER_SECONDS:g} s") from err


def _object(answer: HttpAnswer, url: str) -> Mapping[str, Any]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError) as err:
        raise NetworkFailure(f"what {url!r:.200} answers is no JSON") from err
    if not isinstance(document, dict):
        raise NetworkFailure(f"what {url!r:.200} answers is no JSON object")
    return document


def _shown(error: object) -> str:
    return repr(error)[:100] if isinstance(error, str) else "it does not say why"
