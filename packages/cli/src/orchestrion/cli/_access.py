"""`whoami`, `auth` and `token`: as who one is known, what one may do, and what one gives away."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from attrs import frozen
from orchestrion.shared_types import ConfigInvalid, OrchestrationError, Problem

from ._exit_codes import ExitCode
from ._kinds import OTHER_RESOURCES, VERBS
from ._objects import reach_objects
from ._output import Form, coloured, columns, note, show, show_one
from ._places import place_of
from ._reach import reach_api
from ._running import run_async
from ._tables import at
from ._times import seconds_of, since
from ._where import Where

Data = Mapping[str, Any]

WHO: Final[Mapping[str, type]] = {"kind": str, "name": str}
"""What is told of who asks."""

_READING: Final = frozenset({"get", "list", "watch", "logs", "explain", "plan"})
"""Verbs for which the role of who only looks is enough."""


def asked(where: Where, method: str, path: str, data: Any = None, *, expects: Mapping[str, type] | None = None) -> Any:
    """Ask for one thing, and return the answer, which has to have some keys."""
    place = place_of(where)

    async def ask() -> Any:
        async with reach_api(place) as api:
            return (await api.ask(method, path, data, expects=expects)).data

    return run_async(ask)


def run_whoami(where: Where, form: Form) -> int:
    """Print as who one is known."""
    who: Data = asked(where, "GET", "/api/v1/whoami", expects=WHO)
    show_one(who, form, table=lambda one: columns(_who_rows(one)), name=lambda one: f"{one['kind']}:{one['name']}")
    return 0


def _who_rows(who: Data) -> list[tuple[str, str]]:
    rows = [("name", str(at(who, "name"))), ("kind", str(at(who, "kind"))), ("by", str(at(who, "via")))]
    rows.append(("groups", ", ".join(who.get("groups", ()))))
    if who.get("namespaces") is not None:
        rows.append(("only in", ", ".join(who["namespaces"])))
    if who.get("scope") is not None:
        rows += [("only", rule_words(rule)) for rule in who["scope"]]
    if who.get("expires_at"):
        rows.append(("until", str(at(who, "expires_at"))))
    return rows


def rule_words(rule: Data) -> str:
    """Return a rule in words."""
    names = f" {', '.join(rule['names'])}" if "names" in rule else ""
    spaces = f" in {', '.join(rule['namespaces'])}" if "namespaces" in rule else ""
    own = ", only one's own" if rule.get("own") else ""
    return f"{', '.join(rule['verbs'])}: {', '.join(rule['resources'])}{names}{spaces}{own}"


def run_can_i(verb: str, resource: str, name: str, where: Where, form: Form, *, all_rights: bool) -> int:
    """Say whether one may do something, or all that one may do."""
    if all_rights:
        items: Sequence[Data] = asked(where, "GET", "/api/v1/rights", expects={"items": list})["items"]
        show(items, form, table=lambda given: columns(_right_rows(given)), name=rule_words)
        return 0
    if not (verb and resource):
        problem = Problem("say what and with what, or --list")
        raise ConfigInvalid((problem,), remedy="orchestrion auth can-i scale workloads")
    if verb not in VERBS:
        problem = Problem(f"there is no verb {verb!r:.100}")
        raise ConfigInvalid((problem,), remedy=f"There are: {', '.join(VERBS)}.")
    answer: Data = run_async(_verdict, where, verb, resource, name)
    told = "yes" if answer["allowed"] else "no"
    show_one(answer, form, table=lambda one: [f"{told}: {at(one, 'why')}"], name=lambda _: told)
    return ExitCode.OK if answer["allowed"] else ExitCode.DENIED


async def _verdict(where: Where, verb: str, resource: str, name: str) -> Data:
    async with reach_objects(where, place_of(where)) as objects:
        kind, slash, part = resource.partition("/")
        if kind not in OTHER_RESOURCES:
            kind = (await objects.kind(kind)).plural
        question = {"verb": verb, "resource": f"{kind}{slash}{part}", "namespace": where.namespace or "", "name": name}
        verdict: Data = (await objects.api.ask("POST", "/api/v1/can-i", question, expects={"allowed": bool})).data
        return verdict


def _right_rows(rights: Sequence[Data]) -> list[tuple[str, ...]]:
    rows = [tuple(coloured(title, "dim") for title in ("MAY", "BY ROLE", "BY BINDING"))]
    return rows + [(rule_words(one), str(at(one, "role")), str(at(one, "binding"))) for one in rights]


@frozen(kw_only=True)
class Wanted:
    """A token that is wanted; see the command."""

    name: str
    kind: str | None
    groups: Sequence[str]
    namespaces: Sequence[str]
    allow: Sequence[str]
    lifetime: str | None
    note: str

    def document(self, now: datetime) -> dict[str, Any]:
        """Return what the server is asked for.

        Raises:
            ConfigInvalid: Something can't be understood.
        """
        document: dict[str, Any] = {"name": self.name, "note": self.note}
        if self.kind is not None:
            document["kind"] = self.kind
        if self.groups or self.name:
            document["groups"] = list(self.groups)
        if self.namespaces:
            document["namespaces"] = list(self.namespaces)
        if self.allow:
            document["scope"] = [_rule(text) for text in self.allow]
        if self.lifetime is not None:
            document["expires_at"] = (now + timedelta(seconds=seconds_of(self.lifetime))).isoformat()
        return document


def _rule(text: str) -> dict[str, Any]:
    verbs, colon, resources = text.partition(":")
    if not (verbs and colon and resources):
        problem = Problem(f"{text!r:.100} allows nothing: write VERB,VERB:RESOURCE,RESOURCE")
        raise ConfigInvalid((problem,), remedy="--allow get,list:workloads")
    return {"verbs": verbs.split(","), "resources": resources.split(",")}


def run_token_create(wanted: Wanted, where: Where, form: Form) -> int:
    """Make a token, and print it."""
    document = wanted.document(datetime.now(UTC))

    def tell(made: Data) -> None:
        show_one(made, form, table=lambda one: [str(one["token"])], name=lambda one: str(one["id"]))
        sys.stdout.flush()
        until = f", good until {at(made, 'expires_at')}" if made.get("expires_at") else ""
        note(f"{at(made, 'id')}: a token of {at(made, 'kind')} {at(made, 'name')}{until}; it is not shown again")

    made, is_bound = run_async(_token, where, document, tell)
    if not is_bound:
        reads = all(set(rule["verbs"]) <= _READING for rule in document.get("scope", ()))
        narrows = ", and --allow only narrows what roles allow" if wanted.allow else ""
        note(f"it may do nothing yet: no binding gives a role to whose it is{narrows}")
        note(f"next:  {_binding_command(made, 'viewer' if reads else 'editor')}")
    return 0


async def _token(where: Where, document: Data, tell: Callable[[Data], None]) -> tuple[Data, bool]:
    """Return a new token, and whether a binding gives a role to whose it is, as far as one may know.

    Args:
        where: Where it is made.
        document: What the server is asked for.
        tell: Shows the token, before anything else is asked: nobody can show it a second time.
    """
    async with reach_objects(where, place_of(where)) as objects:
        made: Data = (await objects.api.ask("POST", "/api/v1/tokens", document)).data
        tell(made)
        if "groups" not in document:
            return made, True  # it is one's own, with one's own groups
        try:
            kind = await objects.kind("rolebindings")
            bindings = [*await objects.built_in(kind), *(await objects.list(kind)).items]
        except OrchestrationError:
            return made, True  # the token is as good as if that were known
        groups = [*document["groups"], "system:authenticated", f"system:{at(made, 'kind')}s"]
        own = {("group", one) for one in groups} | {(str(at(made, "kind")), str(at(made, "name")))}
        given = {(one.get("kind"), one.get("name")) for each in bindings for one in at(each, "spec.subjects") or ()}
        return made, bool(own & given)


def _binding_command(made: Data, role: str) -> str:
    name, spaces = str(at(made, "name")), list(made.get("namespaces") or ())
    spec: dict[str, Any] = {"role": role, "subjects": [{"kind": at(made, "kind"), "name": name}]}
    if len(spaces) == 1:
        spec["namespace"] = spaces[0]
    binding = {"kind": "RoleBinding", "metadata": {"name": f"{name}-{role}"}, "spec": spec}
    return f"echo {shlex.quote(json.dumps(binding))} | orchestrion create -f -"


def run_token_list(where: Where, form: Form) -> int:
    """Print what is known of tokens."""
    items: Sequence[Data] = asked(where, "GET", "/api/v1/tokens", expects={"items": list})["items"]
    now = datetime.now(UTC)
    show(items, form, table=lambda given: columns(proof_rows(given, "ID", "id", now)), name=lambda one: str(one["id"]))
    return 0


def lasting(one: Data) -> str:
    """Return until when somebody is known by something."""
    return str(at(one, "expires_at") or "for ever")


def proof_rows(
    items: Sequence[Data], title: str, key: str, now: datetime, until: Callable[[Data], str] = lasting
) -> list[tuple[str, ...]]:
    """Return by what somebody is known as rows.

    Args:
        items: Tokens, certificates or keys.
        title: What stands above their ids.
        key: What has their ids.
        now: The time.
        until: Says of one until when it is good.
    """
    rows = [tuple(coloured(each, "dim") for each in (title, "WHOSE", "AGE", "UNTIL", "WHAT FOR"))]
    for one in items:
        made = datetime.fromisoformat(one["created_at"])
        whose = f"{at(one, 'kind')}:{at(one, 'name')}"
        rows.append((str(at(one, key)), whose, since(made, now), until(one), str(at(one, "note"))))
    return rows


def run_token_revoke(ids: Sequence[str], where: Where) -> int:
    """Make tokens worthless."""
    for token_id in ids:
        was: Data = asked(where, "DELETE", f"/api/v1/tokens/{quote(token_id, safe='')}")
        note(f"{token_id}: a token of {at(was, 'kind')} {at(was, 'name')}; it is worthless now")
    return 0
