"""What somebody gets to see."""

from __future__ import annotations

from attrs import define, field
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._web.caller import Gatekeeper
from orchestrion.shared_types import Denied


@define(eq=False)
class Sight:
    """What a principal may see and do, for as long as one page or one message takes.

    Attributes:
        principal: Who it is.
        keeper: Says what they may do.
    """

    principal: Principal
    keeper: Gatekeeper
    _known: dict[Access, bool] = field(factory=dict)

    def may(self, verb: str, resource: str, namespace: str = "", name: str = "") -> bool:
        """Whether they may do something."""
        access = Access(verb, resource, namespace, name)
        known = self._known.get(access)
        if known is None:
            try:
                self.keeper.check(self.principal, access)
                known = True
            except Denied:
                known = False
            self._known[access] = known
        return known

    def sees(self, resource: str, namespace: str = "") -> bool:
        """Whether they may list what there is of a kind, in a namespace or, for an empty one, of all the cluster."""
        return self.may("list", resource) or (bool(namespace) and self.may("list", resource, namespace))
