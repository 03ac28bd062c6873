"""What a runtime holds, and the tasks that go on whoever leaves."""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeVar

import trio
from orchestrion.runtime_interface import (
    ConfigUnsupported,
    ContainerConflict,
    ContainerNotFound,
    CreateOptions,
    NodeNotFound,
    PortTaken,
    RuntimeClosed,
    RuntimeUnavailable,
    StaleEpoch,
    StartFailed,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerStatus,
    InternalError,
    NodeId,
    OrchestrationError,
    Protocol,
)

from . import _adoption, _processes
from ._adoption import Adopted, Found
from ._container import Container, Creation, Key, Task, key_of, ports_of
from ._epochs import EpochMemory, Slot
from ._hints import Hints
from ._inotify import DirectoryWatcher
from ._launch import clean_up, start_container
from ._plan import refuse_unsupported
from ._record import RecordDamaged, RecordTooNew, read_head
from ._settings import Settings
from ._trees import remove_tree

T = TypeVar("T")

_log = logging.getLogger(__name__)

THREADS: Final = 16
START_WAIT_SECONDS: Final = 10.0
START_LOOK_SECONDS: Final = 0.005
SHIM_SECONDS: Final = 10.0
"""How long a shim may take to tidy up after its container was killed, before it is killed itself."""
RETRY_SECONDS: Final = 1.0


