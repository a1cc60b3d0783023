import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragar_rec.store.hashing import digest, hash_file, hash_files


@given(data=st.binary(min_size=1, max_size=64), at=st.integers(0, 63), other=st.integers(1, 255))
def test_keys_differ_when_any_byte_differs(tmp_path_factory, data, at, other):
    folder = tmp_path_factory.mktemp("bytes")
    changed = bytearray(data)
    changed[at % len(data)] ^= other
    (folder / "a").write_bytes(data)
    (folder / "b").write_bytes(changed)
    assert hash_file(folder / "a") != hash_file(folder / "b")
    assert hash_files([folder / "a", folder / "b"]) != hash_files([folder / "b", folder / "a"])


def test_a_digest_does_not_depend_on_the_order_of_keys_but_on_that_of_a_list():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1, "b": [1, 2]}) != digest({"a": 1, "b": [2, 1]})
    # Canonical JSON has no spaces and is hashed as UTF-8.
    assert digest({"a": "é"}) == hashlib.sha256(b'{"a":"\xc3\xa9"}').hexdigest()


def test_what_json_cannot_represent_has_no_digest():
    with pytest.raises(TypeError, match="JSON"):
        digest({"x": float("nan")})
