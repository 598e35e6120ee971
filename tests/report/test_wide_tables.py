"""How wide a table is taken to be, which decides its letters on paper."""

import re

import numpy as np
import pytest

from crossearth_jax.report.table import Section, Table
from crossearth_jax.report.wide_tables import confusion_table, scrolling


def ems(html):
    (found,) = re.findall(r"--ems:([\d.]+)", html)
    return float(found)


def table(heads, row):
    return Table(heads, "l" + "r" * (len(heads) - 1), [Section([row])])


def test_more_columns_make_smaller_letters():
    few, more = (table(["name", *["IoU"] * n], ["a", *["98.7"] * n]) for n in (3, 9))
    assert ems(scrolling(few)) < ems(scrolling(more))
    assert 'class="scroll"' in scrolling(more)  # names lie


def test_long_names_over_many_figures_stand_upright():
    heads = ["domain", *[f"cultivated{i}" for i in range(20)]]
    page = scrolling(table(heads, ["far", *["98.7"] * 20]))
    assert 'class="scroll many"' in page
    assert ems(page) < 20 * 0.58 * len("cultivated1")


def test_wide_figures_gain_nothing_by_upright_names():
    heads = ["domain", *["class"] * 20]
    page = scrolling(table(heads, ["far", *["123456789.0"] * 20]))
    assert 'class="scroll"' in page


def test_words_and_deviations_break_instead_of_widening():
    narrow = ems(scrolling(table(["row", "mIoU"], ["x" * 24, "81.0"])))
    long = "x" * 24 + " and many more words"
    assert ems(scrolling(table(["row", "mIoU"], [long, "81.0 ± 1.4"]))) < narrow + 2


@pytest.mark.parametrize("classes", [2, 255])
def test_a_confusion_matrix_has_a_share_in_every_cell(classes):
    names = [f"class {i}" for i in range(classes)]
    page = confusion_table(np.eye(classes, dtype=np.int64), names)
    assert page.count("<td") == classes**2 and page.count("--share:100%") == classes
    assert ("many" in page) == (classes > 2)
