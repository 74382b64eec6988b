"""However long a list, its message stays short."""

from itertools import count

from cifar_model.first_few import first_few


def test_a_short_list_is_whole_and_a_long_one_counted():
    assert first_few([]) == ""
    assert first_few("abcde") == "a, b, c, d, e"
    assert first_few("abcdef") == "a, b, c, d, e and 1 more"
    assert first_few(count(), 1_000_000) == "0, 1, 2, 3, 4 and 999,995 more"
