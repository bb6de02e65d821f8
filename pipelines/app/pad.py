"""The drawing pad: a plain canvas whose strokes are kept as lines, not as pixels.

Gradio's own editor needs WebGL, which takes seconds to start on a machine without a GPU.
"""

from typing import Any

import gradio as gr

# The value is what drawings.pad_value makes; the picture is drawn anew from it, at the resolution of the screen.
TEMPLATE = """
<div class="pad">
  <canvas role="img" aria-label="drawing pad: draw with the mouse, a pen or a finger"></canvas>
  <div class="tools"><button type="button" class="undo">Undo</button><button type="button" class="clear">Clear</button>
  <span class="hint">Draw here</span></div>
</div>
"""
STYLE = """
.pad { max-width: 560px; margin: 0 auto; }
.pad canvas { width: 100%; display: block; touch-action: none; cursor: crosshair; border-radius: 8px;
  border: 1px solid var(--border-color-primary); }
.pad .tools { display: flex; gap: .5rem; align-items: center; padding-top: .5rem; }
.pad button { padding: .3rem .9rem; border-radius: 6px; border: 1px solid var(--border-color-primary);
  background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color); cursor: pointer; }
.pad button:disabled { opacity: .45; cursor: default; }
.pad .hint { color: var(--body-text-color-subdued); font-size: .9rem; }
"""
SCRIPT = """
const canvas = element.querySelector("canvas"), pen = canvas.getContext("2d")
const undo = element.querySelector(".undo"), clear = element.querySelector(".clear")
const hint = element.querySelector(".hint")
let stroke = null
const lines = () => props.value.lines || []
const keep = changed => { props.value = {...props.value, lines: changed}; draw() }
const draw = () => {
  const {width, height, line_weight, paper, ink} = props.value
  const wide = Math.round((canvas.clientWidth || 512) * (window.devicePixelRatio || 1)), scale = wide / width
  canvas.style.aspectRatio = width + " / " + height
  canvas.width = wide
  canvas.height = Math.round(height * scale)
  pen.fillStyle = `rgb(${paper} ${paper} ${paper})`
  pen.fillRect(0, 0, canvas.width, canvas.height)
  pen.setTransform(scale, 0, 0, scale, 0, 0)
  pen.strokeStyle = `rgb(${ink} ${ink} ${ink})`
  pen.lineWidth = line_weight
  pen.lineCap = pen.lineJoin = "round"
  for (const line of stroke ? [...lines(), stroke] : lines()) {
    pen.beginPath()
    pen.moveTo(...line[0])
    for (const point of line.length > 1 ? line.slice(1) : line) pen.lineTo(...point)
    pen.stroke()
  }
  undo.disabled = clear.disabled = !lines().length
  hint.style.visibility = lines().length || stroke ? "hidden" : "visible"
}
const place = event => {
  const box = canvas.getBoundingClientRect(), {width, height} = props.value
  const round = number => Math.round(number * 100) / 100
  return [round((event.clientX - box.left) / box.width * width), round((event.clientY - box.top) / box.height * height)]
}
canvas.addEventListener("pointerdown", event => {
  if (!event.isPrimary || event.button) return
  canvas.setPointerCapture(event.pointerId)
  stroke = [place(event)]
  draw()
})
canvas.addEventListener("pointermove", event => {
  if (!stroke || !event.isPrimary) return
  const passed = event.getCoalescedEvents ? event.getCoalescedEvents() : []
  stroke.push(...(passed.length ? passed : [event]).map(place))
  draw()
})
const end = () => { if (stroke) { const done = stroke; stroke = null; keep([...lines(), done]) } }
canvas.addEventListener("pointerup", end)
canvas.addEventListener("pointercancel", end)
undo.addEventListener("click", () => keep(lines().slice(0, -1)))
clear.addEventListener("click", () => keep([]))
new ResizeObserver(draw).observe(canvas)
watch("value", draw)
draw()
"""


def drawing_pad(value: dict[str, Any]) -> gr.HTML:
    """A pad with the drawing of `drawings.pad_value`, whose value has the lines that were drawn since."""
    return gr.HTML(value, html_template=TEMPLATE, css_template=STYLE, js_on_load=SCRIPT, elem_id="pad", padding=False)
