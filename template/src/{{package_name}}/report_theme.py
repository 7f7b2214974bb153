"""How the report looks: the page around its parts, its style, and what moves in its charts."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title} · training report</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<style>{style}</style></head>
<body><main>
{body}
</main><script>{script}</script></body></html>
"""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a2027; --soft: #5c6773;
  --line: #e3e7eb; --card: #f7f8fa; --train: #2563eb; --eval: #c2570c; --good: #15803d; }
@media (prefers-color-scheme: dark) { :root { --paper: #11151a; --ink: #e6e9ed; --soft: #98a3af;
  --line: #2a323b; --card: #181e25; --train: #6ea8fe; --eval: #f5a04c; --good: #4ade80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 36px 28px 48px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 36px 0 10px; }
h2 span, figcaption span { color: var(--soft); font-weight: 400; font-size: 13px;
  margin-left: 6px; }
header p { margin: 4px 0 0; color: var(--soft); overflow-wrap: anywhere; }
.status { font-size: 12px; font-weight: 600; padding: 2px 9px; border-radius: 99px;
  vertical-align: 4px; color: var(--eval); border: 1px solid currentColor; }
.status.done { color: var(--good); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 1px;
  margin: 24px 0 0; padding: 1px; }
.tiles div { background: var(--card); padding: 12px 16px; box-shadow: 0 0 0 1px var(--line); }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { margin: 2px 0 0; font-size: 22px; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.tiles small { display: block; min-height: 1.4em; font-size: 12px; font-weight: 400;
  color: var(--soft); }
.notes { margin: 20px 0 0; padding: 10px 16px 10px 32px; border-left: 3px solid var(--eval);
  background: var(--card); font-size: 14px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 28px 32px; margin-top: 32px; }
.charts.minor { grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); }
figure { margin: 0; position: relative; }
figcaption { font-weight: 600; margin-bottom: 6px; }
svg { width: 100%; height: auto; display: block; overflow: visible; }
svg text { font-size: 11.5px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .label { font-size: 12px; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); } .pointer { stroke: var(--soft);
  stroke-dasharray: 3 3; }
path { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
path.train { stroke: var(--train); } path.eval { stroke: var(--eval); }
circle.train { fill: var(--train); } circle.eval { fill: var(--eval); }
.legend { position: absolute; top: 1px; right: 12px; display: flex; gap: 16px; margin: 0;
  padding: 0; list-style: none; font-size: 13px; color: var(--soft); }
.legend li::before { content: ""; display: inline-block; width: 14px; height: 3px;
  margin-right: 6px; vertical-align: 4px; background: var(--train); border-radius: 2px; }
.legend li.eval::before { background: var(--eval); }
output { position: absolute; left: 0; bottom: -4px; padding: 2px 8px;
  background: var(--paper); border: 1px solid var(--line); border-radius: 4px; font-size: 12px;
  font-variant-numeric: tabular-nums; pointer-events: none; visibility: hidden; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
.pairs { width: 100%; table-layout: fixed; }
.pairs th { width: 44%; font-weight: 400; color: var(--soft); text-align: left; }
.pairs th, .pairs td { padding: 4px 8px 4px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr));
  gap: 0 48px; }
.scroll { overflow-x: auto; }
.confusion th { font-weight: 500; padding: 5px 10px; text-align: right; max-width: 16em;
  overflow-wrap: anywhere; }
.confusion thead th { text-align: center; vertical-align: bottom; }
.confusion td { min-width: 58px; height: 38px; text-align: center; border: 2px solid var(--paper);
  background: color-mix(in srgb, #2563eb calc(var(--share, 0) * 100%), var(--card)); }
.confusion td.strong { color: #fff; }
.confusion td.score, .confusion thead td, .confusion .score { background: none; color: var(--soft);
  font-weight: 400; }
.empty { color: var(--soft); margin: 0; }
footer { margin-top: 40px; color: var(--soft); font-size: 12.5px; }
@media print { main { padding: 0; } figure, tr { break-inside: avoid; } }
"""

SCRIPT = """
for (const svg of document.querySelectorAll("svg[data-hover]")) {
  const lines = JSON.parse(svg.dataset.hover), output = svg.parentNode.querySelector("output");
  const pointer = svg.querySelector(".pointer"), show = (on) => {
    output.style.visibility = on ? "visible" : "hidden";
    pointer.setAttribute("visibility", on ? "visible" : "hidden");
  };
  svg.addEventListener("pointerleave", () => show(false));
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    const near = lines.map(([name, points]) => [name, points.reduce(
      (a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a)]);
    const at = near.reduce((a, b) => Math.abs(b[1][0] - x) < Math.abs(a[1][0] - x) ? b : a)[1];
    pointer.setAttribute("x1", at[0]); pointer.setAttribute("x2", at[0]);
    const text = (y) => Math.abs(y) < 1e-3 && y ? y.toExponential(2) : +y.toPrecision(4);
    output.textContent = [`step ${at[1].toLocaleString("en")}`, ...near
      .filter(([, point]) => point[1] === at[1])
      .map(([name, point]) => `${name} ${text(point[2]).toLocaleString("en")}`)].join(" \u00b7 ");
    show(true);
  });
}
"""
