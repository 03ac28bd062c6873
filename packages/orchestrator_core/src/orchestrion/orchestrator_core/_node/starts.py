"""Starting containers: what they are told, their directories, and the ports that are leased for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import trio
from attrs import define, evolve, field
from orchestrion.orchestrator_core._clock import WallClock
from orchestrion.orchestrator_core._node.config import ConfigReader
from orchestrion.orchestrator_core._node.containers import ContainerBook, HeldInstance
from orchestrion.orchestrator_core._node.engine import Engine, Slots, create_seconds, no_answer
from orchestrion.orchestrator_core._node.environment import (
    complete_config,
    dependencies_of_template,
    instance_variables,
)
from orchestrion.orchestrator_core._node.plan import ContainerStart
from orchestrion.orchestrator_core._node.volumes import VolumeOwner, VolumeProvider
from orchestrion.orchestrator_core._state.lifecycle import START_FAILED
from orchestrion.orchestrator_core._state.world import InstanceRecord
from orchestrion.runtime_interface import (
    ConfigUnsupported,
    ContainerConflict,
    ContainerSummary,
    CreateOptions,
    PortTaken,
    StaleEpoch,
    StartFailed,
    VolumeSource,
)
from orchestrion.shared_types import (
    ContainerConfig,
    ContainerId,
    ContainerState,
    ContainerStatus,
    ExitStatus,
    HealthCheck,
    InstanceKey,
    OrchestrationError,
    PortMapping,
    ReferenceInvalid,
    WorkloadDefinition,
)

PORT_TRIES: Final = 5
"""Leased ports that are tried in a row where others have taken them."""


@define(eq=False)
class Starter:
    """Starts the containers of a node's instances.

    Attributes:
        book: What the runtime has.
        engine: Creates them.
        volumes: Makes the directories behind volumes.
        config: Reads ConfigMaps and Secrets.
        environment: What `inherit_env` names variables of.
        slots: Bounds how many instances are started at once.
        now: The wall clock.
    """

    book: ContainerBook
    engine: Engine
    volumes: VolumeProvider
    config: ConfigReader
    environment: Mapping[str, str]
    slots: Slots
    now: WallClock
    _scopes: set[trio.CancelScope] = field(factory=set)

    def cancel_all(self) -> None:
        """Give up every start that is under way."""
        scopes, self._scopes = self._scopes, set()
        for scope in scopes:
            scope.cancel()

    async def start(
        self,
        key: InstanceKey,
        record: InstanceRecord,
        instance: HeldInstance,
        template: WorkloadDefinition,
        starts: list[ContainerStart],
    ) -> bool:
        """Start containers, and return whether that was not cut short by `cancel_all`.

        Raises:
            OrchestrationError: What the engine raised; `NoAnswer` where a creation took too long.
        """
        # One scope for all: where an engine is quick, a scope costs as much as the call.
        scope = trio.CancelScope()
        self._scopes.add(scope)
        was_cut = False
        try:
            with scope:
                place = await self.slots.take()
                try:
                    await self._start(key, record, instance, template, starts, scope)
                finally:
                    self.slots.give_back(place)
        finally:
            was_cut = scope not in self._scopes
            self._scopes.discard(scope)
        if scope.cancelled_caught and not was_cut:
            seconds = create_seconds(instance.given_up)
            instance.given_up += 1
            raise no_answer(f"create the containers of {record.name}", seconds)
        return not scope.cancelled_caught

    async def _start(
        self,
        key: InstanceKey,
        record: InstanceRecord,
        instance: HeldInstance,
        template: WorkloadDefinition,
        starts: list[ContainerStart],
        scope: trio.CancelScope,
    ) -> None:
        volumes = await self._volumes_of(key, record, template)
        variables = self._variables(record, template, volumes)
        owner = VolumeOwner(record.name, key.workload_id)
        for start in starts:
            mounted = {mount.volume for mount in start.config.volumes}
            told, further = variables, tuple[VolumeSource, ...]()
            if start.config.config or start.config.secrets:
                reading = await self.config.read(owner, start.config)
                told, further = {**variables, **reading.variables}, reading.volumes
                start = ContainerStart(reading.config, start.attempt, start.restarts_in_row)
            options = CreateOptions(
                node_id=self.engine.node_id,
                instance=key,
                attempt=start.attempt,
                namespace=record.name.namespace,
                workload=record.name.workload,
                volumes=tuple(source for source in volumes if source.volume in mounted) + further,
                device_ids=record.bound.binding.devices.get(start.config.name, ()) if record.bound is not None else (),
            )
            await self._create(key, instance, start, options, told, scope)

    async def _create(
        self,
        key: InstanceKey,
        instance: HeldInstance,
        start: ContainerStart,
        options: CreateOptions,
        variables: Mapping[str, str],
        scope: trio.CancelScope,
    ) -> None:
        name = start.config.name
        for tried in range(PORT_TRIES):
            try:
                config = complete_config(
                    start.config, variables, start.attempt, self._lease_port(key, instance, name), self.environment
                )
                instance.unsure = True
                # What is announced from its creation on is known to be of it; what was before is in its status.
                container_id, status = await self._create_in_time(key, instance, config, options, scope)
                while container_id in instance.asked and instance.asked.pop(container_id) != status:
                    status = await self.engine.status(container_id)
            except PortTaken as err:
                instance.unsure = False
                if not self._give_up_ports(key, instance, start.config, err.ports) or tried == PORT_TRIES - 1:
                    raise
            except (StartFailed, ConfigUnsupported, StaleEpoch) as err:
                instance.unsure = False
                instance.never_created[name] = self._not_started(start, err)
                return
            except ContainerConflict:
                # A call whose reply was lost has created it, with other ports or endpoints: it is taken as it is.
                await self.book.list()
                if not any(
                    c.status.name == name and c.status.attempt == start.attempt for c in instance.containers.values()
                ):
                    raise
                return
            else:
                instance.unsure = False
                instance.given_up = 0
                if config.health is not None:
                    instance.checks[container_id] = config.health
                instance.never_created.pop(name, None)
                if start.restarts_in_row:
                    status = evolve(status, restarts_in_row=start.restarts_in_row)
                self.book.hold(
                    instance,
                    ContainerSummary(container_id=container_id, node_id=options.node_id, instance=key, status=status),
                )
                return

    async def _create_in_time(
        self,
        key: InstanceKey,
        instance: HeldInstance,
        config: ContainerConfig,
        options: CreateOptions,
        scope: trio.CancelScope,
    ) -> tuple[ContainerId, ContainerStatus]:
        scope.deadline = trio.current_time() + create_seconds(instance.given_up)
        try:
            return await self.engine.create(config, options, partial(self.book.own, key))
        except OrchestrationError:
            # What is done about it has its own time. After a success the time goes on until the next creation.
            scope.deadline = math.inf
            raise

    def _lease_port(self, key: InstanceKey, instance: HeldInstance, name: str) -> Callable[[PortMapping], int]:
        def lease(port: PortMapping) -> int:
            owner = (key, name, port.name)
            instance.ports.add(owner)
            return self.book.ports.lease(owner, port.protocol)

        return lease

    def _give_up_ports(
        self, key: InstanceKey, instance: HeldInstance, config: ContainerConfig, taken: tuple[int, ...]
    ) -> bool:
        """Give up leased ports that others have taken, and return whether all that were taken are of that kind."""
        ports = self.book.ports
        static = {port.host_port for port in config.ports}
        for port in config.ports:
            owner = (key, config.name, port.name)
            if port.host_port is None and owner in instance.ports and ports.lease(owner, port.protocol) in taken:
                ports.release(owner)
        return not static.intersection(taken)

    def _not_started(self, start: ContainerStart, err: OrchestrationError) -> ContainerStatus:
        now = self.now()
        return ContainerStatus(
            name=start.config.name,
            state=ContainerState.EXITED,
            attempt=start.attempt,
            exit=ExitStatus(reason=START_FAILED, message=err.message),
            created_at=now,
            finished_at=now,
            restarts_in_row=start.restarts_in_row,
        )

    async def check_of(
        self,
        key: InstanceKey,
        record: InstanceRecord,
        template: WorkloadDefinition,
        config: ContainerConfig,
        check: HealthCheck,
        status: ContainerStatus,
    ) -> HealthCheck:
        """Return a container's health check with its references replaced, as when the container was created."""
        variables = self._variables(record, template, await self._volumes_of(key, record, template))
        if config.config or config.secrets:
            # What was read for the start is not kept: only ConfigMaps can be referred to here, which are read again.
            variables |= await self._read_again(record, config)
        try:
            completed = complete_config(
                config, variables, status.attempt, lambda port: status.ports.get(port.name, 0), self.environment
            )
        except ReferenceInvalid:
            # What it inherited is no longer there for this run of the program; the container still runs.
            return check
        return completed.health or check

    async def _read_again(self, record: InstanceRecord, config: ContainerConfig) -> Mapping[str, str]:
        found = dict[str, str]()
        for use in config.config:
            if use.env:
                try:
                    texts = await self.config.source.read_config(record.name.namespace, use.name)
                except OrchestrationError:
                    # The check is then done as it was written.
                    continue
                found.update((name, texts[key]) for name, key in use.env.items() if key in texts)
        return found

    async def _volumes_of(
        self, key: InstanceKey, record: InstanceRecord, template: WorkloadDefinition
    ) -> tuple[VolumeSource, ...]:
        if not template.volumes:
            return ()
        return await self.volumes.provide(VolumeOwner(record.name, key.workload_id), template)

    def _variables(
        self, record: InstanceRecord, template: WorkloadDefinition, volumes: tuple[VolumeSource, ...]
    ) -> dict[str, str]:
        world = self.book.world
        workload = world.workloads[record.owner]
        dependencies = dependencies_of_template(workload, world.workloads)
        return instance_variables(record.name, self.engine.node_id, template, workload, volumes, dependencies)
