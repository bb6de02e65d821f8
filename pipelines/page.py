"""The parts of a self-contained HTML page: no script, no network, and nothing in it is trusted.

Every function takes plain text and escapes it; what it returns is HTML, to be put together by `document`.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

# Pictures and styles come from the page itself, and nothing else may be loaded or run, whatever a name in it says.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

STYLE = """
:root { color-scheme: light; --line: #d5d9de; --soft: #f5f6f8; --ink: #16191d; --faint: #515962; --link: #0b57a4 }
* { box-sizing: border-box }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100% }
body { margin: 0 auto; max-width: 2200px; padding: 0 1.25rem 3rem; background: #fff; color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif }
.banner { margin: 0 -1.25rem; padding: .7rem 1.25rem; max-width: none; background: #fff3cd;
  border-bottom: 2px solid #b57b00; font-weight: 600 }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1.4rem 0 .2rem }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem }
p { margin: .4rem 0; max-width: 52rem }
.name { overflow-wrap: anywhere }
.faint, figcaption, .note { color: var(--faint) }
.warnings { border-left: 4px solid #b57b00; background: var(--soft); padding: .5rem 1rem; margin: 1rem 0 }
.warnings ul { margin: .3rem 0; padding-left: 1.2rem }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 0 2.5rem;
  align-items: start }
table { border-collapse: collapse; width: 100%; max-width: 80rem; margin-bottom: 1.2rem; font-size: .95rem;
  font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding: .4rem 0 }
th, td { text-align: left; vertical-align: top; padding: .4rem 1.2rem .4rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere }
thead th { color: var(--faint); font-weight: 600 }
tbody th { font-weight: 600 }
.facts th { width: 11rem; font-weight: 400; color: var(--faint) }
.measures td:nth-of-type(1) { white-space: nowrap; font-weight: 600 }
.measures th[scope=row] { min-width: 12rem; overflow-wrap: break-word }
.numbers td, .numbers tbody th { white-space: nowrap; overflow-wrap: normal }
.numbers thead th { overflow-wrap: normal }
.wide, pre { overflow-x: auto }
pre { margin: .4rem 0; padding: .6rem .8rem; background: var(--soft); font-size: .875rem; line-height: 1.45 }
main > ul, .card ul { margin: .3rem 0; padding-left: 1.2rem; max-width: 52rem }
summary { cursor: pointer; color: var(--link) }
.panels { display: grid; gap: .8rem; margin: .4rem 0 1.2rem }
figure { margin: 0; min-width: 0 }
figcaption { font-size: .875rem; line-height: 1.35; padding-top: .25rem; overflow-wrap: anywhere }
figcaption b { color: var(--ink) }
img { display: block; width: 100%; height: auto }
figure.panel img { border: 1px solid var(--line); background: #fff }
.panel a { display: block }
.open { position: relative }
.frame { position: absolute; border: 2px solid #111; outline: 1px solid #fff }
.panel:target .frame { display: none }
a { color: var(--link) }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
.panel .shut { display: none }
.panel:target { position: fixed; inset: 0; z-index: 1; background: #fff; padding: .75rem; display: flex;
  flex-direction: column; overflow: auto }
.panel:target .open { flex: 1; min-height: 0 }
.panel:target img { height: 100%; object-fit: contain; image-rendering: pixelated; border: 0 }
.panel:target .shut { display: inline-block; padding: .4rem 0 }
.bar { height: .8rem; border: 1px solid var(--line); margin-top: .35rem }
.ends { display: flex; justify-content: space-between; font-size: .8rem; font-variant-numeric: tabular-nums }
.plots { margin-top: 1.2rem; display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 1.5rem 2rem }
.plots figure { max-width: 40rem }
footer { margin-top: 2.5rem; color: var(--faint); font-size: .9rem }
@media (min-width: 60rem) { .panels { grid-template-columns: repeat(var(--across), minmax(0, 1fr)) } }
@media (min-width: 22rem) and (max-width: 59.99rem) { .panels { grid-template-columns: repeat(2, minmax(0, 1fr)) } }
@media (max-width: 40rem) {
  body { padding: 0 .9rem 2rem }
  .banner { margin: 0 -.9rem; padding: .6rem .9rem }
  .facts th { width: 8rem }
  .numbers th, .numbers td { padding-right: .4rem; font-size: .8rem }
  .numbers tbody th, .numbers td:first-of-type { white-space: normal }
  .measures thead { position: absolute; left: -99rem }
  .measures tr { display: block; padding: .6rem 0; border-bottom: 1px solid var(--line) }
  .measures th, .measures td { display: block; border: 0; padding: .05rem 0 }
  .measures td[data-label]:not(:empty)::before { content: attr(data-label) ": "; color: var(--faint) }
}
@media print { .panels { break-inside: avoid } body { max-width: none } }
"""


def document(title: str, parts: Iterable[str], *, banner: str = "", style: str = "") -> str:
    """A whole page in English.

    Args:
        parts: HTML.
        banner: a text that stays above everything.
        style: CSS of this kind of page, beyond that of all pages.
    """
    above = f'<p class="banner" role="note">{escape(banner)}</p>\n' if banner else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        f"{above}<main>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def write_file(path: Path, text: str) -> None:
    """Write UTF-8, whole or not at all. What cannot be encoded (a file name that is no UTF-8) becomes a "?"."""
    aside = path.with_name(f".{path.name}.new")
    try:
        aside.write_bytes(text.encode("utf-8", errors="replace"))
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def heading(level: int, text: str, anchor: str = "") -> str:
    place = f' id="{escape(anchor)}"' if anchor else ""
    return f"<h{level}{place}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def warning_box(warnings: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<section class="warnings" aria-label="Warnings"><b>Warnings</b><ul>{items}</ul></section>'


def listing(caption: str, items: Sequence[str]) -> str:
    return f"<h3>{escape(caption)}</h3><ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def lines(text: str) -> str:
    """Text as it is, such as commands and files; a long line scrolls on its own."""
    return f"<pre>{escape(text)}</pre>"


def closed(summary: str, part: str) -> str:
    """HTML that is shown when its summary is clicked."""
    return f"<details><summary>{escape(summary)}</summary>{part}</details>"


def facts(caption: str, rows: Sequence[tuple[str, str]]) -> str:
    """A table of names and values."""
    body = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f'<table class="facts"><caption>{escape(caption)}</caption><tbody>{body}</tbody></table>'


def table(kind: str, caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names the rows. The kind "measures" becomes a list of cards on a narrow screen."""
    columns = "".join(f'<th scope="col" role="columnheader">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr role="row"><th scope="row" role="rowheader">{escape(row[0])}</th>{_cells(head[1:], row[1:])}</tr>'
        for row in rows
    )
    # The roles stay where narrow screens show rows and cells as blocks, which would take them away.
    return (
        f'<div class="wide"><table class="{escape(kind)}" role="table"><caption>{escape(caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{columns}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table></div>'
    )


def _cells(head: Sequence[str], row: Sequence[str]) -> str:
    labels = [name if index else "" for index, name in enumerate(head)]  # the value needs no label
    return "".join(
        f'<td role="cell"{f" data-label={chr(34)}{escape(label)}{chr(34)}" if label else ""}>{escape(cell)}</td>'
        for label, cell in zip(labels, row, strict=True)
    )


def side_by_side(parts: Iterable[str]) -> str:
    return f'<div class="pair">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def image(data: bytes, alt: str) -> str:
    """A PNG or JPEG, in the page itself."""
    with Image.open(io.BytesIO(data)) as picture:
        (width, height), kind = picture.size, str(picture.format).lower()
    text = base64.b64encode(data).decode("ascii")
    return f'<img src="data:image/{kind};base64,{text}" width="{width}" height="{height}" alt="{escape(alt)}">'


@dataclass(frozen=True)
class Panel:
    """A picture that fills the screen when it is clicked.

    Args:
        anchor: its own, unique in the page, and that of the row to which the way back leads.
        caption: its name, and what else there is to say.
        below: HTML between picture and caption, such as a `colour_bar`.
        frame: left, top, width and height of a frame that is drawn over it, in percent.
    """

    anchor: tuple[str, str]
    picture: bytes  # PNG or JPEG
    alt: str
    caption: tuple[str, str]
    below: str = ""
    frame: tuple[float, float, float, float] | None = None


def panel(one: Panel) -> str:
    (own, row), caption = map(escape, one.anchor), one.caption
    edges = zip(("left", "top", "width", "height"), one.frame or (), strict=False)
    style = "; ".join(f"{name}: {value:.2f}%" for name, value in edges)
    frame = f'<span class="frame" style="{style}"></span>' if one.frame else ""
    return (
        f'<figure class="panel" id="{own}"><a class="open" href="#{own}">{image(one.picture, one.alt)}{frame}</a>'
        f"{one.below}<figcaption><b>{escape(caption[0])}</b> {escape(caption[1])} "
        f'<a class="shut" href="#{row}">back to the page</a></figcaption></figure>'
    )


def panels(items: Sequence[Panel], across: int) -> str:
    """Pictures beside one another, on narrow screens two by two."""
    return f'<div class="panels" style="--across: {across}">{"".join(map(panel, items))}</div>'


def plot(png: bytes, alt: str, caption: str) -> str:
    return f"<figure>{image(png, alt)}<figcaption>{escape(caption)}</figcaption></figure>"


def plots(items: Sequence[str]) -> str:
    return f'<div class="plots">{"".join(items)}</div>'


def colour_bar(colours: Sequence[tuple[int, int, int]], labels: Sequence[str]) -> str:
    """A bar with its values below: the first at its left end, the last at its right end, the others between."""
    stops = ", ".join(f"rgb{colour}" for colour in colours)
    ends = "".join(f"<span>{escape(label)}</span>" for label in labels)
    return (
        f'<div class="bar" aria-hidden="true" style="background: linear-gradient(to right, {stops})"></div>'
        f'<div class="ends">{ends}</div>'
    )


def footer(text: str) -> str:
    return f"<footer>{paragraph(text)}</footer>"
