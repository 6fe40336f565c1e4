"""YAML without surprises: plain data only, and no key twice in one mapping (the second would silently win).

Numbers are what they look like. YAML 1.1 reads `0100` as 64 and `1:30` as 90; here only plain decimal notation is a number, and
whatever else looks like one stays the text it is, for the reader of the document to refuse.
"""

import re
from collections.abc import Hashable
from typing import Any, Final

import yaml

_INT: Final = "tag:yaml.org,2002:int"
_FLOAT: Final = "tag:yaml.org,2002:float"
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_MAX_DIGITS: Final = 100


class _StrictLoader(yaml.SafeLoader):
    """Refuses repeated keys, days that do not exist and numbers in any notation but the plain one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise _error(f"the key `{key}` stands twice in one mapping", key_node)
                seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_day_or_instant(self, node: yaml.ScalarNode) -> Any:
        try:
            return self.construct_yaml_timestamp(node)
        except (ValueError, OverflowError):
            raise _error(f"`{node.value}` is not a day or an instant that exists", node) from None

    def construct_number(self, node: yaml.ScalarNode) -> int:
        # An explicit tag (`!!int 0x10`) gets here with any text.
        if not _PLAIN_INT.fullmatch(node.value) or len(node.value) > _MAX_DIGITS:
            raise _error(f"`{node.value[:_MAX_DIGITS]}` is not a whole number in plain digits", node)
        return int(node.value)


_PLAIN_INT: Final = re.compile(r"0|-?[1-9][0-9]*")
_PLAIN_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_INT, _FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(_INT, re.compile(rf"(?:{_PLAIN_INT.pattern})\Z"), list("-0123456789"))
_StrictLoader.add_implicit_resolver(_FLOAT, re.compile(rf"(?:{_PLAIN_FLOAT.pattern})\Z"), list("-0123456789"))
_StrictLoader.add_constructor(_INT, _StrictLoader.construct_number)
_StrictLoader.add_constructor(_TIMESTAMP, _StrictLoader.construct_day_or_instant)


class NotYamlError(ValueError):
    """The text is no document; the message is a lower-case clause, with the place where there is one."""


def load_yaml(text: str) -> Any:
    """The one document of a text. Raises NotYamlError."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - derived from the safe loader
    except yaml.MarkedYAMLError as error:
        raise NotYamlError(_where_and_what(error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotYamlError(f"line {line} holds a control character") from None
    except RecursionError:
        raise NotYamlError("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise NotYamlError(str(error).partition("\n")[0] or type(error).__name__) from None


def _where_and_what(error: yaml.MarkedYAMLError) -> str:
    what, mark = error.problem or "it cannot be read", error.problem_mark
    if what == "but found another document":
        what = "a second document begins here, and a file has one"
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark is not None else what


def _error(what: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)
