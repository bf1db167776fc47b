"""Plots as SVG that needs nothing else: colours from the page's variables, a shape and a dash for each series, so
that no colour is needed to tell them apart."""
import math
from html import escape

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 78, 20, 16, 58
DASHES = ["", "7 4", "2 3", "10 3 2 3", "4 2", "1 2"]


class Series:
    """One value (or None) for each label of the x axis; with spans, also the smallest and largest."""

    def __init__(self, name, values, spans=None):
        self.name, self.values, self.spans = name, values, spans or [None] * len(values)


def nice_step(span, wanted=5):
    rough = span / wanted
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)


class Scale:
    def __init__(self, values, is_log):
        low, high = min(values), max(values)
        self.is_log = is_log
        if is_log:
            self.low = 10 ** math.floor(math.log10(low))
            self.high = 10 ** math.ceil(math.log10(high * 1.0001))
            powers = range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)
            self.ticks = [factor * 10 ** power for power in powers for factor in (1, 2, 5)]
            self.ticks = [tick for tick in self.ticks if self.low <= tick <= self.high]
        else:
            step = nice_step(high or 1)
            self.low, self.high = 0, step * math.ceil(high / step + 0.05)
            self.ticks = [step * i for i in range(round(self.high / step) + 1)]

    def at(self, value):
        place = value / self.high
        if self.is_log:
            place = math.log(value / self.low) / math.log(self.high / self.low)
        return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)


def number(value):
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"


def marker(shape, x, y):
    if shape == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if shape == 1:
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    points = {2: [(0, -5.5), (5, 4), (-5, 4)], 3: [(0, -6), (5, 0), (0, 6), (-5, 0)],
              4: [(0, 5.5), (5, -4), (-5, -4)], 5: [(-5, -5), (5, 5), (0, 0), (5, -5), (-5, 5), (0, 0)]}[shape]
    return '<polygon points="' + " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in points) + '"/>'


def axes(scale, labels, xs, x_title, y_title):
    parts = []
    for tick in scale.ticks:
        y = scale.at(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    every = max(1, math.ceil(len(labels) / 16))
    for i, (label, x) in enumerate(zip(labels, xs)):
        if i % every == 0:
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{escape(label)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_title)}</text>')
    parts.append(f'<text class="axis" transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>')
    return parts


def line(series, place, scale, xs):
    points = [(x, scale.at(value)) for x, value in zip(xs, series.values) if value is not None]
    parts = [f'<g class="series s{place % 6}"><title>{escape(series.name)}</title>']
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts.append(f'<polyline fill="none" stroke-width="2" stroke-dasharray="{DASHES[place % 6]}" points="{path}"/>')
    for x, span in zip(xs, series.spans):
        if span:
            parts.append(f'<line x1="{x:.1f}" y1="{scale.at(span[0]):.1f}" x2="{x:.1f}" y2="{scale.at(span[1]):.1f}" opacity="0.55"/>')
    if len(points) <= 24:
        parts += [marker(place % 6, x, y) for x, y in points]
    return parts + ["</g>"]


def plot(name, title, description, labels, all_series, x_title, y_title, is_log=False):
    """The whole <svg>; name is its id in the page."""
    values = [value for series in all_series for value in series.values if value is not None]
    values += [bound for series in all_series for span in series.spans if span for bound in span]
    scale = Scale(values, is_log)
    room = (WIDTH - LEFT - RIGHT) / len(labels)
    xs = [LEFT + room * (i + 0.5) for i in range(len(labels))]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
             f'aria-labelledby="{name}-title {name}-text">',
             f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-text">{escape(description)}</desc>']
    parts += axes(scale, labels, xs, x_title, y_title)
    for place, series in enumerate(all_series):
        parts += line(series, place, scale, xs)
    return "\n".join(parts + ["</svg>"])


def legend(all_series):
    parts = ['<ul class="legend">']
    for place, series in enumerate(all_series):
        key = (f'<svg viewBox="0 0 44 14" width="44" height="14" aria-hidden="true"><g class="series s{place % 6}">'
               f'<line x1="1" y1="7" x2="43" y2="7" stroke-width="2" stroke-dasharray="{DASHES[place % 6]}"/>{marker(place % 6, 22, 7)}</g></svg>')
        parts.append(f"<li>{key} {escape(series.name)}</li>")
    return "\n".join(parts + ["</ul>"])
