"""Keysyms of RFB key events, as text and as names (RFC 6143 §7.5.4)."""

from __future__ import annotations

BACKSPACE = 0xFF08
RETURN = 0xFF0D

MODIFIERS = {
    0xFFE1: "Shift",
    0xFFE2: "Shift",
    0xFFE3: "Ctrl",
    0xFFE4: "Ctrl",
    0xFFE7: "Meta",
    0xFFE8: "Meta",
    0xFFE9: "Alt",
    0xFFEA: "Alt",
    0xFFEB: "Super",
    0xFFEC: "Super",
    0xFE03: "AltGr",
}

_NAMES = {
    BACKSPACE: "Backspace",
    0xFF09: "Tab",
    RETURN: "Enter",
    0xFF13: "Pause",
    0xFF1B: "Esc",
    0xFF50: "Home",
    0xFF51: "Left",
    0xFF52: "Up",
    0xFF53: "Right",
    0xFF54: "Down",
    0xFF55: "Page Up",
    0xFF56: "Page Down",
    0xFF57: "End",
    0xFF61: "Print",
    0xFF63: "Insert",
    0xFFE5: "Caps Lock",
    0xFFFF: "Del",
    **{0xFFBE + number: f"F{number + 1}" for number in range(12)},
    **MODIFIERS,
}


def text_of(keysym: int) -> str:
    """Return the character that a key types, or "" for a key that types none."""
    if 0x20 <= keysym <= 0x7E or 0xA0 <= keysym <= 0xFF:
        return chr(keysym)
    if 0x01000100 <= keysym <= 0x0110FFFF:  # Unicode, by convention of X11
        character = chr(keysym - 0x01000000)
        return character if character.isprintable() else ""
    return ""


def name_of(keysym: int) -> str:
    """Return what is written on a key."""
    return text_of(keysym).strip() or _NAMES.get(keysym) or f"0x{keysym:04x}"


def chord(modifiers: list[str], keysym: int) -> str:
    """Return a key with the modifiers that were held, as a person writes it: Ctrl+Alt+Del."""
    names = list(dict.fromkeys(modifiers))
    return "+".join([*names, name_of(keysym)])
