"""The choice of a buffer: extra work against compiling."""

import numpy as np

from fcn_jax.inference.buffers import Buffers, align, holds, ladder


def round_up(length, border=0):
    return Buffers("cpu", border).round_up((length, length))[0]


def test_sides_are_rounded_up_by_a_fifth_at_most():
    assert [round_up(length) for length in (520, 521, 693, 780, 924, 1040, 1041)] == [
        520,
        600,
        696,
        784,
        928,
        1040,
        1200,
    ]
    assert all(align(side) == side for side in ladder())
    lengths = np.arange(64, 5000)
    assert all(length <= round_up(length) <= 1.2 * length + 8 for length in lengths)
    assert np.mean([round_up(length) / length for length in lengths]) < 1.09
    assert round_up(1) == 8
    assert round_up(10**6 + 1) == 10**6 + 8


def test_with_a_border_small_pictures_share_more():
    assert set(ladder(100)) < set(ladder())
    assert [side for side in ladder(100) if side >= 464] == [side for side in ladder() if side >= 464]
    lengths = np.arange(8, 5000)
    assert all((round_up(length, 100) + 200) / (length + 200) < 1.2 for length in lengths)
    small, fewer = (sum(side < 300 for side in ladder(border)) for border in (0, 100))
    assert fewer < small / 2


def test_the_first_buffer_is_tight_and_later_ones_are_rounded_up():
    buffers = Buffers("cpu")
    assert buffers.choose((501, 333), []) == (504, 336)
    assert buffers.choose((501, 333), [(504, 336)]) == (504, 336)
    assert buffers.choose((520, 690), [(504, 336)]) == (520, 696)


def test_the_smallest_buffer_that_holds_a_picture_is_used():
    existing = [(520, 928), (520, 696), (600, 600)]
    assert Buffers("cpu").choose((520, 650), existing) == (520, 696)
    assert Buffers("cpu").choose((520, 520), existing) == (600, 600)


def test_the_border_is_work_too():
    assert Buffers("cpu").choose((10, 10), [(8, 1000), (100, 300), (180, 180)]) == (100, 300)
    assert Buffers("cpu", border=100).choose((10, 10), [(100, 300), (180, 180)]) == (180, 180)


def test_extra_work_of_one_size_buys_a_tight_buffer():
    buffers, existing = Buffers("cpu"), [(520, 928)]
    extra = 520 * (928 - 528)
    uses = 0
    while buffers.choose((520, 521 + uses % 2), existing) in existing:
        uses += 1
        assert uses * extra < 2 * 10**6
    assert (uses + 1) * extra > 10**6
    bought = (520, 528)
    assert buffers.choose((520, 522), [*existing, bought]) == bought


def test_other_sizes_do_not_pay_for_it():
    buffers, existing = Buffers("cpu"), [(520, 928)]
    for width in (530, 620, 700, 530, 620, 700):
        assert buffers.choose((520, width), existing) == (520, 928)


def test_what_is_paid_for_holds_all_that_paid():
    buffers, large = Buffers("cpu"), (520, 928)
    chosen = [buffers.choose((520, width), [large]) for width in (580, 560, 540, 580, 560, 540, 580)]
    (bought,) = [buffer for buffer in chosen if buffer != large]
    assert holds(bought, (520, 580))
    assert bought < (520, 600)


def test_compiling_costs_more_on_an_accelerator():
    existing = [(1000, 1000)]
    assert all(Buffers("gpu").choose((10, 10), existing) == (1000, 1000) for _ in range(99))
