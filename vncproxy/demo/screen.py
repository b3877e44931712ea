"""The demo console's picture: what it shows, and which part of it has changed.

Drawn by Pillow, which only this module needs. Pure: no network, no clock of its own.
"""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFont

from vncproxy.demo.keys import BACKSPACE, MODIFIERS, RETURN, chord, text_of

WIDTH, HEIGHT = 1024, 640
Box = tuple[int, int, int, int]

_BACKGROUND_TOP, _BACKGROUND_BOTTOM = (13, 20, 33), (24, 36, 56)
_PANEL, _PANEL_EDGE = (30, 43, 64), (52, 70, 98)
_BRIGHT, _TEXT, _DIM = (241, 245, 249), (203, 213, 225), (126, 143, 168)
_ACCENT = (56, 189, 248)
_MARGIN = 48
_KEYBOARD: Box = (_MARGIN, 332, 624, 592)
_POINTER: Box = (648, 332, 976, 450)
_CLIPBOARD: Box = (648, 474, 976, 592)
_TRAIL_S = 1.2
_TRAIL_POINTS = 60
_LINES, _LINE_LENGTH = 6, 44
_MAX_CLIPBOARD = 400


@dataclass(frozen=True, slots=True)
class _TrailPoint:
    x: int
    y: int
    seconds: float


