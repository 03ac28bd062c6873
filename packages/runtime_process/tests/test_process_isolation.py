"""What a container gets, and what it does not."""

from __future__ import annotations

import json
import os
import pwd
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve
from orchestrion.runtime_interface import ConfigUnsupported, LogStream, PortTaken, StartFailed, VolumeSource
from orchestrion.runtime_process import ProcessRuntime, open_runtime
from orchestrion.shared_types import ContainerConfig, PortMapping, Resources, VolumeMount

FEW_FILES = 256

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do that")


async def said(harness: Any, runtime: ProcessRuntime, config: ContainerConfig, **more: Any) -> str:
    container_id = await runtime.create_container(config, harness.options(**more))
    text: str = (await harness.output(runtime, container_id)).decode()
    status = await harness.exited(runtime, container_id)
    errors = (await harness.output(runtime, container_id, LogStream.STDERR)).decode()
    assert status.exit.code == 0, errors
    return text.strip()


async def test_the_environment_has_nothing_but_what_is_said(harness: Any, runtime: ProcessRuntime) -> None:
    os.environ["NAMED"], os.environ["UNNAMED"] = "1", "2"
    config = ContainerConfig(name="main", command=("env",), inherit_env=("NAMED", "ABSENT"), env_vars={"OWN": "3"})
    names = {line.split("=")[0] for line in (await said(harness, runtime, config)).splitlines()}
    assert names == {"NAMED", "OWN", "PATH", "TMPDIR", "ORCHESTRION_OWNER", "ORCHESTRION_CONTAINER_ID"}


async def test_working_and_temporary_directories_are_private_and_go_with_the_container(
    harness: Any, runtime: ProcessRuntime
) -> None:
    config = harness.shell("pwd; echo $TMPDIR; stat -c %a . $TMPDIR; touch here $TMPDIR/there")
    container_id = await runtime.create_container(config, harness.options())
    await harness.exited(runtime, container_id)
    working, temporary, *modes = (await harness.output(runtime, container_id)).decode().split()
    assert modes == ["700", "700"]
    assert Path(working, "here").exists()
    await runtime.remove_container(container_id)
    assert not Path(working).exists()
    assert not Path(temporary).exists()


async def test_what_is_written_down_of_containers_is_the_owners_alone(
    harness: Any, runtime: ProcessRuntime, tmp_path: Path
) -> None:
    await runtime.create_container(harness.shell("echo hello; sleep 100"), harness.options())
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {"owner.json", "lock", "record"} <= {path.name for path in files}
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files if path.stat().st_mode & 0o077} == {}


