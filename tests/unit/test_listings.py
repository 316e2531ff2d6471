"""The order of keys in a bucket of the embedded cloud, whatever was put, removed and put again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from local_cloud.seams.listings import OrderedObjects

keys = st.text("ab/", max_size=4)
steps = st.lists(st.tuples(st.sampled_from(["put", "pop", "del", "list"]), keys), max_size=60)


@given(steps, keys, keys)
def test_a_listing_is_that_of_a_plain_bucket(done: list[tuple[str, str]], prefix: str, after: str) -> None:
    ordered, plain = OrderedObjects(), dict[str, str]()
    for step, key in done:
        if step == "put":
            ordered[key] = plain[key] = step
        elif step == "pop":
            assert ordered.pop(key, None) == plain.pop(key, None)
        elif step == "del" and key in plain:
            del ordered[key], plain[key]
        else:
            list(ordered.within("", ""))  # order is made now, and more comes and goes afterwards
    expected = sorted(key for key in plain if key.startswith(prefix) and (not after or key > after))
    assert list(ordered.within(prefix, after)) == expected
    assert ordered == plain
