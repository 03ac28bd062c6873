"""All that a change of an object has to pass before it is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from attrs import define, evolve, field
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.asking import ASKING, SERVER, WARNINGS
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.json_values import JsonObject
from orchestrion.control_plane._objects.kinds import (
    CUSTOM_KIND,
    NAMESPACE,
    PRIORITY_CLASS,
    WORKLOAD,
    Kind,
    KindRegistry,
)
from orchestrion.control_plane._objects.label_form import check_labels
from orchestrion.control_plane._objects.proposal import checked_spec
from orchestrion.control_plane._objects.specs import CustomKindSpec, NamespaceSpec
from orchestrion.control_plane._objects.workload_form import definition_of, workload_of
from orchestrion.control_plane._service.intent import Admit, ChangeKind, May, Review, admit_all, everybody
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    PRIORITY_CLASSES,
    ConfigInvalid,
    Conflict,
    Denied,
    Metadata,
    NotFound,
    Problem,
    UidFactory,
    WorkloadDefinition,
    new_uid,
    structure,
)

from .chain import AdmissionChain
from .forms import check_form
from .hooks import Hooks
from .resource_names import check_resources
from .review import AdmissionRequest, Mutator, Operation, Validator
from .workload_rules import RuleBook, outline_of, stated_priority, with_changes


@define(eq=False)
class Admission:
    """Looks at each change: what is built in makes it complete and checks it, and webhooks have their say.

    In this order: what namespace and limit ranges give to workloads that do not say; mutating webhooks; the form of the
    object, and what is built in once more; validating webhooks. Quotas have the last word, in the transaction.

    What the server does of itself passes without webhooks.

    Attributes:
        kinds: The kinds that there are.
        history: Shows the objects that say what is admitted.
        hooks: The webhooks.
        last: Has its say about an object when all others have had theirs.
        may: Says whether somebody may do something; by default everybody may everything.
        new_uid: Makes the ids of requests.
        resources: Returns what resources nodes have beside those that all have; None while that is not known.
    """

    kinds: KindRegistry
    history: History
    hooks: Hooks
    last: Admit = admit_all
    may: May = field(default=everybody, kw_only=True)
    new_uid: UidFactory = field(default=new_uid, kw_only=True)
    resources: Callable[[], Collection[str] | None] = field(default=lambda: None, kw_only=True)
    _rules: RuleBook = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._rules = RuleBook(self.history)

    async def __call__(self, review: Review) -> Document:
        """Return the object of a change as it is to be written.

        Raises:
            ConfigInvalid: It can't be accepted.
            Denied: Something that is built in, or a webhook, refuses it.
            Conflict: It belongs to what is being removed.
            Unavailable: A webhook did not answer, and nobody else may judge.
        """
        document = review.document
        if review.change is not ChangeKind.DELETE:
            if review.kind is WORKLOAD:
                before = stated_priority(review.before.spec) if review.before is not None else None
                self._check_priority(review.intent.principal or ASKING.get(), stated_priority(document.spec), before)
            document = self._fitting(review.kind, document, review.before)
        elif review.kind is NAMESPACE and document.metadata.name == DEFAULT_NAMESPACE:
            msg = f"namespace {DEFAULT_NAMESPACE!r} always is there"
            raise Conflict(msg, remedy="Remove what is in it.")
        if not self.hooks.any:
            return await self.last(review if document is review.document else evolve(review, document=document))
        request = _request_of(review, document, self.new_uid())
        mutators, validators = self._asked(request)
        if not mutators and not validators:
            return await self.last(evolve(review, document=document))
        sent = request.object

        def check(request: AdmissionRequest) -> JsonObject:
            nonlocal document
            if request.object is not None and request.object is not sent:
                document = structure(request.object, Document)
                spec = checked_spec(review.kind, document.spec)
                document = self._fitting(review.kind, evolve(document, spec=spec), review.before)
            return document.plain()

        await self._pass(AdmissionChain(mutators, validators, check=check), request)
        return await self.last(evolve(review, document=document))

    async def workload(
        self,
        definition: WorkloadDefinition,
        before: WorkloadDefinition | None,
        others: Sequence[WorkloadDefinition],
        *,
        dry_run: bool = False,
    ) -> WorkloadDefinition:
        """Return a workload as it is to be written; errors are as for a change of its object.

        Args:
            definition: The workload.
            before: It as it is; None where it is new.
            others: The workloads that it may come after.
            dry_run: Whether nothing will be written.
        """
        definition = self._rules.resolved(definition)
        self._check_priority(ASKING.get(), definition.priority, before.priority if before is not None else None)
        rules = self._rules.rules(definition.metadata.namespace)
        definition = rules.completed(definition)
        rules.check(definition)
        known = before.metadata.labels if before is not None else {}
        check_labels(definition.metadata.labels, known)
        self._check_owners(definition.metadata, before.metadata if before is not None else None)
        if not self.hooks.any:
            return definition
        document = workload_of(definition)
        request = AdmissionRequest(
            uid=self.new_uid(),
            operation=Operation.CREATE if before is None else Operation.UPDATE,
            kind=WORKLOAD.name,
            namespace=document.metadata.namespace,
            name=document.metadata.name,
            object=document.plain(),
            old_object=workload_of(before).plain() if before is not None else None,
            principal=ASKING.get(),
            dry_run=dry_run,
        )
        mutators, validators = self._asked(request)
        sent = request.object

        def check(request: AdmissionRequest) -> JsonObject:
            nonlocal definition
            if request.object is None or request.object is sent:
                return document.plain()
            changed = self._rules.with_numbers(structure(request.object, Document))
            definition = rules.completed(definition_of(changed, others, PRIORITY_CLASSES))
            rules.check(definition)
            check_labels(definition.metadata.labels, known)
            return workload_of(definition).plain()

        await self._pass(AdmissionChain(mutators, validators, check=check), request)
        return definition

    async def judge(
        self,
        operation: Operation,
        kind: Kind,
        namespace: str,
        name: str,
        plain: JsonObject | None,
        *,
        dry_run: bool = False,
        action: str = "",
    ) -> None:
        """Ask validating webhooks about what is done with an object, other than writing it as a whole.

        Args:
            operation: What is done.
            kind: The object's kind.
            namespace: Its namespace.
            name: Its name.
            plain: The object as it would be; None where it is not changed.
            dry_run: Whether nothing will be done.
            action: What it is called; or empty, where the operation says it.

        Raises:
            Denied: One refuses it.
            Unavailable: One did not answer, and nobody else may judge.
        """
        if not self.hooks.any:
            return
        item = self.history.find(kind.plural, namespace, name)
        request = AdmissionRequest(
            uid=self.new_uid(),
            operation=operation,
            kind=kind.name,
            namespace=namespace,
            name=name,
            object=plain,
            old_object=item.document.plain() if item is not None else None,
            principal=ASKING.get(),
            dry_run=dry_run,
            action=action,
        )
        _, validators = self._asked(request)
        await self._pass(AdmissionChain((), validators, check=lambda asked: asked.object or {}), request)

    async def act(
        self, action: str, workload: WorkloadDefinition, *, dry_run: bool = False, replicas: int | None = None
    ) -> None:
        """Ask validating webhooks about what is done with a workload; errors are as for `judge`.

        Args:
            action: What is done: "scale", "start", "stop", "pause", "resume", "promote" or "retry".
            workload: The workload.
            dry_run: Whether nothing will be done.
            replicas: How many it would have; None leaves it at what it says.
        """
        if self.hooks.any:
            metadata, plain = workload.metadata, workload_of(workload).plain()
            if replicas is not None:
                plain["spec"]["replicas"] = replicas
            await self.judge(
                Operation.UPDATE, WORKLOAD, metadata.namespace, metadata.name, plain, dry_run=dry_run, action=action
            )

    def _asked(self, request: AdmissionRequest) -> tuple[list[Mutator], list[Validator]]:
        if request.principal is SERVER:
            return [], []
        # What is done beside writing the object leaves it as it is, whatever somebody would make of it.
        mutators = [] if request.action else self.hooks.mutators(request)
        return mutators, self.hooks.validators(request)

    async def _pass(self, chain: AdmissionChain, request: AdmissionRequest) -> None:
        admitted = await chain.admit(request)
        said = WARNINGS.get()
        if said is not None:
            said.extend(admitted.warnings)

    # -- built in ---------------------------------------------------------------------------------------------------

    def _check_priority(self, principal: Principal, priority: int, before: int | None) -> None:
        """Make sure that nobody pushes out everybody else who was not given that."""
        if priority == before or principal is SERVER or priority <= self._rules.highest_for_all():
            return
        if not self.may(principal, Access("use", PRIORITY_CLASS.plural)):
            msg = f"{principal} may not write a workload of priority {priority}, above all that are not the system's"
            raise Denied(msg, remedy=f"Say at most {self._rules.highest_for_all()}, or ask for `use priorityclasses`.")

    def _fitting(self, kind: Kind, document: Document, before: Document | None) -> Document:
        """Return an object with what it does not say.

        Raises:
            ConfigInvalid: It can't be accepted.
            Denied: An image policy refuses it.
            Conflict: Its kind is being removed.
        """
        self._check_owners(document.metadata, before.metadata if before is not None else None)
        check_labels(document.labels, before.labels if before is not None else {})
        if kind is WORKLOAD:
            return self._fitting_workload(document)
        check_form(kind, document, self.hooks.reach)
        others = self.resources()
        if others is not None:
            check_resources(kind, document, before, others)
        if kind is NAMESPACE:
            self._check_namespace(document)
        elif kind.custom is not None and before is None:
            self._check_stays(kind.custom)
        return document

    def _fitting_workload(self, document: Document) -> Document:
        document = self._rules.with_numbers(document)
        rules = self._rules.rules(document.metadata.namespace)
        if rules.empty:
            return document
        outline = outline_of(document)
        if outline is None:
            # Whoever reads the whole of it says what is wrong with it.
            return document
        completed = rules.completed(outline)
        rules.check(completed)
        return document if completed is outline else with_changes(document, outline, completed)

    def _check_namespace(self, document: Document) -> None:
        spec = structure(dict(document.spec), NamespaceSpec)
        if spec.priority_class and self._rules.priority_class(spec.priority_class) is None:
            problem = Problem(f"there is no priority class {spec.priority_class!r:.80}", path="spec.priority_class")
            raise ConfigInvalid((problem,), remedy="See what there is: orchestrion get priorityclasses")

    def _check_stays(self, custom: CustomKindSpec) -> None:
        """Make sure that a kind is not about to go, and its objects with it."""
        for name in self.history.names(CUSTOM_KIND.plural):
            item = self.history.get(name)
            if item is None or item.document.metadata.deleting_since is None:
                continue
            if item.document.spec.get("kind") == custom.kind:
                raise Conflict(f"kind {custom.kind!r} is being removed", remedy="Wait until it is gone.")

    def _check_owners(self, metadata: Metadata, before: Metadata | None) -> None:
        """Make sure that those are there which an object is to be removed with."""
        known = before.owners if before is not None else ()
        problems = list[Problem]()
        for place, owner in enumerate(metadata.owners):
            if owner in known:
                continue
            path = f"metadata.owners[{place}]"
            try:
                kind = self.kinds.named(owner.kind)
            except NotFound as err:
                problems.append(Problem(err.message, path=f"{path}.kind"))
                continue
            if kind.namespaced and not metadata.namespace:
                text = f"a {owner.kind} is in a namespace, and can't own what is in none"
                problems.append(Problem(text, path=f"{path}.kind"))
                continue
            item = self.history.find(kind.plural, metadata.namespace if kind.namespaced else "", owner.name)
            if item is None or item.document.metadata.uid != owner.uid:
                text = f"there is no {owner.kind} {owner.name!r:.80} with uid {owner.uid!r:.80}"
                problems.append(Problem(text, path=path))
        if problems:
            raise ConfigInvalid(tuple(problems))


def _request_of(review: Review, document: Document, uid: str) -> AdmissionRequest:
    before = review.before
    going = review.change is ChangeKind.DELETE
    plain: dict[str, Any] | None = None if going else document.plain()
    return AdmissionRequest(
        uid=uid,
        operation=Operation(review.change.value),
        kind=review.kind.name,
        namespace=document.metadata.namespace,
        name=document.metadata.name,
        object=plain,
        old_object=before.plain() if before is not None else None,
        principal=review.intent.principal or ASKING.get(),
        dry_run=review.intent.dry_run,
        action=review.action,
    )
