"""How the page looks: nothing is fetched from anywhere, all fonts are those of the reader's machine."""

import gradio as gr

SANS = ("ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

CSS = """
.gradio-container { width: 100% !important; max-width: 1120px !important; margin: 0 auto !important; }
.gradio-container main { width: 100%; box-sizing: border-box; }
footer { display: none !important; }
#head h1 { font-size: 1.5rem; margin: 0; }
#head p { margin: .15rem 0 0; color: var(--body-text-color-subdued); }
#notice { border-left: 4px solid #d97706; padding: .55rem .8rem; border-radius: 4px;
  background: color-mix(in srgb, #d97706 12%, transparent); color: var(--body-text-color); }
#notice p { margin: 0; }
.quiet, .quiet p { color: var(--body-text-color-subdued); font-size: .92rem; margin: 0; }
.slices { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .7rem; }
.slices figure { margin: 0; }
.slices img { width: 100%; display: block; border-radius: 6px; background: #000; margin: 0 !important; }
.slices figcaption { font-size: .82rem; color: var(--body-text-color-subdued); padding-top: .3rem; }
.slices figcaption b { color: var(--body-text-color); }
.slices .bar { display: block; height: 8px; border-radius: 4px; margin-top: .3rem; }
.slices .ends { display: flex; justify-content: space-between; }
@media (max-width: 700px) {
  .gradio-container main { padding: .6rem !important; }
  .slices { grid-template-columns: 1fr; }
  #results .grid-wrap, #results .preview { height: 380px !important; }
}
"""


def theme() -> gr.themes.Base:
    return gr.themes.Default(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.gray,
        font=list(SANS),
        font_mono=list(MONO),
        radius_size=gr.themes.sizes.radius_md,
    )


def header() -> gr.HTML:
    return gr.HTML(
        "<h1>translate</h1><p>Pictures to pictures, computed where this page runs: nothing is sent on from there.</p>",
        elem_id="head",
    )
