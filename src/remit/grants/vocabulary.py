"""The vocabulary of tags: which names are governed, by whom, and which values they may have. What is not in it stays free."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from types import MappingProxyType

from remit.grants.model import Actor, Grant, Problem, same_person
from remit.grants.ports import GrantReads
from remit.grants.roles import may
from remit.grants.tags import check_tags
from remit.grants.tree import Tree
from remit.grants.vocabulary_model import GovernedTag, TagTerms
from remit.kernel.names import PERSON_NAME, TAG_NAME

MAX_VALUES = 500
MAX_RETIRED = 2_000
MAX_DESCRIPTION = 500
_NEAR = 64  # of how many values the nearest is looked for: callers choose what is compared
_NEAR_LENGTH = 3
NOTHING_GOVERNED: Mapping[str, GovernedTag] = MappingProxyType({})


def governing(tags: Iterable[GovernedTag], node_ids: Collection[str]) -> Mapping[str, GovernedTag]:
    """Those that hold at the end of a path, by name; only what restricts values is in it."""
    return {
        one.name: one for one in tags if one.values is not None and (one.grant_id is None or one.grant_id in node_ids)
    } or NOTHING_GOVERNED


def first_not_allowed(
    governed: Mapping[str, GovernedTag], said: Iterable[Mapping[str, str]]
) -> tuple[GovernedTag, str] | None:
    """The first value of a governed name that is not allowed, and what governs it."""
    for tags in said:
        for name, value in tags.items():
            one = governed.get(name)
            if one is not None and one.values is not None and value not in one.values:
                return one, value
    return None


def nearest(tag: GovernedTag, value: str) -> str | None:
    """The allowed value that was probably meant, if any is near."""
    allowed = sorted(tag.values or ())
    same = [one for one in allowed if one.casefold() == value.strip().casefold()]
    near = [one for one in allowed if abs(len(one) - len(value)) <= _NEAR_LENGTH][:_NEAR]
    return next(iter(same or get_close_matches(value, near, n=1)), None)


def not_allowed_text(tag: GovernedTag, value: str) -> str:
    """The sentence that says so, with what to do instead."""
    shown = value if len(value) <= 80 else f"{value[:80]}..."
    verb = "is a retired value of" if value in tag.retired else "is no allowed value of"
    near = nearest(tag, value)
    hint = f"; did you mean `{near}`? " if near else "; "
    return f"`{shown}` {verb} the tag `{tag.name}`{hint}`{tag.owner}` says which are"


def labels_problem(
    tags: Iterable[GovernedTag], path: Sequence[Grant], labels: Mapping[str, str], field: str
) -> Problem | None:
    """Why labels cannot be fixed at the end of a path, or None. `field` is what they are a part of."""
    found = first_not_allowed(governing(tags, {node.id for node in path}), [labels])
    if found is None:
        return None
    tag, value = found
    detail = not_allowed_text(tag, value)
    return Problem(code="tag_value_not_allowed", path=path[-1].path, field=f"{field}.{tag.name}", detail=detail)


def scope_problems(reads: GrantReads, tree: Tree, grants: Sequence[Grant]) -> list[Problem]:
    """What these grants newly fix in their scope and may not. What they said before is reported, not refused."""
    newly = {grant.id: _newly_said(tree.find(grant.id), grant) for grant in grants}
    if not any(newly.values()):
        return []
    tags, after = reads.vocabulary(), tree.with_grants(grants)
    found = (labels_problem(tags, after.path_to(after[one]), said, "scope") for one, said in newly.items() if said)
    return [problem for problem in found if problem is not None]


def standing_problems(tags: Iterable[GovernedTag], tree: Tree, now: datetime) -> list[Problem]:
    """Living grants whose scope fixes what is not allowed by now: they go on, and somebody should know."""
    known = tuple(tags)
    living = (one for one in tree if one.is_live(now))
    found = (labels_problem(known, tree.path_to(one), one.scope.labels(), "scope") for one in living)
    return [problem for problem in found if problem is not None]


def _newly_said(old: Grant | None, new: Grant) -> dict[str, str]:
    before = {} if old is None else old.scope.labels()
    return {name: value for name, value in new.scope.labels().items() if before.get(name) != value}


# Writing it ------------------------------------------------------------------------------------------------------


def revised(old: GovernedTag | None, name: str, terms: TagTerms) -> GovernedTag:
    """The next revision. A value that is left out now and was allowed before is retired."""
    before = frozenset() if old is None else (old.values or frozenset())
    known = frozenset() if old is None else old.retired
    return GovernedTag(
        name=name,
        revision=1 if old is None else old.revision + 1,
        owner=terms.owner,
        description=terms.description,
        values=None if terms.values is None else frozenset(terms.values),
        retired=(known | before) - frozenset(terms.values or ()),
        grant_id=terms.grant_id,
    )


def without_values(old: GovernedTag, values: Collection[str]) -> GovernedTag | Problem:
    """The next revision without these values, or without anything: the name is free again."""
    if not values:
        return replace(old, revision=old.revision + 1, is_retired=True)
    missing = [one for one in values if one not in (old.values or ())]
    if missing:
        verb = "is retired already as a value of" if missing[0] in old.retired else "is no allowed value of"
        detail = f"`{missing[0]}` {verb} the tag `{old.name}`"
        return Problem(code="tag_value_unknown", path=old.name, field="values", detail=detail)
    left = (old.values or frozenset()) - frozenset(values)
    terms = TagTerms(owner=old.owner, description=old.description, values=left, grant_id=old.grant_id)
    return revised(old, old.name, terms)


def tag_problems(new: GovernedTag) -> list[Problem]:
    """What is wrong with a tag as it is to be written."""
    found = []
    if not TAG_NAME.fullmatch(new.name):
        found.append(("tag_name_invalid", "name", f"tag name `{new.name[:80]}` does not match `{TAG_NAME.pattern}`"))
    if not PERSON_NAME.fullmatch(new.owner):
        found.append(("owner_invalid", "owner", f"`{new.owner[:80]}` is no e-mail address of a person"))
    if not 0 < len(new.description.strip()) <= MAX_DESCRIPTION or not new.description.isprintable():
        detail = f"a description has 1 to {MAX_DESCRIPTION} printable characters"
        found.append(("description_invalid", "description", detail))
    for value in sorted(new.values or ()):
        wrong = check_tags({"value": value})
        if wrong is not None or value != value.strip():
            detail = f"`{value[:80]}` cannot be the value of a tag: 1 to 128 printable characters, none of them a space at an end"
            found.append(("tag_value_invalid", "values", detail))
    if new.values is not None and len(new.values) > MAX_VALUES:
        found.append(("too_many_values", "values", f"{len(new.values)} values are more than {MAX_VALUES}"))
    elif len(new.retired) > MAX_RETIRED:
        found.append(("too_many_values", "values", f"{len(new.retired)} retired values are more than {MAX_RETIRED}"))
    return [Problem(code=code, path=new.name[:80], field=field, detail=detail) for code, field, detail in found]


def may_write(actor: Actor, old: GovernedTag | None, new: GovernedTag) -> list[Problem]:
    """Whether this person may: whoever has the right, or a tag's owner as far as its values go."""
    if may(actor, "write_tags"):
        return []
    owns = old is not None and not old.is_retired and same_person(actor.name, old.owner) and actor.within is None
    if owns and replace(new, values=old.values, retired=old.retired, revision=old.revision) == old:  # type: ignore[union-attr]
        return []
    detail = f"`{actor.name}` may not change the tag `{new.name}`: that takes finance or an org_owner"
    if owns:
        detail = f"the owner of the tag `{new.name}` changes its values, and nothing else of it"
    return [Problem(code="not_permitted", path=new.name, detail=detail)]
