"""Where objects are: their paths, and what a path names."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from litestar.exceptions import MethodNotAllowedException
from orchestrion.control_plane._objects.kinds import Kind
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.owning import Owning
from orchestrion.shared_types import ConfigInvalid, Problem

from .queries import AnyRequest

COLLECTION: Final = "/api/v1/{plural:str}"
NAMESPACES: Final = "/api/v1/namespaces"
NAMESPACED: Final = "/api/v1/namespaces/{namespace:str}/{plural:str}"


@frozen
class Found:
    """What a path names.

    Attributes:
        kind: The kind.
        namespace: The namespace, or empty.
        name: The name.
    """

    kind: Kind
    namespace: str
    name: str


@frozen
class Places:
    """Finds out what a path names.

    Attributes:
        objects: Knows the kinds.
    """

    objects: Objects

    @property
    def owning(self) -> Owning:
        """Says whom objects belong to."""
        return Owning(self.objects)

    def kind(
        self,
        request: AnyRequest,
        *,
        namespaced: bool | None = None,
        written: bool = False,
        patched: bool = False,
        removed: bool = False,
    ) -> Kind:
        """Return the kind that a path names.

        Args:
            request: Whose path it is.
            namespaced: Whether the path is one of a namespace; None is any.
            written: Only a kind whose objects are written.
            patched: Only a kind of whose objects parts are written.
            removed: Only a kind whose objects can be removed.

        Raises:
            NotFound: There is none.
            ConfigInvalid: It is at another path.
            MethodNotAllowedException: It is only read.
        """
        kind = self.objects.kinds.find(request.path_params.get("plural", "namespaces"))
        if namespaced is not None and kind.namespaced is not namespaced:
            where = f"/api/v1/namespaces/NAMESPACE/{kind.plural}" if kind.namespaced else f"/api/v1/{kind.plural}"
            raise ConfigInvalid((Problem(f"{kind.plural} are at {where}", path=request.url.path),))
        refused = (written, kind.written), (patched, kind.patched), (removed, kind.removable)
        if any(asked and not may for asked, may in refused):
            text = f"{kind.plural} are written by nobody: they show what is"
            if kind.marked:
                text = f"{kind.plural} show what is; a PATCH changes their labels and taints"
            allowed = kind.allowed if "name" in request.path_params else "GET"
            raise MethodNotAllowedException(text, headers={"allow": allowed})
        return kind

    def cluster_wide(self, request: AnyRequest, **wanted: bool) -> Found:
        """Return which cluster-wide object a path names; what is wanted of it is as for `kind`."""
        kind = self.kind(request, namespaced=False, **wanted)
        return Found(kind, "", request.path_params["name"])

    def namespaced(self, request: AnyRequest, **wanted: bool) -> Found:
        """Return which object of a namespace a path names; what is wanted of it is as for `kind`."""
        path = request.path_params
        kind = self.kind(request, namespaced=True, **wanted)
        return Found(kind, path["namespace"], path["name"])
