"""How often, and how much at once, may be asked."""

from .limits import DEFAULT_LANES, Lane, Limits, source_of, who_asks
from .rate import Rate, RateLimiter
from .seats import LaneSize, Seats

__all__ = ["DEFAULT_LANES", "Lane", "LaneSize", "Limits", "Rate", "RateLimiter", "Seats", "source_of", "who_asks"]
