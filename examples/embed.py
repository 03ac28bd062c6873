"""Orchestrion as a library: an orchestrator in this program's own nursery, made of four parts that can be replaced."""

from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from orchestrion.cluster_local import open_cluster
from orchestrion.orchestrator_core import LogQuery, start_orchestrator_service
from orchestrion.runtime_process import open_runtime
from orchestrion.scheduler_interface import SimpleScheduler
from orchestrion.shared_types.manifest import parse_manifest
from orchestrion.store_sqlite import open_store

MANIFEST = "workloads: {hello: {kind: batch, containers: [{name: main, command: [echo, hello from a library]}]}}"


async def main(state: Path) -> None:
    """Run the manifest, and print what it writes."""
    async with (
        open_store(state / "store") as store,
        open_cluster(state / "cluster") as cluster,
        open_runtime(state / "runtime") as runtime,
        trio.open_nursery() as nursery,
    ):
        orchestrator = await nursery.start(start_orchestrator_service, runtime, cluster, SimpleScheduler(), store)
        await orchestrator.apply(parse_manifest(MANIFEST).workloads)
        async with orchestrator.logs(LogQuery(subject="hello", follow=True)) as records:
            async for record in records:
                print(record.instance, record.data.decode(), end="")
        nursery.cancel_scope.cancel()


with TemporaryDirectory() as folder:
    trio.run(main, Path(folder))