@pytest.fixture
def few_files() -> Iterator[int]:
    """Lowers the soft limit of open files, as a shell may have it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_this_program_may_open_many_files_and_containers_as_many_as_before(
    few_files: int, harness: Any, opened: Any, tmp_path: Path
) -> None:
    config = harness.shell("ulimit -Sn; ulimit -Hn")
    async with opened() as runtime, open_runtime(tmp_path / "another"):
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (few_files, few_files)
        assert (await said(harness, runtime, config)).split() == [str(FEW_FILES), str(few_files)]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (FEW_FILES, few_files)


async def test_a_command_in_a_container_may_open_as_many_files_as_the_container(
    few_files: int, harness: Any, opened: Any
) -> None:
    async with opened() as runtime:
        container_id = await runtime.create_container(harness.shell("sleep 100"), harness.options())
        async with runtime.exec_in_container(container_id, ["sh", "-c", "ulimit -Sn; ulimit -Hn"]) as session:
            text = b"".join([item.data async for item in session.output()])
        assert text.split() == [str(FEW_FILES).encode(), str(few_files).encode()]
        await runtime.stop_container(container_id, grace_seconds=0)


async def test_a_given_working_directory_is_entered(harness: Any, runtime: ProcessRuntime, tmp_path: Path) -> None:
    assert await said(harness, runtime, harness.shell("pwd", working_dir=str(tmp_path))) == str(tmp_path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"command": ("no-such-program",)}, "can't run the program 'no-such-program': No such file or directory"),
        ({"command": ("/etc/passwd",)}, "can't run the program '/etc/passwd': Permission denied"),
        ({"working_dir": "/no/such/place"}, "can't enter the working directory /no/such/place: No such file"),
        ({"user": "no-such-user"}, "there is no user 'no-such-user'"),
        ({"user": "0:no-such-group"}, "there is no group 'no-such-group'"),
        ({"user": "54321"}, "number 54321 has no entry that tells its group"),
        ({"cpu_set": (9999,)}, "can't pin to cores (9999,)"),
        ({"cpu_set": (1 << 40,)}, "can't pin to cores (1099511627776,)"),
    ],
)
async def test_what_cannot_be_started_is_said_and_nothing_is_left(
    harness: Any, runtime: ProcessRuntime, tmp_path: Path, change: dict[str, Any], text: str
) -> None:
    with pytest.raises(StartFailed, match=text.replace("(", r"\(").replace(")", r"\)")):
        await runtime.create_container(evolve(harness.SLEEPS, **change), harness.options())
    assert harness.leftovers(tmp_path / "state") == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"image": "busybox"}, "image 'busybox'"),
        ({"command": ()}, "command"),
        ({"working_dir": "relative"}, "working_dir"),
        ({"args": ("a\0b",)}, "NUL"),
        ({"args": ("\ud800",)}, "can't be given one of its values"),
        ({"user": "\ud800"}, "can't be given one of its values"),
        ({"user": "99999999999999999999:1"}, "can't be given one of its values"),
        ({"env_vars": {"A=B": ""}}, "env_vars"),
        ({"ports": (PortMapping(name="http"),)}, "has no host port"),
        ({"ports": (PortMapping(name="http", host_port=81, container_port=80),)}, "both must be the same"),
        ({"volumes": (VolumeMount(volume="data"),)}, "no source for 'data'"),
    ],
)
async def test_what_no_process_can_be_is_refused_by_field(
    harness: Any, runtime: ProcessRuntime, tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigUnsupported, match=field):
        await runtime.create_container(evolve(harness.SLEEPS, **change), harness.options())
    assert harness.leftovers(tmp_path / "state") == []


async def test_a_volume_is_where_it_is_and_can_appear_nowhere_else(
    harness: Any, runtime: ProcessRuntime, tmp_path: Path
) -> None:
    sources = (VolumeSource(volume="data", host_path=str(tmp_path)),)
    here = harness.shell(f"echo 1 > {tmp_path}/x", volumes=(VolumeMount(volume="data", path=str(tmp_path)),))
    await said(harness, runtime, here, volumes=sources)
    assert (tmp_path / "x").read_text() == "1\n"
    elsewhere = evolve(here, volumes=(VolumeMount(volume="data", path="/data"),))
    with pytest.raises(ConfigUnsupported, match="can't appear at /data"):
        await runtime.create_container(elsewhere, harness.options(1, volumes=sources))
    gone = (VolumeSource(volume="data", host_path="/no/such/place"),)
    with pytest.raises(StartFailed, match="there is no directory /no/such/place"):
        await runtime.create_container(
            evolve(here, volumes=(VolumeMount(volume="data"),)), harness.options(2, volumes=gone)
        )


@root_only
async def test_a_container_runs_as_its_user_with_its_groups_and_owns_its_directories(
    harness: Any, runtime: ProcessRuntime
) -> None:
    nobody = pwd.getpwnam("nobody")
    script = "id -u; id -g; touch mine && stat -c %u mine"
    text = await said(harness, runtime, harness.shell(script, user="nobody"))
    assert text.split() == [str(nobody.pw_uid), str(nobody.pw_gid), str(nobody.pw_uid)]
    text = await said(harness, runtime, harness.shell("id -u; id -g", user="1234:0"), index=1)
    assert text.split() == ["1234", "0"]


@root_only
async def test_other_users_reach_their_directories_whatever_the_umask(harness: Any) -> None:
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        before = os.umask(0o077)
        try:
            async with open_runtime(Path(place) / "made" / "state") as runtime:
                await runtime.init_node(harness.NODE)
                config = harness.shell("touch $TMPDIR/x && touch $PWD/y && echo both", user="nobody")
                assert (await said(harness, runtime, config)).strip() == "both"
                await harness.remove_all(runtime)
        finally:
            os.umask(before)


async def test_privileges_cores_and_signals_are_as_they_should_be(harness: Any, runtime: ProcessRuntime) -> None:
    config = harness.shell("grep -E 'NoNewPrivs|Cpus_allowed_list|SigIgn|SigBlk' /proc/self/status", cpu_set=(0,))
    facts = dict(line.split(":\t") for line in (await said(harness, runtime, config)).splitlines())
    assert facts["NoNewPrivs"] == "1"
    assert facts["Cpus_allowed_list"] == "0"
    assert int(facts["SigIgn"], 16) & 0x7FFFFFFF == 0  # 32 and 33 are of the C library
    assert int(facts["SigBlk"], 16) == 0


async def test_what_the_starter_ignores_a_container_does_not(harness: Any, runtime: ProcessRuntime) -> None:
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        text = await said(harness, runtime, harness.shell("grep SigIgn /proc/self/status"))
    finally:
        signal.signal(signal.SIGQUIT, before)
    assert int(text.split()[1], 16) & 1 << signal.SIGQUIT - 1 == 0


async def test_a_shim_is_beyond_the_terminal_from_its_first_moment(
    harness: Any, runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = []
    real = os.posix_spawn

    def spawn(*arguments: Any, **more: Any) -> int:
        pid = real(*arguments, **more)
        sessions.append((os.getsid(pid), pid))
        return pid

    monkeypatch.setattr("orchestrion.runtime_process._launch.os.posix_spawn", spawn)
    await runtime.create_container(harness.SLEEPS, harness.options())
    ((session, pid),) = sessions
    assert session == pid


async def test_core_files_are_off_and_no_descriptor_leaks_in(harness: Any, runtime: ProcessRuntime) -> None:
    script = (
        "import os,resource;"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0], sorted(map(int,os.listdir('/proc/self/fd'))))"
    )
    assert await said(harness, runtime, harness.python(script)) == "0 [0, 1, 2, 3]"  # 3 is the listing itself


async def test_a_listening_socket_is_handed_over(harness: Any, runtime: ProcessRuntime) -> None:
    ports = tuple(PortMapping(name=name, host_port=harness.free_port(), listen=True) for name in ("a", "b"))
    script = (
        "import os,socket,json;s=[socket.socket(fileno=f) for f in (3,4)];"
        "assert int(os.environ['LISTEN_PID'])==os.getpid();"
        "print(json.dumps([os.environ['LISTEN_FDS'],os.environ['LISTEN_FDNAMES'],[x.getsockname()[1] for x in s]]),"
        "flush=True);"
        "c,_=s[1].accept();c.sendall(b'hello');c.close()"
    )
    container_id = await runtime.create_container(harness.python(script, ports=ports), harness.options())
    numbers = [port.host_port for port in ports]
    # It need not run yet: the socket has been open since before it started.
    with socket.create_connection(("127.0.0.1", numbers[1] or 0)) as client:
        assert json.loads(await harness.wait_for_line(runtime, container_id)) == ["2", "a:b", numbers]
        assert client.recv(5) == b"hello"
    assert (await harness.exited(runtime, container_id)).exit.code == 0


async def test_a_port_is_taken_by_listeners_and_by_other_containers_but_not_by_time_wait(
    harness: Any, runtime: ProcessRuntime
) -> None:
    def with_port(number: int) -> ContainerConfig:
        return ContainerConfig(
            name="main", command=("sleep", "100000"), ports=(PortMapping(name="http", host_port=number),)
        )

    with harness.occupied_port() as number, pytest.raises(PortTaken) as caught:
        await runtime.create_container(with_port(number), harness.options())
    assert caught.value.ports == (number,)

    # The side that closes first keeps the port in TIME_WAIT.
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        number = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", number))
        server, _ = listener.accept()
        server.close()
        client.close()
    first = await runtime.create_container(with_port(number), harness.options(1))

    # It has not bound the port; it is promised to it all the same.
    with pytest.raises(PortTaken):
        await runtime.create_container(with_port(number), harness.options(2))
    await runtime.stop_container(first, grace_seconds=0)
    await runtime.create_container(with_port(number), harness.options(2))


def limited(**limits: Any) -> dict[str, Any]:
    return {"limits": Resources(**limits)}


@pytest.mark.slow
async def test_a_memory_limit_ends_the_container_and_is_told_as_the_cause(
    harness: Any, runtime: ProcessRuntime
) -> None:
    if "memory" not in runtime.enforced_limits:
        pytest.skip("no memory control group here")
    greedy = harness.python("x = bytearray(200_000_000)", **limited(memory_bytes=50_000_000))
    status = await harness.exited(runtime, await runtime.create_container(greedy, harness.options()))
    assert (status.exit.signal, status.exit.out_of_memory) == (9, True)
    killed = await runtime.create_container(
        evolve(harness.SLEEPS, **limited(memory_bytes=50_000_000)), harness.options(1)
    )
    await runtime.stop_container(killed, grace_seconds=0)
    status = await harness.exited(runtime, killed)
    assert (status.exit.signal, status.exit.out_of_memory) == (9, False)


@pytest.mark.slow
async def test_a_limit_of_processes_holds(harness: Any, runtime: ProcessRuntime) -> None:
    if "pids" not in runtime.enforced_limits:
        pytest.skip("no pids control group here")
    script = """
