"""What nodes hold, as the view that is shown says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from orchestrion.scheduler_interface import ClusterView, NodeView


class Views(Sequence[NodeView]):
    """What nodes hold, by position; looked up again in the view that is shown where it is not known any more.

    Attributes:
        known: By position what is known of nodes; None is looked up when somebody asks for it.
        source: The view that is shown.
    """

    def __init__(self, views: list[NodeView]) -> None:
        """Begin with the nodes of a view, all of them known."""
        self.known: list[NodeView | None] = [*views]
        self._ids = [view.node.id for view in views]
        self.source: ClusterView | None = None

    def __len__(self) -> int:
        return len(self.known)

    @overload
    def __getitem__(self, position: int) -> NodeView: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[NodeView]: ...
    def __getitem__(self, position: int | slice) -> NodeView | Sequence[NodeView]:
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        known = self.known[position]
        if known is None:
            known = None if self.source is None else self.source.get(self._ids[position])
            if known is None:
                msg = f"node {self._ids[position]} is not in the view that has it"
                raise AssertionError(msg)
            self.known[position] = known
        return known

    def __iter__(self) -> Iterator[NodeView]:
        return (self[position] for position in range(len(self.known)))

    def set(self, position: int, view: NodeView) -> None:
        """Take over what a node holds."""
        self.known[position] = view
