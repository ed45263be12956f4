"""The Merkle trees of seals follow RFC 9162, and nothing outside a tree can be proved to be in it."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.seals import merkle

LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [  # from the reference implementation of Certificate Transparency (RFC 6962), for the first n leaves
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

sizes = st.integers(1, 300)


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(number.to_bytes(2, "big")) for number in range(count)]


def root_by_definition(hashes: Sequence[bytes]) -> bytes:
    """Compute the root exactly as RFC 9162, section 2.1.1, defines it."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    halves = root_by_definition(hashes[:split]) + root_by_definition(hashes[split:])
    return hashlib.sha256(b"\x01" + halves).digest()


@pytest.mark.parametrize("count", range(9))
def test_the_roots_match_the_published_vectors(count: int) -> None:
    hashes = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES[:count]]
    assert ROOTS[count] == merkle.root(hashes).hex()


@given(sizes)
def test_the_root_matches_the_definition(count: int) -> None:
    assert root_by_definition(leaves(count)) == merkle.root(leaves(count))


@given(sizes, st.data())
def test_the_path_of_any_leaf_leads_to_the_root(count: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, count - 1))
    hashes = leaves(count)
    path = merkle.path(hashes, index)
    assert merkle.leads_to(merkle.root(hashes), hashes[index], index, count, path)
    assert len(path) <= (count - 1).bit_length()


@given(sizes, st.data())
def test_a_wrong_leaf_index_path_or_root_never_verifies(count: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, count - 1))
    hashes = leaves(count)
    root, path = merkle.root(hashes), merkle.path(hashes, index)
    strange = merkle.leaf_hash(b"strange")
    other = data.draw(st.integers(-2, count + 2).filter(lambda number: number != index))
    assert not merkle.leads_to(root, strange, index, count, path)
    assert not merkle.leads_to(strange, hashes[index], index, count, path)
    assert not merkle.leads_to(root, hashes[index], other, count, path)
    assert not merkle.leads_to(root, hashes[index], index, count, [*path, strange])
    for number in range(len(path)):
        assert not merkle.leads_to(root, hashes[index], index, count, path[:number] + path[number + 1 :])
        assert not merkle.leads_to(root, hashes[index], index, count, [*path[:number], strange, *path[number + 1 :]])
        assert not merkle.leads_to(root, hashes[index], index, count, [*path[:number], b"", *path[number:]])


def test_a_node_cannot_pass_for_a_leaf() -> None:
    """RFC 9162, section 2.1.1: leaves and nodes are hashed with different prefixes."""
    left, right = leaves(2)
    assert merkle.root([left, right]) != merkle.leaf_hash(left + right)
    assert merkle.root([left, right]) != hashlib.sha256(left + right).digest()
