"""A console gateway: from a browser's WebSocket to a virtual machine's console.

The way of one session, and the module of each step:

    browser ─► web.site ─► web.upgrade ─► tokens ─► target ─► rfb ─► splice ◄─► hypervisor
               (listener)  (gate)         (SQL)     (dial)   (both   (bytes, both ways)
                                                             sides)

``session`` walks the last four steps in order and gives every session its one ending;
``registry`` knows the sessions that live. ``service`` builds the tree that ``tap`` (the twistd
plugin) runs, ``config`` reads the options, ``cli`` is the command ``vncproxy``.
"""

__version__ = "0.1.0"
