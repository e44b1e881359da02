from __future__ import annotations

from proxy.core.fieldnames import PerName


def test_a_name_is_understood_once() -> None:
    asked: list[bytes] = []

    def length(name: bytes) -> int:
        asked.append(name)
        return len(name)

    names = PerName(length)
    assert [names[b"Host"], names[b"Host"], names[b"host"]] == [4, 4, 4]
    assert asked == [b"Host", b"host"]


def test_strange_names_are_understood_and_do_not_pile_up() -> None:
    names = PerName(bytes.lower)
    for number in range(5000):
        assert names[b"X-%d" % number] == b"x-%d" % number
    assert names[b"A" * 60_000] == b"a" * 60_000
    assert len(names) <= 1024
    assert max(len(name) for name in names) <= 64
