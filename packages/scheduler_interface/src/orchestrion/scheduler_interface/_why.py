"""Explanations for schedulers that choose nodes in their own way."""

from __future__ import annotations

from ._explain import explain_candidates
from ._interface import ClusterView
from ._needs import needs_of
from ._survey import candidates_of
from ._types import Explanation, SchedulerCapability, SchedulingRequest


def explain(
    request: SchedulingRequest, view: ClusterView, /, *, capabilities: frozenset[SchedulerCapability]
) -> Explanation:
    """Return which nodes can't take one more slot of a request, and why: a whole explanation but for `scores`.

    It is that of a refusal where no node can take one, and else that of an assignment. Where slots of the request have
    got their nodes already, show it the view after that (`with_decisions`).

    Args:
        request: The request; which slots it lists makes no difference.
        view: The cluster.
        capabilities: What the scheduler is able to do; what is required beyond that is explained as unsupported.

    Raises:
        InvalidSchedulingRequest: The request is outside what the interface allows.
    """
    needs = needs_of(request, capabilities)
    return explain_candidates(needs, candidates_of(needs, view), view)
