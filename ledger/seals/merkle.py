"""Merkle trees over SHA-256, as defined in RFC 9162, section 2.1. Pure.

Leaves and nodes are hashed with different first bytes, so neither can pass for the other. A last node without a sibling
moves up a level unchanged, which is equivalent to splitting at the largest power of two.
"""

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf (RFC 9162, section 2.1.1)."""
    return hashlib.sha256(b"\0" + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of a tree from the hashes of its leaves (RFC 9162, section 2.1.1)."""
    if not leaves:
        return hashlib.sha256().digest()
    level = leaves
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def append(frontier: Sequence[bytes], size: int, leaf: bytes) -> list[bytes]:
    """Return the frontier of a tree of `size` leaves after another leaf: the roots of its largest full subtrees."""
    grown, node = [*frontier], leaf
    while size & 1:
        node, size = _node(grown.pop(), node), size >> 1
    return [*grown, node]


def frontier_root(frontier: Sequence[bytes]) -> bytes:
    """Return the root of the tree with this frontier."""
    if not frontier:
        return root(())
    *left, joined = frontier
    for subtree in reversed(left):
        joined = _node(subtree, joined)
    return joined


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the hashes that lead from a leaf to the root (RFC 9162, section 2.1.3.1)."""
    siblings, level = [], leaves
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        level, index = _parents(level), index >> 1
    return siblings


def leads_to(root: bytes, leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bool:
    """Return whether `path` leads from a leaf at `index` in a tree of `size` leaves to the root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, reached = index, size - 1, leaf
    for sibling in path:
        if last == 0 or len(sibling) != HASH_BYTES:
            return False
        if node & 1 or node == last:
            reached = _node(sibling, reached)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            reached = _node(reached, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and reached == root


def _parents(level: Sequence[bytes]) -> list[bytes]:
    parents = [_node(level[number], level[number + 1]) for number in range(0, len(level) - 1, 2)]
    return parents + list(level[-1:]) if len(level) % 2 else parents


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