import os, time
made = 0
try:
    while made < 50:
        if os.fork() == 0:
            time.sleep(1000)
        made += 1
except BlockingIOError:
    pass
print(made)
"""
    config = harness.python(script, **limited(extended={"pids": 10}))
    assert await said(harness, runtime, config) == "9"


@pytest.mark.slow
async def test_a_limit_of_the_processor_holds(harness: Any, runtime: ProcessRuntime) -> None:
    if "cpu" not in runtime.enforced_limits:
        pytest.skip("no cpu control group here")
    script = "import time\nend = time.monotonic() + 0.6\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
    used = float(await said(harness, runtime, harness.python(script, **limited(cpu_millicores=200))))
    assert used < 0.3, "0.2 of 0.6 s, and a period's slack"


async def test_without_control_groups_it_is_said_what_is_not_enforced(
    harness: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    async with opened(cgroup_bases={}) as runtime:
        assert runtime.enforced_limits == frozenset()
        config = harness.python(
            "import resource;print(resource.getrlimit(resource.RLIMIT_DATA)[0])", **limited(memory_bytes=300_000_000)
        )
        assert await said(harness, runtime, config) == "300000000"
        await harness.remove_all(runtime)
    assert harness.leftovers(tmp_path / "state") == []


@pytest.mark.slow
@pytest.mark.parametrize("groups", ["of the host", "none"])
async def test_stats_grow_and_stay_after_the_end(
    harness: Any, opened: Callable[..., Any], groups: str, tmp_path: Path
) -> None:
    async with opened(**({} if groups == "of the host" else {"cgroup_bases": {}})) as runtime:
        script = "import time\nwhile time.process_time() < 0.1: pass\nprint('burnt', flush=True); time.sleep(100000)"
        container_id = await runtime.create_container(harness.python(script), harness.options())
        await harness.wait_for_line(runtime, container_id)
        stats = await runtime.get_container_stats(container_id)
        assert stats.cpu_nanoseconds >= 90_000_000
        assert stats.memory_bytes > 1_000_000
        assert stats.processes == 1
        await runtime.stop_container(container_id, grace_seconds=0)
        ended = await runtime.get_container_stats(container_id)
        assert ended.cpu_nanoseconds >= stats.cpu_nanoseconds
        assert (ended.memory_bytes, ended.processes) == (0, 0)
        await harness.remove_all(runtime)
