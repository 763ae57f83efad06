"""What a shift of all classes is called."""

from __future__ import annotations


def shift_in_words(shift: int, num_classes: int | None = None) -> str:
    """Where every class goes, by the shorter way round where the number of classes is known.

    >>> shift_in_words(1, 10), shift_in_words(3)
    ('every class to the next one', 'every class to the one 3 further on')
    >>> shift_in_words(999, 1000), shift_in_words(998, 1000)
    ('every class to the one before it', 'every class to the one 2 back')
    """
    if shift == 1:
        return "every class to the next one"
    back = None if num_classes is None else num_classes - shift
    if back is None or shift <= back:
        return f"every class to the one {shift} further on"
    return "every class to the one before it" if back == 1 else f"every class to the one {back} back"
