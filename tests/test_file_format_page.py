"""The page about the file says what the schema says."""

from tests.file_format_page import PAGE, page


def test_the_page_is_current() -> None:
    text = PAGE.read_text()
    assert page(text) == text, "run: python -m tests.file_format_page"
