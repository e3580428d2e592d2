"""The schema and the documents handed in, as resources by URI.

Identifiers, anchors, references. Nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import unquote, urljoin

from espalier.grammar.dialect import BY_URI, DRAFT_2020_12, Dialect, escape
from espalier.grammar.errors import GrammarTooLargeError, SchemaError
from espalier.grammar.limits import Limits
from espalier.grammar.value import Json

ROOT_URI = "json-schema:///"  # of a schema without $id
_VALIDATION = "validation"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A schema where it stands: `path` is a JSON pointer from its document's root; compared by place."""

    data: Json
    path: str
    resource: Resource
    document: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the place."""
        return (self.document, self.path)

    def child(self, pointer: str, data: Json, resources: Resources) -> Node:
        """A schema inside of this one."""
        return Node(data, self.path + pointer, resources.resource_of(data, self.resource), self.document)


class Resource:
    """A schema with an identifier of its own, and the anchors in it."""

    __slots__ = ("anchors", "dialect", "dynamic", "root", "uri")

    def __init__(self, uri: str, dialect: Dialect) -> None:
        self.uri, self.dialect = uri, dialect
        self.anchors: dict[str, Node] = {}
        self.dynamic: dict[str, Node] = {}  # by anchor; "" is a $recursiveAnchor
        self.root: Node


Pending: TypeAlias = "tuple[Json, str, Resource]"


class Resources:
    """All resources of one grammar."""

    def __init__(self, schema: Json, documents: Mapping[str, Json], dialect: Dialect | None, limits: Limits) -> None:
        self._limits, self._count = limits, 0
        self._by_uri: dict[str, Resource] = {}
        self._of_data: dict[int, Resource] = {}  # of schemas that open a resource
        self._documents = documents
        self._default = dialect or DRAFT_2020_12
        self._loaded: set[str] = set()
        self.root = self._load(schema, ROOT_URI, self._default)
        self.is_dynamic = False

    def resource_of(self, data: Json, around: Resource) -> Resource:
        """The resource that a schema belongs to, which lies in another one's."""
        return self._of_data.get(id(data), around) if isinstance(data, dict) else around

    def resolve(self, reference: str, node: Node) -> tuple[Node, str]:
        """The target of a reference from a node, and its fragment. SchemaError if nothing handed in is there."""
        absolute = join(node.resource.uri, reference)
        uri, _, fragment = absolute.partition("#")
        resource = self._resource(uri)
        if resource is None:
            raise SchemaError(f"reference {reference!r}: no document {uri!r} was handed in", node.path)
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            if fragment not in resource.anchors:
                raise SchemaError(f"reference {reference!r}: no anchor {fragment!r} in {uri!r}", node.path)
            return resource.anchors[fragment], fragment
        return self._pointed(resource.root, fragment, reference, node.path), fragment

    def _resource(self, uri: str) -> Resource | None:
        found = self._by_uri.get(uri)
        if found is None:
            for key in (uri, uri + "#"):
                if key in self._documents and key not in self._loaded:
                    self._loaded.add(key)
                    self._load(self._documents[key], uri, self._default)
            found = self._by_uri.get(uri)
        return found

    def _pointed(self, root: Node, pointer: str, reference: str, path: str) -> Node:
        data, resource, found = root.data, root.resource, root.path
        for token in pointer.split("/")[1:] if pointer else ():
            name = token.replace("~1", "/").replace("~0", "~")
            if isinstance(data, dict) and name in data:
                data = data[name]
            elif isinstance(data, list) and name.isdecimal() and int(name) < len(data):
                data = data[int(name)]
            else:
                raise SchemaError(f"reference {reference!r} points at nothing", path)
            found += "/" + escape(name)
            resource = self.resource_of(data, resource)
        if not isinstance(data, dict | bool):
            raise SchemaError(f"reference {reference!r} points at {type(data).__name__}, not at a schema", path)
        if isinstance(data, dict) and id(data) not in self._of_data:
            self._index([(data, found, resource)], root.document)
        return Node(data, found, self.resource_of(data, resource), root.document)

    def _load(self, schema: Json, uri: str, around: Dialect) -> Node:
        dialect = self._dialect(schema, around)
        resource = Resource(uri, dialect)
        resource.root = Node(schema, "", resource, uri)
        self._by_uri[uri] = resource
        self._index([(schema, "", resource)], uri)
        return Node(schema, "", self.resource_of(schema, resource), uri)

    def _index(self, pending: list[Pending], document: str) -> None:
        """Notes identifiers and anchors of schemas and all schemas inside them."""
        while pending:
            data, path, resource = pending.pop()
            if not isinstance(data, dict):
                continue
            self._count += 1
            if self._count > self._limits.subschemas:
                raise GrammarTooLargeError("subschemas", self._limits.subschemas, "the schema")
            resource = self._identified(data, path, resource, document)
            self._note_anchors(data, path, resource, document)
            if resource.dialect.ref_hides_siblings and "$ref" in data:
                inside = [(p, d) for p, d in resource.dialect.subschemas(data) if p.startswith("/definitions")]
            else:
                inside = list(resource.dialect.subschemas(data))
            pending.extend((inner, path + pointer, resource) for pointer, inner in inside)

    def _identified(self, data: dict[str, Json], path: str, resource: Resource, document: str) -> Resource:
        given = data.get(resource.dialect.id_keyword)
        dialect = self._dialect(data, resource.dialect) if "$schema" in data else resource.dialect
        if dialect is not resource.dialect:
            given = data.get(dialect.id_keyword)
        if not isinstance(given, str) or (dialect.ref_hides_siblings and "$ref" in data):
            return resource
        uri, _, fragment = join(resource.uri, given).partition("#")
        if fragment and dialect.ref_hides_siblings:  # before 2019-09 an anchor is an $id that is a fragment
            resource.anchors.setdefault(fragment, Node(data, path, resource, document))
            if given.startswith("#"):
                return resource
        if uri == resource.uri:
            return resource
        inner = Resource(uri, dialect)
        inner.root = Node(data, path, inner, document)
        self._by_uri.setdefault(uri, inner)
        self._of_data[id(data)] = inner
        return inner

    def _note_anchors(self, data: dict[str, Json], path: str, resource: Resource, document: str) -> None:
        node = Node(data, path, resource, document)
        if resource.dialect.ref_hides_siblings:
            return
        for keyword, table in (("$anchor", resource.anchors), ("$dynamicAnchor", resource.dynamic)):
            name = data.get(keyword)
            if isinstance(name, str):
                table[name] = resource.anchors[name] = node
        if data.get("$recursiveAnchor") is True:
            resource.dynamic[""] = node

    def _dialect(self, schema: Json, around: Dialect) -> Dialect:
        named = schema.get("$schema") if isinstance(schema, dict) else None
        if not isinstance(named, str):
            return around
        uri = named.rstrip("#")
        if uri in BY_URI:
            return BY_URI[uri]
        if uri.replace("https:", "http:") in BY_URI or uri.replace("http:", "https:") in BY_URI:
            return BY_URI.get(uri.replace("https:", "http:")) or BY_URI[uri.replace("http:", "https:")]
        meta = self._documents.get(uri, self._documents.get(named))
        if not isinstance(meta, dict):
            return self._default
        base = self._dialect(meta, self._default)
        vocabularies = meta.get("$vocabulary")
        if not isinstance(vocabularies, dict):
            return base
        return replace(base, vocabularies=frozenset(name.rsplit("/", 1)[-1] for name in vocabularies))


def join(base: str, reference: str) -> str:
    """A reference resolved against a base URI (RFC 3986, 5.2), also where the base has no hierarchy, as in `urn:`."""
    if reference.startswith("#"):
        return base.partition("#")[0] + reference
    if not reference:
        return base
    if base.startswith(ROOT_URI):
        joined = urljoin("http://x/" + base[len(ROOT_URI) :], reference)
        return ROOT_URI + joined[len("http://x/") :] if joined.startswith("http://x/") else joined
    return urljoin(base, reference) or reference
