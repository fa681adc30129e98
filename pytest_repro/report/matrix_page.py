"""The frame of the heat map: one HTML page without scripts or network, light and dark."""

from __future__ import annotations

__all__ = ["PAGE"]

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>pytest-repro matrix</title>
<style>
:root { color-scheme: light dark; font: 14px/1.4 system-ui, sans-serif; }
body { margin: 1.5rem; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .15rem .5rem; }
.map td { text-align: center; min-width: 1.6rem; color: #111; border: 1px solid #8884; }
.map th[scope=row] { text-align: left; font-weight: 400; font-family: ui-monospace, monospace; }
.map th[scope=col] span { writing-mode: vertical-rl; font-weight: 400; }
.map thead { position: sticky; top: 0; background: Canvas; }
.map thead th { vertical-align: bottom; } .map th[scope=colgroup] { padding: .15rem .8rem; }
td.n { color: inherit !important; } td.e { background: #9fd8a4; } td.u { background: #c9c2e6; }
td.h0 { background: #dceefb; } td.h1 { background: #c4e1f5; } td.h2 { background: #b9d9c9; }
td.h3 { background: #dfe3a3; } td.h4 { background: #f4dd84; } td.h5 { background: #f7c26b; }
.map td.drift { font-weight: 700; outline: 2px solid #a51d2d; outline-offset: -2px; }
.axis td + td + td, .axis th { text-align: right; font-variant-numeric: tabular-nums; }
td.h6 { background: #f4a25c; } td.h7 { background: #ee7e57; } td.h8 { background: #e2595a; }
</style>
</head>
<body>
<h1>Who agrees with whom</h1>
<p>@SUMMARY@. Equal letters in a row are equal bits. Colours give the relative L2 distance from
the row's A, one shade a power of ten.</p>
<table class="map"><tr><td class="e">equal</td><td class="h0">1e-8</td>
<td class="h1">1e-7</td><td class="h2">1e-6</td><td class="h3">1e-5</td><td class="h4">1e-4</td>
<td class="h5">1e-3</td><td class="h6">1e-2</td><td class="h7">0.1</td>
<td class="h8">1 or incomparable</td><td class="u">other bits, not measured</td>
<td class="n drift">!: more than A's tolerance allows</td></tr></table>
<table class="map"><caption>checks against environments</caption>
<thead><tr><th></th>@GROUPS@</tr><tr><th></th>@HEADS@</tr></thead>
<tbody>
@BODY@
</tbody></table>
@AXES@
</body>
</html>
"""
