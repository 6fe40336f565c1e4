"""What each role may do: one table. Rights follow the tree; a role bound to a grant holds there and below.

Owning a grant is no role: it is written in the grant. What owners may do stands beside the roles.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

from remit.grants.model import Actor, Grant, Role, RoleBinding, same_person
from remit.grants.tree import Tree

Right = Literal[
    "read_grants",
    "read_keys",
    "read_ledger",
    "read_tickets",
    "read_notifications",
    "read_people",
    "read_audit",
    "read_gateways",
    "read_jobs",
    "read_statements",
    "run_doctor",
    "retry_jobs",
    "apply_evidence",
    "close_books",
    "decide_books",
    "import_statements",
    "decide_debt",
    "decide_tickets",
    "end",
    "write_grants",
    "give_roles",
    "assert_outcomes",
    "write_tags",
    "allocate",
]
RIGHTS: Final[tuple[Right, ...]] = get_args(Right)

_READS: Final[frozenset[Right]] = frozenset(
    right for right in RIGHTS if right.startswith("read_") or right == "run_doctor"
)
RIGHTS_OF: Final[Mapping[Role, frozenset[Right]]] = {
    "org_owner": frozenset(RIGHTS),
    "finance": frozenset(
        {
            "read_grants",
            "read_ledger",
            "read_tickets",
            "read_statements",
            "apply_evidence",
            "import_statements",
            "close_books",
            "decide_books",
            "decide_debt",
            "write_tags",
            "allocate",
        }
    ),
    "security": _READS | {"end"},
    "auditor": _READS,
    "approver": frozenset({"read_grants", "read_ledger", "read_tickets", "decide_tickets", "decide_debt"}),
    "gateway_operator": frozenset({"read_gateways", "read_jobs", "run_doctor", "retry_jobs"}),
    "system_of_record": frozenset({"assert_outcomes"}),
}
RIGHTS_OF_OWNERS: Final[frozenset[Right]] = frozenset(
    {"read_grants", "read_keys", "read_ledger", "read_tickets", "read_notifications", "end", "write_grants"}
)


def reaches(actor: Actor, nodes: Iterable[Grant]) -> bool:
    """Whether the token that was shown reaches the last grant of this path at all."""
    return actor.within is None or any(node.id == actor.within for node in nodes)


def may(actor: Actor, right: Right, nodes: Iterable[Grant] = ()) -> bool:
    """Whether a role of the actor gives them a right over the last grant of a path, or over all there is without a path.

    What follows from owning something is not looked at; see `owner_may`.
    """
    path = tuple(nodes)
    if not reaches(actor, path):
        return False
    ids = {node.id for node in path}
    return actor.is_admin or any(
        right in RIGHTS_OF[binding.role] and (binding.grant_id is None or binding.grant_id in ids)
        for binding in actor.roles
    )


def owner_may(actor: Actor, right: Right, nodes: Iterable[Grant]) -> bool:
    """Whether owning something on a path gives the actor a right over the last grant of it."""
    path = tuple(nodes)
    return (
        right in RIGHTS_OF_OWNERS and reaches(actor, path) and any(same_person(actor.name, node.owner) for node in path)
    )


def who_may(right: Right, nodes: Iterable[Grant], bindings: Iterable[tuple[str, RoleBinding]]) -> list[str]:
    """The people whose role gives them a right over the last grant of a path (over everything without one), by name."""
    ids = {node.id for node in nodes}
    return sorted(
        {
            person
            for person, binding in bindings
            if right in RIGHTS_OF[binding.role] and (binding.grant_id is None or binding.grant_id in ids)
        }
    )


def acts_for(tree: Tree, bindings: Iterable[RoleBinding]) -> frozenset[str]:
    """The ids of the grants whose owner an approver may stand in for when they decide a ticket: see `Actor.acts_for`.

    An approver of a grant decides what is raised below it; what raises that grant itself is decided above it.
    """
    tops = {binding.grant_id for binding in bindings if "decide_tickets" in RIGHTS_OF[binding.role]}
    return frozenset(grant.id for grant in tree if None in tops or any(node.id in tops for node in tree.path_to(grant)))
