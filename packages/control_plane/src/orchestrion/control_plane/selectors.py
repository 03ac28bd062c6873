"""Selectors of labels, as the API takes them."""

from ._objects.selectors import LabelSelector, parse_label_selector

__all__ = ["LabelSelector", "parse_label_selector"]
