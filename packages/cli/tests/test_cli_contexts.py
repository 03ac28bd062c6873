"""Which orchestrator a command is about, and what is written down of servers."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrion.cli import _contexts, _login, run
from orchestrion.cli._contexts import Context, Contexts
from orchestrion.cli._places import RemoteServer, namespace_of, namespaces_of, place_of
from orchestrion.cli._state_directory import StateDirectory
from orchestrion.cli._where import Where
from orchestrion.control_plane import ServerPeer
from orchestrion.shared_types import ConfigInvalid, NotFound, StateFailure

HERE = "http://127.0.0.1:7070"
FILE = "orchestrion/contexts.toml"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder for settings, and an environment that names nothing."""
    for name in ("STATE", "URL", "TOKEN", "CONTEXT", "AUTHORITY"):
        monkeypatch.delenv(f"ORCHESTRION_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def shown(peer: object) -> str:
    """Return the token that a peer is shown."""
    assert isinstance(peer, ServerPeer)
    return peer.credentials("GET", "/", "", b"", {}).get("authorization", "")


def test_what_is_written_down_is_read_again(settings: Path) -> None:
    context = Context(
        name="prod", url="https://h:1", fingerprint="sha256:00", token_command=("pass", 'a "b"\\c'), namespace="shop"
    )
    _contexts.save(Contexts({"a.b": Context(name="a.b", url=HERE)}).with_one(context))
    assert _contexts.load() == Contexts({"a.b": Context(name="a.b", url=HERE), "prod": context}, "prod")
    assert (settings / FILE).stat().st_mode & 0o777 == 0o600


def test_nothing_is_known_at_first() -> None:
    assert _contexts.load() == Contexts()
    assert isinstance(place_of(Where()), StateDirectory)


def test_a_file_that_others_can_write_is_refused(settings: Path) -> None:
    _contexts.save(Contexts())
    (settings / FILE).chmod(0o622)
    with pytest.raises(StateFailure, match="others can write"):
        _contexts.load()


@pytest.mark.parametrize(
    "text",
    ["contexts = 3", "[contexts.a]\nurl = 3", "[contexts.a]\nurl = 'x'\nwobble = 'y'", "nonsense", "[contexts.a]\n"],
)
def test_a_file_that_says_nothing_sensible_is_an_error_with_its_name(text: str, settings: Path) -> None:
    (settings / "orchestrion").mkdir()
    (settings / FILE).write_text(text)
    with pytest.raises(ConfigInvalid, match=r"contexts\.toml"):
        _contexts.load()


@pytest.mark.parametrize("name", ["", "local", "-x", "a/b", "a b", "ä", "x" * 65])
def test_some_names_can_not_be_a_contexts(name: str) -> None:
    with pytest.raises(ConfigInvalid):
        _contexts.check_name(name)


@pytest.mark.parametrize(
    ("where", "environment", "found"),
    [
        (Where(), {}, "current"),
        (Where(context="other"), {}, "other"),
        (Where(context="local"), {"URL": HERE}, "state"),
        (Where(state=Path("s")), {"URL": HERE}, "state"),
        (Where(state=Path("s"), context="other"), {}, "other"),
        (Where(), {"STATE": "s"}, "state"),
        (Where(), {"STATE": "s", "CONTEXT": "other"}, "other"),
        (Where(), {"STATE": "s", "CONTEXT": "other", "URL": HERE}, "ORCHESTRION_URL"),
        (Where(), {"STATE": "", "CONTEXT": "", "URL": ""}, "current"),
        (Where(), {"CONTEXT": "local"}, "state"),
    ],
)
def test_what_was_typed_counts_most_then_the_environment(
    where: Where, environment: dict[str, str], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Contexts({"other": Context(name="other", url=HERE)}).with_one(Context(name="current", url=HERE))
    _contexts.save(known)
    for name, value in environment.items():
        monkeypatch.setenv(f"ORCHESTRION_{name}", value)
    place = place_of(where)
    assert (place.name if isinstance(place, RemoteServer) else "state") == found


def test_an_unknown_context_is_not_found() -> None:
    with pytest.raises(NotFound, match="none yet"):
        place_of(Where(context="prod"))


@pytest.mark.parametrize(
    ("context", "typed", "one", "several"),
    [("", None, "default", None), ("shop", None, "shop", "shop"), ("shop", "x", "x", "x"), ("shop", "*", "*", None)],
)
def test_a_namespace_is_the_typed_one_or_the_contexts(
    context: str, typed: str | None, one: str, several: str | None
) -> None:
    _contexts.save(Contexts().with_one(Context(name="c", url=HERE, namespace=context)))
    where = Where(namespace=typed)
    place = place_of(where)
    assert (namespace_of(where, place), namespaces_of(where, place)) == (one, several)


def test_a_token_is_shown_from_a_file_a_command_or_the_environment(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settings / "token"
    path.write_text("orc_file\n")
    path.chmod(0o600)
    assert shown(Context(name="c", url=HERE, token_file=str(path)).peer()) == "Bearer orc_file"
    assert shown(Context(name="c", url=HERE, token_command=("echo", "orc_printed")).peer()) == "Bearer orc_printed"
    monkeypatch.setenv("ORCHESTRION_URL", HERE)
    monkeypatch.setenv("ORCHESTRION_TOKEN", "orc_set")
    place = place_of(Where())
    assert isinstance(place, RemoteServer)
    assert shown(place.peer) == "Bearer orc_set"
    assert "orc_set" not in repr(place.peer)


def test_a_token_that_others_can_read_is_refused(settings: Path) -> None:
    path = settings / "token"
    path.write_text("orc_file\n")
    path.chmod(0o644)
    with pytest.raises(StateFailure, match="others than you"):
        Context(name="c", url=HERE, token_file=str(path)).peer()


@pytest.mark.parametrize("text", ["", "two words", "two\nlines", "ä", "\x1b[2J"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="no token"):
        _contexts.checked_token(text, "the file")


@pytest.mark.parametrize("command", [("false",), ("no-such-program-here",), ("true",)])
def test_a_command_that_prints_no_token_is_told(command: tuple[str, ...]) -> None:
    with pytest.raises(ConfigInvalid):
        Context(name="c", url=HERE, token_command=command).peer()


@pytest.mark.parametrize(
    "url", ["", "h", "ftp://h", "https://", "https://u:p@h", "https://h/x", "https://h?x", "https://h:0"]
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigInvalid):
        ServerPeer(url=url)


@pytest.mark.parametrize(
    ("url", "good"), [("http://localhost:1", True), ("http://[::1]:1", True), ("http://10.0.0.1", False)]
)
def test_a_token_goes_over_no_network_in_the_clear(url: str, good: bool) -> None:
    if good:
        ServerPeer(url=url)
    else:
        with pytest.raises(ConfigInvalid, match="could be read on the way"):
            ServerPeer(url=url)


def test_contexts_are_shown_chosen_and_forgotten(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = _contexts.write_private("a.token", b"orc_x\n")
    elsewhere = settings / "mine"
    elsewhere.write_text("orc_y")
    one, two = (
        Context(name="a", url=HERE, token_file=str(token)),
        Context(name="b", url=HERE, token_file=str(elsewhere)),
    )
    _contexts.save(Contexts().with_one(two).with_one(one))
    assert run(["context", "use", "b"]) == 0
    capsys.readouterr()
    assert run(["context", "ls"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]] == [["a", HERE], ["*", "b"]]
    assert run(["context", "use", "nope"]) == 3
    assert run(["context", "rm", "a"]) == 0
    assert run(["logout"]) == 0
    assert _contexts.load() == Contexts()
    assert (token.exists(), elsewhere.exists()) == (False, True)
    assert run(["logout"]) == 3


def test_another_server_of_one_host_is_another_context(
    settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def who(_context: Context) -> str:
        return "user ann"

    monkeypatch.setattr(_login, "_who", who)
    file = settings / "given"
    file.write_text("orc_x")

    def login(url: str, *options: str) -> int:
        return run(["login", url, "--token-file", str(file), *options])

    def known() -> dict[str, str]:
        return {name: one.url for name, one in _contexts.load().known.items()}

    first, second = "http://127.0.0.1:7171", "http://127.0.0.1:7272"
    both = {"127.0.0.1": first, "127.0.0.1-7272": second}
    assert [login(first), login(second), login(first), login(second)] == [0, 0, 0, 0]
    assert known() == both
    assert login(second, "--name", "127.0.0.1") == 4
    assert first in capsys.readouterr().err
    assert known() == both
    assert login(second, "--name", "127.0.0.1", "--replace") == 0
    assert known() == {"127.0.0.1": second, "127.0.0.1-7272": second}


@pytest.mark.parametrize("options", [["--token-file", "a", "--key-file", "b"], ["--name", "local"]])
def test_a_login_that_makes_no_sense_asks_nobody(options: list[str]) -> None:
    assert run(["login", HERE, *options]) == 2