class Screen:
    """What one session sees.

    Args:
        now: the time of day.
        seconds: a clock that only goes forward, for the trail and the session's age.
    """

    def __init__(self, now: Callable[[], datetime.datetime], seconds: Callable[[], float]) -> None:
        self._now = now
        self._seconds = seconds
        self._opened = seconds()
        self._lines = deque([""], maxlen=_LINES)
        self._last_key = ""
        self._held: dict[int, str] = {}
        self._pointer = (WIDTH // 2, HEIGHT // 2)
        self._buttons = 0
        self._trail: deque[_TrailPoint] = deque(maxlen=_TRAIL_POINTS)
        self._clipboard = ""
        self._backdrop = _backdrop()
        self._shown: tuple[object, ...] = ()
        self.image = self._backdrop.copy()

    @property
    def line(self) -> str:
        """The line of text that is being typed."""
        return self._lines[-1]

    @property
    def control_held(self) -> bool:
        """Whether a Ctrl key is down."""
        return "Ctrl" in self._held.values()

    def key(self, keysym: int, down: bool) -> None:
        """Take a key event."""
        if keysym in MODIFIERS:
            if down:
                self._held[keysym] = MODIFIERS[keysym]
            else:
                self._held.pop(keysym, None)
        if not down:
            return
        others = [name for held, name in self._held.items() if held != keysym]
        self._last_key = chord(others, keysym)
        if any(name in ("Ctrl", "Alt", "Super", "Meta") for name in others):
            return
        if keysym == RETURN:
            self._lines.append("")
        elif keysym == BACKSPACE:
            self._lines[-1] = self.line[:-1]
        else:
            self._lines[-1] += text_of(keysym)
            if len(self.line) > _LINE_LENGTH:
                self._lines.append(self._lines[-1][-1])
                self._lines[-2] = self._lines[-2][:-1]

    def pointer(self, x: int, y: int, buttons: int) -> None:
        """Take a pointer event."""
        self._pointer, self._buttons = (x, y), buttons
        self._trail.append(_TrailPoint(x, y, self._seconds()))

    def clipboard(self, text: str) -> None:
        """Take the text that the client has copied."""
        self._clipboard = text[:_MAX_CLIPBOARD]

    def redraw(self) -> Box | None:
        """Draw what there is to see now.

        Returns:
            The part of ``image`` that has changed, as (left, top, right, bottom), or None.
        """
        while self._trail and self._seconds() - self._trail[0].seconds > _TRAIL_S:
            self._trail.popleft()
        shown = self._visible()
        if shown == self._shown and not self._trail:
            return None
        self._shown = shown
        before, self.image = self.image, self._drawn()
        changed: Box | None = ImageChops.difference(before, self.image).getbbox()
        return changed

    def _visible(self) -> tuple[object, ...]:
        moment = self._now().replace(microsecond=0)
        typed = (tuple(self._lines), self._last_key, self._clipboard)
        return moment, typed, self._pointer, self._buttons, len(self._trail)

    def _drawn(self) -> Image.Image:
        image = self._backdrop.copy()
        draw = ImageDraw.Draw(image)
        moment = self._now()
        draw.text((_MARGIN - 4, 128), f"{moment:%H:%M:%S}", _BRIGHT, _font(112))
        draw.text((_MARGIN, 258), f"{moment:%A, %-d %B %Y}", _TEXT, _font(24))
        age = datetime.timedelta(seconds=int(self._seconds() - self._opened))
        draw.text((976, 262), f"connected for {age}", _DIM, _font(20), anchor="ra")
        self._draw_keyboard(draw)
        self._draw_pointer(draw)
        self._draw_clipboard(draw)
        self._draw_trail(image)
        return image

    def _draw_keyboard(self, draw: ImageDraw.ImageDraw) -> None:
        left, top, right, bottom = _KEYBOARD
        for row, line in enumerate(self._lines):
            cursor = "_" if row == len(self._lines) - 1 else ""
            draw.text((left + 24, top + 58 + row * 26), f"> {line}{cursor}", _TEXT, _font(20))
        if self._last_key:
            draw.text((right - 24, top + 18), self._last_key, _ACCENT, _font(20), anchor="ra")
        if not any(self._lines):
            hint = "Type something. Ctrl+C copies the line to your clipboard."
            draw.text((left + 24, bottom - 40), hint, _DIM, _font(17))

    def _draw_pointer(self, draw: ImageDraw.ImageDraw) -> None:
        left, top, right, _ = _POINTER
        x, y = self._pointer
        draw.text((left + 24, top + 58), f"{x}, {y}", _TEXT, _font(26))
        for number in range(3):
            center_x = right - 104 + number * 36
            fill = _ACCENT if self._buttons & 1 << number else _PANEL
            draw.circle((center_x, top + 74), 11, fill=fill, outline=_PANEL_EDGE, width=2)

    def _draw_clipboard(self, draw: ImageDraw.ImageDraw) -> None:
        left, top, *_ = _CLIPBOARD
        text = " ".join(self._clipboard.split())
        shown = f"{text[:27]}…" if len(text) > 28 else text or "nothing received yet"
        draw.text((left + 24, top + 58), shown, _TEXT if text else _DIM, _font(20))

    def _draw_trail(self, image: Image.Image) -> None:
        """Draw the pointer's last moments, the older the fainter, above everything."""
        draw = ImageDraw.Draw(image, "RGBA")
        for point in self._trail:
            freshness = 1 - (self._seconds() - point.seconds) / _TRAIL_S
            strength = max(0, round(200 * freshness))
            draw.circle((point.x, point.y), 3 + 7 * freshness, fill=(*_ACCENT, strength))


def _backdrop() -> Image.Image:
    """Return what never changes."""
    image = Image.linear_gradient("L").resize((WIDTH, HEIGHT))
    top, bottom = (
        Image.new("RGB", (WIDTH, HEIGHT), c) for c in (_BACKGROUND_TOP, _BACKGROUND_BOTTOM)
    )
    backdrop = Image.composite(bottom, top, image)
    draw = ImageDraw.Draw(backdrop)
    draw.rounded_rectangle((_MARGIN, 46, _MARGIN + 40, 86), 9, fill=_ACCENT)
    draw.text((_MARGIN + 20, 66), ">_", _BACKGROUND_TOP, _font(22), anchor="mm")
    draw.text((_MARGIN + 56, 66), "vncproxy", _BRIGHT, _font(34), anchor="lm")
    draw.text(
        (976, 68), "demo console: if you can read this, it works", _DIM, _font(20), anchor="rm"
    )
    for box, title in ((_KEYBOARD, "Keyboard"), (_POINTER, "Pointer"), (_CLIPBOARD, "Clipboard")):
        draw.rounded_rectangle(box, 14, fill=_PANEL, outline=_PANEL_EDGE)
        draw.text((box[0] + 24, box[1] + 18), title, _DIM, _font(17))
    return backdrop


_fonts: dict[int, ImageFont.FreeTypeFont | ImageFont.ImageFont] = {}


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if size not in _fonts:
        _fonts[size] = ImageFont.load_default(size)  # the one that comes with Pillow
    return _fonts[size]
