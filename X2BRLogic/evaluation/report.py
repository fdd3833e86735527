"""Results as a table for people."""

from __future__ import annotations

_COLUMNS = (
    ("iou", "IoU", 3),
    ("dice", "Dice", 3),
    ("chamfer_l1_unit", "Chamfer-L1 (edge)", 4),
    ("chamfer_l1_mm", "Chamfer-L1 (mm)", 2),
    ("f_score", "F-score@0.02", 3),
    ("normal_consistency", "NC", 3),
    ("maxe_mm", "maxe (mm)", 2),
    ("maye_mm", "maye (mm)", 2),
    ("maze_mm", "maze (mm)", 2),
    ("hd95_mm", "HD95 (mm)", 2),
    ("asd_mm", "ASD (mm)", 2),
)


def markdown_table(rows: list[dict]) -> str:
    """A Markdown table of results, one line a row, the metrics in the order usual in the field.

    Args:
        rows: results of `evaluate`, each with a ``name`` added; a metric that is missing or None shows as a dash.
            The protocol is a column as soon as one row names it.
    """
    texts = ["name"]
    if any(row.get("protocol") for row in rows):
        texts.append("protocol")
    lines = [
        texts + [title for _, title, _ in _COLUMNS],
        [":--"] * len(texts) + ["--:"] * len(_COLUMNS),
    ]
    for row in rows:
        cells = [str(row.get(key) or "–").replace("|", r"\|") for key in texts]
        for key, _, decimals in _COLUMNS:
            value = row.get(key)
            cells.append("–" if value is None else f"{value:.{decimals}f}")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
