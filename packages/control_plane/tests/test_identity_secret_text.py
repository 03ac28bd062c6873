"""A secret text is seen by whoever reveals it, and by nobody else."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest
from attrs import asdict, frozen
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._identity.secret_text import SecretText
from orchestrion.shared_types import unstructure

CANARY = "canary-4711"
SECRET = SecretText(CANARY)


@frozen
class Holder:
    secret: SecretText


@pytest.mark.parametrize(
    "shown",
    [
        str(SECRET),
        repr(SECRET),
        f"{SECRET}",
        f"{SECRET!r:>40}",
        f"{SECRET:>40}",
        "%s %r" % (SECRET, SECRET),  # noqa: UP031 - one of the ways to show it
        "{0.__class__} {0}".format(SECRET),  # noqa: UP032 - the same
        repr([SECRET]),
        repr(Holder(SECRET)),
        str(asdict(Holder(SECRET))),
        str(unstructure({"secret": SECRET})),
        str(dir(SECRET)),
        json.dumps([SECRET], default=str),
    ],
)
def test_no_way_to_show_it_shows_it(shown: str) -> None:
    assert CANARY not in shown


@pytest.mark.parametrize(
    "write", [json.dumps, *(lambda it, n=n: pickle.dumps(it, n) for n in range(pickle.HIGHEST_PROTOCOL + 1))]
)
def test_it_can_not_be_written(write: object) -> None:
    with pytest.raises(TypeError) as caught:
        write(SECRET)  # type: ignore[operator] # all of them can be called
    assert CANARY not in str(caught.value)


def test_its_state_is_not_given() -> None:
    with pytest.raises(TypeError):
        SECRET.__getstate__()
    with pytest.raises(TypeError):
        vars(SECRET)


def test_it_is_no_part_of_a_text() -> None:
    with pytest.raises(TypeError):
        "".join([SECRET])  # type: ignore[list-item] # that is what is tried
    with pytest.raises(TypeError):
        "token " + SECRET  # type: ignore[operator] # the same


def test_a_traceback_with_locals_does_not_show_it() -> None:
    secret = SecretText(CANARY)
    try:
        raise ValueError(secret)
    except ValueError as err:
        told = traceback.TracebackException.from_exception(err, capture_locals=True)
        assert CANARY not in "".join(told.format())


def test_copies_are_the_same() -> None:
    assert copy.copy(SECRET) is SECRET
    assert copy.deepcopy([SECRET])[0] is SECRET


@given(st.text(), st.text())
def test_two_are_equal_if_their_texts_are(one: str, other: str) -> None:
    assert (SecretText(one) == SecretText(other)) == (one == other)
    assert SecretText(one).reveal() == one
    assert bool(SecretText(one)) == bool(one)
    assert SecretText(one) != one
    assert hash(SecretText(one)) == hash(SecretText(one))