class Keeper:
    """Keeps containers: starts them, waits for their ends, and forgets them.

    Its tasks live in a nursery of their own, because a caller may be cancelled while what it asked for goes on.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        node_ids: frozenset[NodeId] | None,
        found: list[Found],
        epochs: EpochMemory,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._node_ids = node_ids
        self._found = found
        self._epochs = epochs
        self._epochs_lock = trio.Lock()
        self._now = now
        self._nodes: set[NodeId] = set()
        self._init_lock = trio.Lock()
        self._initialisations: dict[NodeId, Task] = {}
        self._containers: dict[ContainerId, Container] = {}
        self._keys: dict[Key, Container | Creation] = {}
        self._creations: dict[ContainerId, Creation] = {}
        self._ports: dict[tuple[Protocol, int], ContainerId] = {}
        self._hints = Hints(self._status_of)
        self._watcher = DirectoryWatcher()
        self._limiter = trio.CapacityLimiter(THREADS)
        self._closed = False
        self._waits: set[trio.CancelScope] = set()
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._finished = trio.Event()

    def _status_of(self, container_id: ContainerId) -> ContainerStatus | None:
        container = self._containers.get(container_id)
        return None if container is None else container.status

    # ---- tasks that go on whoever leaves -----------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be the home of those tasks until `aclose`."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    nursery.start_soon(self._watcher.run)
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self._closed = True
            self._watcher.close()
            for container in self._containers.values():
                if container.pidfd is not None:
                    os.close(container.pidfd)
                    container.pidfd = None
            with trio.CancelScope(shield=True):
                # A directory is used by its next owner only when nothing of ours is under way any more.
                await self._in_thread(self._settings.cgroups.close)
            self._settings.state.close()
            self._finished.set()

    async def _initialise(self, node_id: NodeId, task: Task) -> None:
        try:
            async with self._init_lock:
                await self._take_up(node_id)
        except RuntimeUnavailable as err:
            task.error = err
        except OSError as err:
            task.error = RuntimeUnavailable(f"can't take up node {node_id}: {err.filename}: {err.strerror}")
        finally:
            del self._initialisations[node_id]
            if node_id not in self._nodes and task.error is None:
                task.error = RuntimeClosed("the runtime was closed while the node was initialised")
            task.done.set()

    async def _take_up(self, node_id: NodeId) -> None:
        mine = [found for found in self._found if found.body.options.node_id == node_id]
        others = [found for found in self._found if found.body.options.node_id != node_id]
        adopted: list[Adopted] = []
        taken = False
        try:
            await self._adopt_all(mine, adopted)
            if not self._nodes:
                # Only now is it certain that nothing is being created.
                live = [one.found.container_id for one in adopted if one.pidfd is not None]
                known = [*live, *(found.container_id for found in others)]
                await self._in_thread(_adoption.sweep_strays, self._settings, known)
            self._found = others
            for one in adopted:
                if not one.never_started:
                    self._register(one.found.container_id, self._made(one.found), one.pidfd)
            taken = True
        finally:
            for one in adopted:
                if one.pidfd is not None and not taken:
                    os.close(one.pidfd)
        self._nodes.add(node_id)

    async def _create(self, creation: Creation) -> None:
        try:
            refuse_unsupported(creation.config, creation.options)
            self._reserve_ports(creation)
            container = await self._launched(creation)
        except OrchestrationError as err:
            creation.error = err
            await self._remember_failed(creation)
        except (ValueError, OverflowError) as err:
            # Lone surrogates, numbers beyond any range: it is the config that is wrong, so others must not suffer.
            msg = f"container {creation.config.name!r}: the system can't be given one of its values: {err}"
            creation.error = ConfigUnsupported(msg)
            await self._remember_failed(creation)
        finally:
            key = key_of(creation.config, creation.options)
            del self._creations[creation.container_id]
            if creation.container_id not in self._containers:
                del self._keys[key]
                self._release_ports(creation.container_id)
                if creation.error is None:
                    creation.error = RuntimeClosed("the runtime was closed while the container was created")
            creation.done.set()
        if creation.error is None:
            self._tell(container)

    async def _launched(self, creation: Creation) -> Container:
        container_id = creation.container_id
        try:
            started = await self._in_thread(
                start_container, self._settings, container_id, creation.config, creation.options, creation.created_at
            )
        except OSError as err:
            # A directory that stays would be taken for a container, or be in the way of the next attempt.
            await self._insist(clean_up, self._settings, container_id)
            msg = f"can't create container {container_id}: {err.strerror}"
            raise RuntimeUnavailable(msg) from err
        directory = self._settings.state.containers / container_id
        creation.pidfd = pidfd = started.pidfd
        unread = ""
        try:
            if creation.unwanted:
                _processes.send_signal(pidfd, signal.SIGKILL)
            try:
                report = await _read_report(started.report_fd)
            finally:
                os.close(started.report_fd)
            try:
                head = read_head(directory) if report == "ok" else None
            except (OSError, RecordDamaged, RecordTooNew) as err:
                _processes.send_signal(pidfd, signal.SIGKILL)
                head, report, unread = None, "", str(err)
            if head is not None:
                container = Container(container_id, started.body, head, address=self._settings.address)
                self._register(container_id, container, pidfd)
                pidfd = -1
                return container
            await _processes.wait_ended(pidfd)
            _processes.reap(pidfd)
            words = unread or await self._in_thread(_adoption.last_words, directory)
            await self._insist(_adoption.discard, self._settings, container_id, started.body)
            raise _start_error(creation, report, words)
        finally:
            if pidfd >= 0:
                os.close(pidfd)

    async def _remember_failed(self, creation: Creation) -> None:
        """Keep the epoch that was asked for, although no record says it."""
        if isinstance(creation.error, (StartFailed, PortTaken, ConfigUnsupported)):
            try:
                await self._write_epoch(creation.options)
            except RuntimeUnavailable as err:
                creation.error = err

    async def _write_epoch(self, options: CreateOptions) -> None:
        async with self._epochs_lock:
            line = self._epochs.line_for(options.instance)
            try:
                await self._in_thread(self._epochs.append, line)
                if self._epochs.is_large:
                    await self._in_thread(self._epochs.rewrite, self._epochs.compacted(self._held_slots()))
            except OSError as err:
                msg = f"can't write {self._epochs.path}: {err.strerror}"
                raise RuntimeUnavailable(msg, remedy="Free space on its disk, then repeat.") from err

    async def _watch(self, container: Container, pidfd: int) -> None:
        """Wait for the end of a container's shim, then for the final word."""
        await _processes.wait_ended(pidfd)
        _processes.reap(pidfd)
        container.end_sessions()
        head = await self._insist(
            _adoption.conclude, self._settings, container.container_id, container.body, container.head, self._now
        )
        os.close(pidfd)
        container.pidfd = None
        self._release_ports(container.container_id)
        container.end(head)
        self._tell(container)

    async def _insist(self, function: Callable[..., T], *arguments: object) -> T:
        """Do what must be done before anything else is true of a container, however long the system refuses."""
        while True:
            try:
                return await self._in_thread(function, *arguments)
            except (OSError, RuntimeUnavailable) as err:
                _log.warning("%s; trying again", err)
            await trio.sleep(RETRY_SECONDS)

    async def _see_to_end(self, container: Container) -> None:
        """Kill a container when its time has come, and then its shim if that does not come to an end."""
        if container.kill_at > trio.current_time():
            await self._signal_main(container, signal.SIGTERM)
        while not container.ended.is_set() and trio.current_time() < container.kill_at:
            container.stop_changed = trio.Event()
            with trio.move_on_at(container.kill_at):
                await container.stop_changed.wait()
        if container.ended.is_set():
            return
        await self._signal_main(container, signal.SIGKILL)
        with trio.move_on_after(SHIM_SECONDS):
            await container.ended.wait()
        if container.pidfd is not None:
            _log.warning("the shim of container %s does not come to an end and is killed", container.container_id)
            _processes.send_signal(container.pidfd, signal.SIGKILL)

    async def _signal_main(self, container: Container, number: int) -> None:
        try:
            container.signal_main(number, self._settings.boot_id)
        except OSError:
            # Descriptors are short, and the process may still be another one: there is no way but to wait for some.
            await self._insist(container.signal_main, number, self._settings.boot_id)

    async def _remove(self, container: Container, removal: Task) -> None:
        container_id = container.container_id
        directory = self._settings.state.containers / container_id
        try:
            await container.ended.wait()
            # First what takes space: then a full disk can still take the line that remembers the epoch.
            for name in ("logs", "work", "tmp"):
                await self._in_thread(remove_tree, directory / name)
            await self._write_epoch(container.body.options)
            await self._in_thread(_adoption.put_away, self._settings.state, container_id)
        except RuntimeUnavailable as err:
            removal.error = err
        except OSError as err:
            removal.error = RuntimeUnavailable(f"can't remove {err.filename or directory}: {err.strerror}")
        else:
            del self._containers[container_id]
            del self._keys[key_of(container.body.config, container.body.options)]
            container.removed = True
            container.wake()
        finally:
            if not container.removed and removal.error is None:
                removal.error = RuntimeClosed("the runtime was closed while the container was removed")
            container.removal = None
            removal.done.set()
        self._tell(container)

    # ---- parts -------------------------------------------------------------------------------------------------------

    async def _adopt_all(self, mine: list[Found], adopted: list[Adopted]) -> None:
        """Find out what became of containers, waiting for those that are starting just now.

        Args:
            mine: Their records.
            adopted: Where what was found out is put.
        """
        deadline = trio.current_time() + START_WAIT_SECONDS
        while mine := await self._in_thread(_adoption.adopt_each, self._settings, mine, adopted):
            if trio.current_time() > deadline:
                msg = f"container {mine[0].container_id} is being started and does not get on"
                raise RuntimeUnavailable(msg, remedy="See what its shim waits for, or kill it; then try again.")
            # A former program started these in its last moment; nothing but a look tells that they are ready.
            await trio.sleep(START_LOOK_SECONDS)
        for number, one in enumerate(adopted):
            found = one.found
            self._epochs.note(found.body.options.instance, found.body.config.name, found.body.options.attempt)
            if one.never_started:
                await self._write_epoch(found.body.options)
                await self._in_thread(_adoption.discard, self._settings, found.container_id, found.body)
            elif one.pidfd is None and (found.head.exit is None or found.head.end is None):
                head = await self._insist(
                    _adoption.conclude, self._settings, found.container_id, found.body, found.head, self._now
                )
                adopted[number] = Adopted(found=Found(container_id=found.container_id, body=found.body, head=head))

    def _held_slots(self) -> set[Slot]:
        keys = [container.body.options.instance for container in self._containers.values()]
        keys += [found.body.options.instance for found in self._found]
        keys += [creation.options.instance for creation in self._creations.values()]
        return {(key.workload_id, key.index) for key in keys}

    def _made(self, found: Found) -> Container:
        return Container(found.container_id, found.body, found.head, address=self._settings.address)

    def _register(self, container_id: ContainerId, container: Container, pidfd: int | None) -> None:
        self._containers[container_id] = container
        self._keys[key_of(container.body.config, container.body.options)] = container
        if pidfd is None:
            container.end(container.head)
            return
        container.pidfd = pidfd
        for port in ports_of(container.body.config):
            self._ports[port] = container_id
        self._start(self._watch, container, pidfd)

    def _ask_to_end(self, container: Container, grace_seconds: float) -> None:
        if container.ended.is_set():
            return
        container.ask_to_end(trio.current_time() + grace_seconds if grace_seconds else -math.inf)
        if not container.stopping:
            container.stopping = True
            self._start(self._see_to_end, container)

    def _check_same(self, existing: Container | Creation, config: ContainerConfig, options: CreateOptions) -> None:
        held = existing if isinstance(existing, Creation) else existing.body
        if (held.config, held.options) != (config, options):
            what = "config" if held.config != config else "options"
            msg = f"container {existing.container_id} exists with another {what}"
            raise ContainerConflict(msg, remedy="Remove it first, or create another attempt.")

    def _check_fence(self, config: ContainerConfig, options: CreateOptions) -> None:
        instance = options.instance
        epoch = self._epochs.known_epoch(instance)
        if instance.epoch < epoch:
            msg = (
                f"epoch {epoch} of slot {instance.index} of {instance.workload_id} is known, {instance.epoch} is stale"
            )
            raise StaleEpoch(msg, known=epoch)
        attempt = self._epochs.known_attempt(instance, config.name)
        if options.attempt < attempt:
            msg = f"attempt {attempt} of container {config.name!r} of {instance} is known, {options.attempt} is stale"
            raise StaleEpoch(msg, known=attempt)

    def _reserve_ports(self, creation: Creation) -> None:
        """Take the ports before the container binds them, so that no other container is promised the same."""
        wanted = ports_of(creation.config)
        taken = sorted({port for protocol, port in wanted if (protocol, port) in self._ports})
        if taken:
            msg = f"held by other containers: {', '.join(f'port {port}' for port in taken)}"
            raise PortTaken(msg, ports=tuple(taken))
        for port in wanted:
            self._ports[port] = creation.container_id

    def _release_ports(self, container_id: ContainerId) -> None:
        for port in [port for port, holder in self._ports.items() if holder == container_id]:
            del self._ports[port]

    def _tell(self, container: Container) -> None:
        self._hints.tell(container.body.options.node_id, container.container_id)

    def _get(self, container_id: ContainerId) -> Container:
        container = self._containers.get(container_id)
        if container is None:
            msg = f"there is no container {container_id!r}"
            raise ContainerNotFound(msg)
        return container

    def _check_node(self, node_id: NodeId) -> None:
        if node_id not in self._nodes:
            msg = f"node {node_id!r} is not initialised"
            raise NodeNotFound(msg)

    def _check_open(self) -> None:
        if self._closed:
            msg = "the runtime was closed"
            raise RuntimeClosed(msg)

    async def _enter(self) -> None:
        self._check_open()
        await trio.lowlevel.checkpoint()
        self._check_open()

    async def _wait(self, event: trio.Event) -> None:
        """Wait for an event, or for the end of the runtime."""
        with trio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                await event.wait()
            finally:
                self._waits.discard(scope)
        if scope.cancelled_caught:
            self._check_open()

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._limiter)

    async def _asked(self, question: Callable[[], T]) -> T:
        """Find something out in a thread."""
        try:
            return await self._in_thread(question)
        except OSError as err:
            msg = f"can't read {err.filename or 'what was asked for'}: {err.strerror}"
            raise RuntimeUnavailable(msg) from err

    def _start(self, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        self._check_open()
        if self._nursery is None:
            msg = "a runtime is made by open_runtime, which gives its tasks a home"
            raise InternalError(msg)
        self._nursery.start_soon(function, *arguments)


async def _read_report(fd: int) -> str:
    """Return what a shim reports, or "" if it ended without a word."""
    os.set_blocking(fd, False)
    while True:
        await trio.lowlevel.wait_readable(fd)
        try:
            return os.read(fd, 4096).decode()
        except BlockingIOError:
            continue


def _start_error(creation: Creation, report: str, words: str) -> OrchestrationError:
    name = creation.config.name
    if creation.unwanted:
        return StartFailed(f"container {name!r} was removed while it was created")
    word, _, rest = report.partition(" ")
    if word != "failed":
        msg = f"the shim of container {name!r} ended before it reported{f': {words}' if words else ''}"
        return RuntimeUnavailable(msg)
    code, _, step = rest.partition(" ")
    about = {
        "run the program": f" {creation.config.command[0]!r}",
        "change the user": f" to {creation.config.user!r}",
        "enter the working directory": f" {creation.config.working_dir or ''}",
        "pin to cores": f" {creation.config.cpu_set}",
    }.get(step, "")
    return StartFailed(f"container {name!r}: can't {step}{about}: {os.strerror(int(code))}")
