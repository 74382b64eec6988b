"""The confusion matrix as an HTML table whose wrong cells can be clicked."""

from __future__ import annotations

from html import escape

import numpy as np

from cifar_model.report_folder import Report

MOST_CLASSES = 100  # each cell is a hundred bytes of HTML
# The number of true and predicted class go with the click.
ON_LOAD = """
element.addEventListener('click', event => {
  const cell = event.target.closest('button[data-true]');
  if (cell) trigger('click', {true: +cell.dataset.true, predicted: +cell.dataset.predicted});
});
"""
# Shades are laid over the page's own background, so they hold in light and dark mode.
CSS = """
p { margin: 0 0 6px; font-size: 13px; color: var(--body-text-color); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 12px; margin: 0; width: auto; }
th, td { border: 1px solid var(--border-color-primary); padding: 0; text-align: center;
  min-width: 24px; height: 28px; color: var(--body-text-color); }
th { font-weight: normal; padding: 2px 5px; text-align: right; }
thead th { vertical-align: bottom; padding: 6px 2px; }
thead span { writing-mode: vertical-rl; transform: rotate(180deg); }
td button { all: unset; cursor: pointer; display: block; width: 100%; line-height: 28px; }
td button:hover, td button:focus-visible { outline: 2px solid var(--color-accent); }
"""


def confusion_html(report: Report) -> str:
    """The table: a row a true class, a column a predicted one; shades are shares of a row.

    Of very many classes words alone.
    """
    if len(report.class_names) > MOST_CLASSES:
        return (
            f"<p>{len(report.class_names):,} classes are too many for a table here; "
            "confusion_matrix.png, beside report.json, shows them.</p>"
        )
    names = [escape(name) for name in report.class_names]
    shares = report.confusion / np.maximum(report.confusion.sum(axis=1, keepdims=True), 1)
    head = "".join(f"<th scope='col'><span>{name}</span></th>" for name in names)
    rows = []
    for t, name in enumerate(names):
        cells = []
        for p, count in enumerate(report.confusion[t].tolist()):
            hue = "34, 160, 90" if t == p else "225, 80, 40"
            shade = min(1.0, 0.15 + (0.45 if t == p else 1.5) * shares[t, p]) if count else 0
            inner = str(count) if count else ""
            if count and t != p:
                label = f"{count} of {name} taken for {names[p]}"
                inner = (
                    f"<button data-true='{t}' data-predicted='{p}' "
                    f"aria-label='{label}' title='{label}'>{count}</button>"
                )
            cells.append(f"<td style='background: rgba({hue}, {shade:.2f})'>{inner}</td>")
        rows.append(f"<tr><th scope='row'>{name}</th>{''.join(cells)}</tr>")
    return (
        "<p>Rows: the true class. Columns: the predicted one.</p>"
        f"<div class='scroll'><table><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
