"""Labels that break lines."""

#: As wide as one is before it is seen, about.
_UNSEEN = 300


def tell(label, text: str) -> None:
    """Set a label's text and make room for all of it, which the pages of a tab widget do not by themselves."""
    label.text = text
    label.setMinimumHeight(label.heightForWidth(label.width if label.visible else _UNSEEN) if text else 0)
