"""The one kit that the modules of this package declare their checks in."""

from __future__ import annotations

from typing import Final

from orchestrion.conformance_kit import Kit

from ._subject import ClusterUnderTest

KIT: Final = Kit[ClusterUnderTest](lambda subject: subject.manager.capabilities)
