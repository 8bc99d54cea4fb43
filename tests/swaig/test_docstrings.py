import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.swaig._docstrings import first_paragraph, parameter_descriptions

GOOGLE = """Transfer money: at once,
    and for good.

    Only between accounts of one bank.

    Args:
        amount (float): How much,
            in dollars: never in cents.
        to (dict[str, tuple(int)], optional):
            Where it goes.

            Only inland.
        *rest: Ignored.
        **more: Ignored, too.
        silent:

    Returns:
        note: not a parameter.
    """
NUMPY = """Transfer money.

    Parameters
    ----------
    amount : float
        How much,
        in dollars.
    to, via : str, optional
        Account numbers.
    silent

    Returns
    -------
    note : str
        Not a parameter.
    """
SPHINX = """Transfer money.
    :param amount: How much,
        in dollars.
    :param dict[str, int] to: Where it goes.
    :type to: dict
    :keyword via: Through whom.

    :raises note: Not a parameter.
    """


def clean(doc):
    return inspect.cleandoc(doc)


def test_google_style():
    assert parameter_descriptions(clean(GOOGLE)) == {
        "amount": "How much, in dollars: never in cents.",
        "to": "Where it goes. Only inland.",
        "rest": "Ignored.",
        "more": "Ignored, too.",
    }


def test_numpy_style():
    assert parameter_descriptions(clean(NUMPY)) == {
        "amount": "How much, in dollars.",
        "to": "Account numbers.",
        "via": "Account numbers.",
    }


def test_a_numpy_section_may_be_the_last():
    doc = clean(NUMPY).partition("Returns")[0]
    assert list(parameter_descriptions(doc)) == ["amount", "to", "via"]


def test_sphinx_style():
    assert parameter_descriptions(clean(SPHINX)) == {
        "amount": "How much, in dollars.",
        "to": "Where it goes.",
        "via": "Through whom.",
    }


def test_a_section_ends_with_its_indentation():
    doc = "Say.\n\nArgs:\n    a: One.\nb: Not an argument.\n"
    assert parameter_descriptions(doc) == {"a": "One."}


def test_text_that_precedes_the_first_entry_describes_nothing():
    doc = "Say.\n\nArgs:\n    The usual ones\n    a: One.\n"
    assert parameter_descriptions(doc) == {"a": "One."}


@pytest.mark.parametrize("title", ["Arguments", "Parameters", "Keyword Args", "Attributes"])
def test_other_names_of_the_section(title):
    assert parameter_descriptions(f"Say.\n\n{title}:\n  a: One.\n") == {"a": "One."}


def test_other_sections_describe_no_parameters():
    doc = "Say.\n\nRaises:\n    ValueError: no.\n\nNotes\n-----\na : b\n    c\n"
    assert parameter_descriptions(doc) == {}


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        (GOOGLE, "Transfer money: at once, and for good."),
        (NUMPY, "Transfer money."),
        (SPHINX, "Transfer money."),
        ("One line.", "One line."),
        ("One\ntwo\n\nthree", "One two"),
        ("Say.\nArgs:\n    a: One.", "Say."),
        ("Say.\nReturns:\n    a", "Say."),
        ("Say.\nParameters\n----------\na", "Say."),
        ("Args:\n    a: One.", ""),
        ("", ""),
    ],
)
def test_the_first_paragraph(doc, expected):
    assert first_paragraph(clean(doc)) == expected


pieces = st.sampled_from([*"aA :-*(),", "\n", "\n    ", "Args:", ":param a:", "---"])


@given(st.lists(pieces, max_size=40).map("".join))
def test_any_text_is_accepted(doc):
    first_paragraph(doc)
    for description in parameter_descriptions(doc).values():
        assert description == " ".join(description.split()) != ""
